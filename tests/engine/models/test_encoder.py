"""The stepped ViT against upstream's forward, and the pace of its steps."""

import copy
from collections.abc import Generator, Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from server.engine.models import encoder as encoder_module
from server.engine.models.encoder import STEP_S, Pace, Speed, SteppedViT
from server.engine.models.upstream import ImageEncoderViT

CPU = torch.device("cpu")


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
    encoder = SteppedViT(copy.deepcopy(vit), device=CPU, dtype=torch.float32)
    encoder._speed.operations_per_s = operations_per_s
    _, embedding = run(encoder.steps(pixels()))
    torch.testing.assert_close(embedding, vit(pixels()), atol=1e-4, rtol=0)


def test_bfloat16_stays_near_float32() -> None:
    vit = build(window=7, everywhere=(1,))
    _, embedding = run(
        SteppedViT(copy.deepcopy(vit), device=CPU, dtype=torch.bfloat16).steps(pixels())
    )
    expected = vit(pixels())
    assert embedding.dtype == torch.float32
    assert (embedding - expected).abs().mean() < 0.02 * expected.std()


def test_fractions_grow_to_one_in_as_many_steps_as_the_time_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = SteppedViT(build(window=7, everywhere=(1,)), device=CPU, dtype=torch.float32)
    monkeypatch.setattr(encoder_module, "STEP_S", 1e-6)
    short, _ = run(encoder.steps(pixels()))
    monkeypatch.setattr(encoder_module, "STEP_S", 1e-3)
    long, _ = run(encoder.steps(pixels()))
    assert all(earlier < later for earlier, later in pairwise(short))
    assert short[-1] > 0.9
    assert len(short) > 2 * len(long)


def test_two_encodes_in_turns_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "STEP_S", 1e-6)
    encoder = SteppedViT(build(window=7, everywhere=(1,)), device=CPU, dtype=torch.float32)
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


class FakeDevice:
    """A clock that advances by the work done on a device of known speed."""

    def __init__(self, operations_per_s: float) -> None:
        self.operations_per_s = operations_per_s
        self.now = 0.0

    def work(self, operations: float) -> None:
        self.now += operations / self.operations_per_s


def step_times(device: FakeDevice, speed: Speed, rows: int, cost: float) -> Iterator[float]:
    pace = Pace(speed, rows * cost, wait=lambda: None, clock=lambda: device.now)
    for some in pace.split(rows, cost):
        started = device.now
        device.work((some.stop - some.start) * cost)
        for _ in pace.breathe():
            yield device.now - started


@pytest.mark.parametrize("operations_per_s", [1e8, 1e10, 1e13])
def test_steps_settle_near_the_wanted_time_whatever_the_first_guess(
    operations_per_s: float,
) -> None:
    device, speed = FakeDevice(operations_per_s), Speed(guess=1e9)
    rows = int(operations_per_s / 1e4)
    settled = list(step_times(device, speed, rows, cost=1e4))[-10:-1]
    assert all(STEP_S / 4 < seconds <= 1.1 * STEP_S for seconds in settled)


@given(parts=st.integers(1, 5000), cost=st.floats(1, 1e5))
def test_a_split_covers_every_part_once_in_slices_of_few_sizes(parts: int, cost: float) -> None:
    pace = Pace(Speed(guess=1e6), 1.0, wait=lambda: None)
    slices = list(pace.split(parts, cost))
    assert [at for some in slices for at in range(some.start, some.stop)] == list(range(parts))
    few = {2**n for n in range(13)} | {3 * 2**n for n in range(12)}
    assert {some.stop - some.start for some in slices} <= few
    fitting = max(1, int(1e6 * STEP_S / cost))
    assert slices[0].stop == max(size for size in few if size <= min(fitting, parts))
