"""Whole blocks against upstream's forward; where there is a GPU, as real graphs."""

import copy
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from weakref import WeakMethod, ref

import pytest
import torch
from torch import Tensor

from server.engine.models import pace
from server.engine.models.base import run_steps
from server.engine.models.recording.cuda_graphs import capture_cuda
from server.engine.models.upstream import ImageEncoderViT
from server.engine.models.vit.whole_blocks import WholeViT
from tests.support.vits import build_vit, in_turns, pixels

CPU = torch.device("cpu")

T = TypeVar("T")


def forgetful(run: Callable[[], T]) -> Callable[[], T]:
    """A capture without a GPU: runs again what was run, and like a graph keeps nothing alive."""
    run()
    assert isinstance(run, partial)
    method = WeakMethod(run.func)
    kept = [ref(argument) for argument in run.args]

    def replay() -> T:
        function, arguments = method(), [reference() for reference in kept]
        assert function is not None, "the encoder was not kept for its recording"
        assert all(each is not None for each in arguments), "the block was not kept for it"
        answer: T = function(*arguments)
        return answer

    return replay


def whole(vit: ImageEncoderViT, dtype: torch.dtype = torch.float32) -> WholeViT:
    return WholeViT(copy.deepcopy(vit), device=CPU, dtype=dtype, capture=forgetful)


def encoded(encoder: WholeViT, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return run_steps(encoder.steps(x))


@pytest.mark.parametrize(
    "vit",
    [
        build_vit(window=5, everywhere=()),
        build_vit(window=7, everywhere=(1,)),
        build_vit(window=14, everywhere=(0,), heads=4),
        build_vit(window=7, everywhere=(1,), positions=False),
    ],
    ids=["windows that fit", "windows past the edge", "one window", "no positions"],
)
def test_whole_blocks_give_upstreams_embedding(vit: ImageEncoderViT) -> None:
    found = encoded(whole(vit), pixels())
    torch.testing.assert_close(found, vit(pixels()), atol=1e-4, rtol=0)


def test_bfloat16_stays_near_float32() -> None:
    vit = build_vit(window=7, everywhere=(1,))
    found, expected = encoded(whole(vit, torch.bfloat16), pixels()), vit(pixels())
    assert found.dtype == torch.float32
    assert (found - expected).abs().mean() < 0.02 * expected.std()


def test_two_encodes_in_turns_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP_S", 1e-9)
    vit = build_vit(window=7, everywhere=(1,))
    encoder = whole(vit)
    with torch.inference_mode():
        one, other = in_turns(encoder.steps(pixels(1)), encoder.steps(pixels(2)))
    torch.testing.assert_close(one, vit(pixels(1)), atol=1e-4, rtol=0)
    torch.testing.assert_close(other, vit(pixels(2)), atol=1e-4, rtol=0)


def test_fractions_grow_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP_S", 1e-9)
    encoder = whole(build_vit(window=7, everywhere=(1,)))
    fractions: list[float] = []
    with torch.inference_mode():
        run_steps(encoder.steps(pixels()), fractions.append)
    assert fractions == [0.5, 1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("window", [5, 7])
def test_graphs_on_a_gpu_give_upstreams_embedding(window: int) -> None:
    device = torch.device("cuda")
    vit = build_vit(window=window, everywhere=(1,)).to(device)
    encoder = WholeViT(
        copy.deepcopy(vit), device=device, dtype=torch.float32, capture=capture_cuda(device)
    )
    for seed in range(3):
        x = pixels(seed).to(device)
        torch.testing.assert_close(encoded(encoder, x), vit(x), atol=1e-3, rtol=0)
