"""The stepped ViT against upstream's forward."""

import copy
from itertools import pairwise

import pytest
import torch

from server.engine.models import encoder as encoder_module
from server.engine.models import pace as pace_module
from server.engine.models.base import run_steps
from server.engine.models.encoder import SteppedViT
from server.engine.models.pace import Speeds
from server.engine.models.upstream import ImageEncoderViT
from tests.support.vits import build_vit, in_turns, pixels


@pytest.mark.parametrize(
    "vit",
    [
        build_vit(window=5, everywhere=()),
        build_vit(window=7, everywhere=(1,)),
        build_vit(window=14, everywhere=(0,)),
        build_vit(window=7, everywhere=(1,), positions=False),
        build_vit(window=7, everywhere=(1,), bias=False),
    ],
    ids=["windows that fit", "windows past the edge", "one window", "no positions", "no bias"],
)
@pytest.mark.parametrize("operations_per_s", [1.0, 1e8, 1e15])
@pytest.mark.parametrize(
    "sizes",
    [{}, {"BAND": 3, "CACHED_BYTES": 1, "BIAS_BYTES": 1}, {"SHORT_SIDE": 0}],
    ids=["as they are", "a little at a time", "no short sides"],
)
def test_steps_of_any_size_give_upstreams_embedding(
    vit: ImageEncoderViT,
    operations_per_s: float,
    sizes: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in sizes.items():
        monkeypatch.setattr(encoder_module, name, value)
    encoder = SteppedViT(copy.deepcopy(vit), dtype=torch.float32)
    encoder._speeds = Speeds(guess=operations_per_s)
    embedding = run_steps(encoder.steps(pixels()))
    torch.testing.assert_close(embedding, vit(pixels()), atol=1e-4, rtol=0)


def test_bfloat16_stays_near_float32() -> None:
    vit = build_vit(window=7, everywhere=(1,))
    embedding = run_steps(SteppedViT(copy.deepcopy(vit), dtype=torch.bfloat16).steps(pixels()))
    expected = vit(pixels())
    assert embedding.dtype == torch.float32
    assert (embedding - expected).abs().mean() < 0.02 * expected.std()


def test_fractions_grow_to_one_in_as_many_steps_as_the_time_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = SteppedViT(build_vit(window=7, everywhere=(1,)), dtype=torch.float32)
    short: list[float] = []
    long: list[float] = []
    monkeypatch.setattr(pace_module, "STEP_S", 1e-6)
    run_steps(encoder.steps(pixels()), short.append)
    monkeypatch.setattr(pace_module, "STEP_S", 1e-3)
    run_steps(encoder.steps(pixels()), long.append)
    assert all(earlier < later for earlier, later in pairwise(short))
    assert short[-1] > 0.9
    assert len(short) > 2 * len(long)


def test_two_encodes_in_turns_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "STEP_S", 1e-6)
    vit = build_vit(window=7, everywhere=(1,))
    encoder = SteppedViT(copy.deepcopy(vit), dtype=torch.float32)
    one, other = in_turns(encoder.steps(pixels(1)), encoder.steps(pixels(2)), ahead=7)
    torch.testing.assert_close(one, vit(pixels(1)), atol=1e-4, rtol=0)
    torch.testing.assert_close(other, vit(pixels(2)), atol=1e-4, rtol=0)
