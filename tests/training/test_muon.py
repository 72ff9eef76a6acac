import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from training.muon import COEFFICIENTS, ROUNDS, Muon, orthogonal


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def by_definition(matrix: Tensor) -> Tensor:
    """Every singular value put through the polynomial, directions as they are."""
    a, b, c = COEFFICIENTS
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.norm()
    for _ in range(ROUNDS):
        values = a * values + b * values**3 + c * values**5
    found: Tensor = (left * values @ right).float()
    return found


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 1000))
def test_rounds_on_the_small_square_are_rounds_on_the_matrix(
    rows: int, columns: int, seed: int
) -> None:
    matrix = drawn(rows, columns, seed=seed)
    torch.testing.assert_close(orthogonal(matrix), by_definition(matrix), atol=5e-3, rtol=0)


def test_every_direction_comes_out_about_as_long() -> None:
    values = torch.linalg.svdvals(orthogonal(drawn(32, 96)))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_gradient_of_nothing_but_zeros_moves_nothing() -> None:
    assert not orthogonal(torch.zeros(4, 8)).any()


@pytest.mark.parametrize("shape", [(24, 48), (48, 24), (16, 8, 3, 3)])
def test_a_step_is_as_long_whatever_the_gradient_s_size(shape: tuple[int, ...]) -> None:
    steps = []
    for scale in (1e-3, 1e3):
        weight = Parameter(torch.zeros(shape))
        weight.grad = drawn(*shape) * scale
        Muon([weight], lr=0.1).step()
        steps.append(weight.detach().clone())
    torch.testing.assert_close(*steps, atol=1e-5, rtol=0)
    assert steps[0].square().mean().sqrt() == pytest.approx(0.2 * 0.1, rel=0.25)


def test_a_convolution_moves_as_the_matrix_of_its_outputs() -> None:
    convolution, matrix = Parameter(torch.zeros(16, 8, 3, 3)), Parameter(torch.zeros(16, 72))
    convolution.grad = drawn(16, 8, 3, 3).to(memory_format=torch.channels_last)
    matrix.grad = convolution.grad.flatten(1)
    Muon([convolution, matrix], lr=1.0).step()
    torch.testing.assert_close(convolution.flatten(1), matrix)


def test_it_finds_the_least_of_a_badly_scaled_bowl() -> None:
    target, steepness = drawn(8, 8), torch.logspace(0, -2, 8)
    weight = Parameter(torch.zeros(8, 8))
    muon = Muon([weight], lr=0.3)
    for turn in range(200):
        muon.param_groups[0]["lr"] = 0.3 * (1 - turn / 200)
        muon.zero_grad()
        ((weight - target).square() * steepness).sum().backward()
        muon.step()
    torch.testing.assert_close(weight.detach(), target, atol=0.05, rtol=0)


def test_a_weight_without_a_gradient_stays_and_decay_shrinks_the_others() -> None:
    still, moved = Parameter(torch.ones(4, 4)), Parameter(torch.ones(4, 4))
    moved.grad = torch.zeros(4, 4)
    Muon([still, moved], lr=0.5, weight_decay=0.1).step()
    assert (still == 1).all()
    assert (moved == 0.95).all()


def test_a_stopped_run_goes_on_as_if_it_had_not_been() -> None:
    def steps(muon: Muon, weight: Parameter, seeds: range) -> None:
        for seed in seeds:
            weight.grad = drawn(6, 6, seed=seed)
            muon.step()

    whole, first = Parameter(torch.zeros(6, 6)), Parameter(torch.zeros(6, 6))
    steps(Muon([whole], lr=0.1), whole, range(6))
    before = Muon([first], lr=0.1)
    steps(before, first, range(3))
    second = Parameter(first.detach().clone())
    after = Muon([second], lr=0.1)
    after.load_state_dict(before.state_dict())
    steps(after, second, range(3, 6))
    torch.testing.assert_close(second, whole)


def test_it_takes_no_closure() -> None:
    with pytest.raises(ValueError, match="closure"):
        Muon([Parameter(torch.ones(2, 2))], lr=0.1).step(lambda: 0.0)
