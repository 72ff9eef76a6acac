"""The stepped ViT against upstream's forward."""

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

import pytest
import torch

from server.engine.models import pace as pace_module
from server.engine.models.base import run_steps
from server.engine.models.pace import Pace, Speeds
from server.engine.models.upstream import ImageEncoderViT
from server.engine.models.vit import stepped as encoder_module
from server.engine.models.vit.stepped import SHORT_SIDE, SteppedViT
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
    [{}, {"BAND_ROWS": 3, "PRODUCT_BYTES": 1, "BIAS_BYTES": 1}, {"SHORT_SIDE": 0}],
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


class Slices(Pace):
    """Notes what it hands out."""

    taken: ClassVar[list[tuple[str, int]]] = []
    done: ClassVar[list[tuple[float, float]]] = []

    def spend(self, operations: float, kind: str) -> None:
        super().spend(operations, kind)
        self.done.append((self._done, self._total))

    def split(
        self, parts: int, cost: float, kind: str, *, most: int | None = None
    ) -> Iterator[slice]:
        for some in super().split(parts, cost, kind, most=most):
            self.taken.append((kind, some.stop - some.start))
            yield some


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Slices]]:
    monkeypatch.setattr(encoder_module, "Pace", Slices)
    yield Slices
    Slices.taken.clear()
    Slices.done.clear()


def encoded(vit: ImageEncoderViT) -> None:
    encoder = SteppedViT(copy.deepcopy(vit), dtype=torch.float32)
    encoder._speeds = Speeds(guess=1e15)
    run_steps(encoder.steps(pixels()))


def test_what_is_announced_adds_up_to_the_whole(slices: type[Slices]) -> None:
    encoded(build_vit(window=7, everywhere=(1,)))
    done, total = slices.done[-1]
    assert done == pytest.approx(total)


def test_however_fast_products_are_their_answers_stay_in_caches(
    slices: type[Slices], monkeypatch: pytest.MonkeyPatch
) -> None:
    vit = build_vit(window=7, everywhere=(1,))
    widest = vit.blocks[0].mlp.lin1.out_features
    monkeypatch.setattr(encoder_module, "PRODUCT_BYTES", 2 * 10 * widest * 4)
    encoded(vit)
    products = [rows for kind, rows in slices.taken if kind == "products"]
    assert max(products) > min(products) >= 1  # narrower answers may have more rows
    assert products.count(2) >= 2 * 10 // 2


@pytest.mark.parametrize(
    ("threads", "bias_bytes", "expected"),
    [(1, 1, 1), (2, 1, 1), (6, 1, 2), (20, 1, 5), (64, 1, 16), (1, 3 * 1024 * 4096 * 4, 3)],
)
def test_heads_are_taken_together_to_fill_caches_and_to_keep_threads_busy(
    threads: int, bias_bytes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "BIAS_BYTES", bias_bytes)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert encoder_module._heads_at_once(1024, 4096 * 4) == expected


def test_only_short_windows_have_their_biases_from_a_product() -> None:
    vit = build_vit(window=7, everywhere=())
    for side, is_product in ((SHORT_SIDE, True), (SHORT_SIDE + 1, False)):
        bias = encoder_module._RelativeBias(vit.blocks[0].attn, side, torch.float32)
        assert (bias._lines is not None) is is_product
