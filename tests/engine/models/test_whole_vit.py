"""Whole blocks against upstream's forward; where there is a GPU, as real graphs."""

import copy
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from server.engine.models import pace
from server.engine.models.base import run_steps
from server.engine.models.graphs import capture_cuda
from server.engine.models.upstream import ImageEncoderViT
from server.engine.models.whole_vit import WholeViT

CPU = torch.device("cpu")

T = TypeVar("T")


def again(run: Callable[[], T]) -> Callable[[], T]:
    """A capture without a GPU: the function itself, run once beforehand as a capture does."""
    run()
    return run


def build(
    *, window: int, everywhere: tuple[int, ...], positions: bool = True, heads: int = 3
) -> ImageEncoderViT:
    vit = ImageEncoderViT(
        img_size=160,
        embed_dim=48,
        depth=2,
        num_heads=heads,
        out_chans=32,
        window_size=window,
        global_attn_indexes=everywhere,
        use_rel_pos=positions,
        use_abs_pos=positions,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in vit.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return vit.requires_grad_(requires_grad=False)


def whole(vit: ImageEncoderViT, dtype: torch.dtype = torch.float32) -> WholeViT:
    return WholeViT(copy.deepcopy(vit), device=CPU, dtype=dtype, capture=again)


def pixels(seed: int = 1) -> Tensor:
    return torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(seed))


def encoded(encoder: WholeViT, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return run_steps(encoder.steps(x))


@pytest.mark.parametrize(
    "vit",
    [
        build(window=5, everywhere=()),
        build(window=7, everywhere=(1,)),
        build(window=14, everywhere=(0,), heads=4),
        build(window=7, everywhere=(1,), positions=False),
    ],
    ids=["windows that fit", "windows past the edge", "one window", "no positions"],
)
def test_whole_blocks_give_upstreams_embedding(vit: ImageEncoderViT) -> None:
    found = encoded(whole(vit), pixels())
    torch.testing.assert_close(found, vit(pixels()), atol=1e-4, rtol=0)


def test_bfloat16_stays_near_float32() -> None:
    vit = build(window=7, everywhere=(1,))
    found, expected = encoded(whole(vit, torch.bfloat16), pixels()), vit(pixels())
    assert found.dtype == torch.float32
    assert (found - expected).abs().mean() < 0.02 * expected.std()


def test_two_encodes_in_turns_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP_S", 1e-9)
    vit = build(window=7, everywhere=(1,))
    encoder = whole(vit)
    with torch.inference_mode():
        first = encoder.steps(pixels(1))
        next(first)
        other = run_steps(encoder.steps(pixels(2)))
        one = run_steps(first)
    torch.testing.assert_close(one, vit(pixels(1)), atol=1e-4, rtol=0)
    torch.testing.assert_close(other, vit(pixels(2)), atol=1e-4, rtol=0)


def test_fractions_grow_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP_S", 1e-9)
    encoder = whole(build(window=7, everywhere=(1,)))
    fractions: list[float] = []
    with torch.inference_mode():
        run_steps(encoder.steps(pixels()), fractions.append)
    assert fractions == [0.5, 1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("window", [5, 7])
def test_graphs_on_a_gpu_give_upstreams_embedding(window: int) -> None:
    device = torch.device("cuda")
    vit = build(window=window, everywhere=(1,)).to(device)
    encoder = WholeViT(
        copy.deepcopy(vit), device=device, dtype=torch.float32, capture=capture_cuda(device)
    )
    for seed in range(3):
        x = pixels(seed).to(device)
        torch.testing.assert_close(encoded(encoder, x), vit(x), atol=1e-3, rtol=0)
