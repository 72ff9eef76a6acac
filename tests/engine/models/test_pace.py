"""Steps of about the wanted time, on devices of any speed."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.models.pace import STEP_S, Pace, Speed


class FakeDevice:
    """A clock that advances by the work done on a device of known speed."""

    def __init__(self, operations_per_s: float) -> None:
        self.operations_per_s = operations_per_s
        self.now = 0.0

    def work(self, operations: float) -> None:
        self.now += operations / self.operations_per_s


def step_times(device: FakeDevice, speed: Speed, rows: int, cost: float) -> Iterator[float]:
    pace = Pace(speed, rows * cost, clock=lambda: device.now)
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
    pace = Pace(Speed(guess=1e6), 1.0)
    slices = list(pace.split(parts, cost))
    assert [at for some in slices for at in range(some.start, some.stop)] == list(range(parts))
    few = {2**n for n in range(13)} | {3 * 2**n for n in range(12)}
    assert {some.stop - some.start for some in slices} <= few
    fitting = max(1, int(1e6 * STEP_S / cost))
    assert slices[0].stop == max(size for size in few if size <= min(fitting, parts))
