"""Steps of about the wanted time, on devices of any speed."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.models.pace import ENOUGH, MOST_FASTER, STEP_S, Pace, Speeds

FEW_SIZES = {2**n for n in range(13)} | {3 * 2**n for n in range(12)}


class FakeDevice:
    """A clock that advances by the work done on a device of known speeds."""

    def __init__(self, per_s: Mapping[str, float]) -> None:
        self._per_s = per_s
        self.now = 0.0

    def work(self, operations: float, kind: str) -> None:
        self.now += operations / self._per_s[kind]


def step_times(device: FakeDevice, speeds: Speeds, plan: list[tuple[str, int]]) -> Iterator[float]:
    """Of an encode that does so many rows of each kind, each of 10,000 operations."""
    cost = 1e4
    pace = Pace(speeds, cost * sum(rows for _, rows in plan), clock=lambda: device.now)
    started = device.now
    for kind, rows in plan:
        for some in pace.split(rows, cost, kind):
            device.work((some.stop - some.start) * cost, kind)
            for _ in pace.yield_if_due():
                yield device.now - started
                device.now += 1.0  # a click has the device
                started = device.now


@pytest.mark.parametrize("operations_per_s", [1e8, 1e10, 1e13])
def test_steps_settle_near_the_wanted_time_whatever_the_first_guess(
    operations_per_s: float,
) -> None:
    device, speeds = FakeDevice({"products": operations_per_s}), Speeds(guess=1e9)
    plan = [("products", int(operations_per_s / 1e4))]
    settled = list(step_times(device, speeds, plan))[-10:-1]
    assert all(STEP_S / 2 < seconds <= 1.1 * STEP_S for seconds in settled)
    assert speeds.of("products") == pytest.approx(operations_per_s, rel=0.1)


def test_kinds_whose_speeds_lie_far_apart_make_no_long_steps() -> None:
    device, speeds = FakeDevice({"products": 1e12, "softmax": 1e9}), Speeds(guess=2e10)
    plan = [("products", 2_000_000), ("softmax", 2_000)] * 20
    settled = list(step_times(device, speeds, plan))[-30:]
    assert all(STEP_S / 2 < seconds <= 1.1 * STEP_S for seconds in settled)


def test_a_speed_is_learned_half_way_and_no_other_with_it() -> None:
    speeds = Speeds(guess=100.0)
    speeds.learn("products", 100.0, 0.5)
    assert speeds.of("products") == 150
    assert speeds.of("softmax") == 100


def test_a_clock_that_jumps_teaches_little() -> None:
    speeds = Speeds(guess=100.0)
    speeds.learn("products", 100.0, 0.0)
    assert speeds.of("products") == pytest.approx(100 * (1 + MOST_FASTER) / 2)


def test_little_is_learned_from_a_small_piece() -> None:
    speeds = Speeds(guess=100.0)
    speeds.learn("products", 100 * STEP_S / 20, STEP_S / 10)
    assert speeds.of("products") == pytest.approx(100 - 0.1 * 50)


@given(operations=st.floats(1, 1e12), seconds=st.floats(0, 1e3))
def test_a_speed_stays_above_nothing(operations: float, seconds: float) -> None:
    speeds = Speeds(guess=1e9)
    speeds.learn("products", operations, seconds)
    assert speeds.of("products") >= 1e9 / 2


def test_what_is_not_done_when_a_call_returns_is_measured_when_the_step_ends() -> None:
    device, speeds = FakeDevice({"blocks": 400.0}), Speeds(guess=1000.0)
    begun = 0

    def wait() -> None:
        nonlocal begun
        device.work(begun, "blocks")
        begun = 0

    pace = Pace(speeds, 100.0, wait=wait, clock=lambda: device.now)
    ends: list[float] = [0.0]
    for _ in range(100):
        pace.spend(1.0, "blocks")
        begun += 1
        ends += [device.now for _ in pace.yield_if_due()]
    assert speeds.of("blocks") == pytest.approx(400, rel=0.01)
    settled = [end - start for start, end in pairwise(ends)][5:]
    assert all(STEP_S / 2 < seconds <= STEP_S for seconds in settled)


@given(parts=st.integers(1, 5000), cost=st.floats(1, 1e5), most=st.none() | st.integers(1, 5000))
def test_a_split_covers_every_part_once_in_slices_of_few_sizes(
    parts: int, cost: float, most: int | None
) -> None:
    pace = Pace(Speeds(guess=1e6), 1.0)
    slices = list(pace.split(parts, cost, "rows", most=most))
    assert [at for some in slices for at in range(some.start, some.stop)] == list(range(parts))
    sizes = {some.stop - some.start for some in slices}
    assert sizes <= FEW_SIZES
    assert max(sizes) <= (most or parts)
    fitting = min(max(1, int(STEP_S / (cost / 1e6))), parts, most or parts)
    assert slices[0].stop == max(size for size in FEW_SIZES if size <= fitting)


@given(parts=st.integers(1, 5000), cost=st.floats(1, 1e5))
def test_what_fits_a_step_is_all_of_it_or_one_of_few_sizes(parts: int, cost: float) -> None:
    fitting = Pace(Speeds(guess=1e6), 1.0).fitting(parts, cost, "rows")
    assert 1 <= fitting <= parts
    assert fitting == parts or fitting in FEW_SIZES
    assert fitting == 1 or fitting * cost / 1e6 <= STEP_S * (1 + 1e-9)
    assert (fitting == parts) >= (parts * cost / 1e6 <= STEP_S)


def test_a_slice_fits_what_is_left_of_the_step() -> None:
    device = FakeDevice({"rows": 1e6})
    pace = Pace(Speeds(guess=1e6), 1.0, clock=lambda: device.now)
    pace.spend(STEP_S / 2 * 1e6, "rows")
    [first, *_] = pace.split(1 << 20, 1.0, "rows")
    assert first.stop <= STEP_S / 2 * 1e6


def test_no_more_than_all_is_told_of_an_encode_that_is_longer_than_it_said() -> None:
    device = FakeDevice({"rows": 1.0})
    pace = Pace(Speeds(guess=1.0), STEP_S, clock=lambda: device.now)
    pace.spend(2 * STEP_S, "rows")
    device.work(2 * STEP_S, "rows")
    assert list(pace.yield_if_due()) == [1.0]


def test_a_step_ends_when_enough_time_has_passed_and_tells_how_much_is_done() -> None:
    device = FakeDevice({"rows": 0.5})
    pace = Pace(Speeds(guess=1.0), 10.0, clock=lambda: device.now)
    piece = 0.26 * ENOUGH * STEP_S  # it takes twice as long as is believed
    told: list[float] = []
    for _ in range(2):
        pace.spend(piece, "rows")
        device.work(piece, "rows")
        told += pace.yield_if_due()
    assert told == pytest.approx([2 * piece / 10])
