"""The stepped ViT against upstream's forward."""

import copy
from collections.abc import Generator
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from server.engine.models import encoder as encoder_module
from server.engine.models import pace as pace_module
from server.engine.models.encoder import SteppedViT
from server.engine.models.upstream import ImageEncoderViT


def build(
    *, window: int, everywhere: tuple[int, ...], positions: bool = True, bias: bool = True
) -> ImageEncoderViT:
    vit = ImageEncoderViT(
        img_size=160,
        embed_dim=48,
        depth=2,
        num_heads=3,
        out_chans=32,
        qkv_bias=bias,
        window_size=window,
        global_attn_indexes=everywhere,
        use_rel_pos=positions,
        use_abs_pos=positions,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in vit.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return vit.requires_grad_(requires_grad=False)


def pixels() -> Tensor:
    return torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(1))


def run(steps: Generator[float, None, Tensor]) -> tuple[list[float], Tensor]:
    fractions = []
    while True:
        try:
            fractions.append(next(steps))
        except StopIteration as end:
            return fractions, end.value


@pytest.mark.parametrize(
    "vit",
    [
        build(window=5, everywhere=()),
        build(window=7, everywhere=(1,)),
        build(window=14, everywhere=(0,)),
        build(window=7, everywhere=(1,), positions=False),
        build(window=7, everywhere=(1,), bias=False),
    ],
    ids=["windows that fit", "windows past the edge", "one window", "no positions", "no bias"],
)
@pytest.mark.parametrize("operations_per_s", [1.0, 1e8, 1e15])
@pytest.mark.parametrize("band", [3, 16])
def test_steps_of_any_size_give_upstreams_embedding(
    vit: ImageEncoderViT, operations_per_s: float, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "BAND", band)
    encoder = SteppedViT(copy.deepcopy(vit), dtype=torch.float32)
    encoder._speed.operations_per_s = operations_per_s
    _, embedding = run(encoder.steps(pixels()))
    torch.testing.assert_close(embedding, vit(pixels()), atol=1e-4, rtol=0)


def test_bfloat16_stays_near_float32() -> None:
    vit = build(window=7, everywhere=(1,))
    _, embedding = run(SteppedViT(copy.deepcopy(vit), dtype=torch.bfloat16).steps(pixels()))
    expected = vit(pixels())
    assert embedding.dtype == torch.float32
    assert (embedding - expected).abs().mean() < 0.02 * expected.std()


def test_fractions_grow_to_one_in_as_many_steps_as_the_time_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = SteppedViT(build(window=7, everywhere=(1,)), dtype=torch.float32)
    monkeypatch.setattr(pace_module, "STEP_S", 1e-6)
    short, _ = run(encoder.steps(pixels()))
    monkeypatch.setattr(pace_module, "STEP_S", 1e-3)
    long, _ = run(encoder.steps(pixels()))
    assert all(earlier < later for earlier, later in pairwise(short))
    assert short[-1] > 0.9
    assert len(short) > 2 * len(long)


def test_two_encodes_in_turns_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "STEP_S", 1e-6)
    encoder = SteppedViT(build(window=7, everywhere=(1,)), dtype=torch.float32)
    one, other = Steps(encoder.steps(pixels())), Steps(encoder.steps(-pixels()))
    one.take(7)
    while one.embedding is None or other.embedding is None:
        one.take(1)
        other.take(1)
    _, alone = run(encoder.steps(pixels()))
    _, other_alone = run(encoder.steps(-pixels()))
    torch.testing.assert_close(one.embedding, alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(other.embedding, other_alone, atol=1e-4, rtol=0)


class Steps:
    """An encode that is taken a few steps at a time."""

    def __init__(self, steps: Generator[float, None, Tensor]) -> None:
        self._steps = steps
        self.embedding: Tensor | None = None

    def take(self, count: int) -> None:
        try:
            for _ in range(0 if self.embedding is not None else count):
                next(self._steps)
        except StopIteration as end:
            self.embedding = end.value
