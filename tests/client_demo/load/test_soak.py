import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_demo.load.pictures import Pictures
from client_demo.load.server_metrics import scrape
from client_demo.load.soak import Sample, slope_kib, soak
from tests.support.running_server import RunningServer

MIB = 1 << 20


@given(slope=st.floats(-100, 100), first=st.integers(20 * MIB, 4000 * MIB))
def test_the_slope_of_a_straight_line_is_found(slope: float, first: int) -> None:
    samples = [Sample(n, first + round(1024 * slope * n)) for n in range(100, 10_001, 100)]

    assert slope_kib(samples) == pytest.approx(slope, abs=1e-3)


def test_what_grows_while_the_cache_fills_is_left_out() -> None:
    samples = [Sample(n, min(n, 1900) * MIB) for n in range(100, 10_001, 100)]

    assert slope_kib(samples) == pytest.approx(0.0, abs=1e-6)


def test_a_jump_half_way_is_growth() -> None:
    samples = [Sample(n, (100 if n < 6000 else 200) * MIB) for n in range(100, 10_001, 100)]

    assert slope_kib(samples) > 0.5


async def test_every_image_is_new_clicked_once_and_sessions_come_and_go(
    fake: RunningServer,
) -> None:
    before, readings = await scrape(fake.url), itertools.count(1)

    samples = [
        sample
        async for sample in soak(
            fake.url, None, Pictures(width=64, height=48), 250, lambda: next(readings)
        )
    ]

    after = await scrape(fake.url)
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    assert grown["samwire_cache_misses_total"] == 250
    assert grown['samwire_messages_total{type="segment"}'] == 250
    assert grown["samwire_sessions_total"] == 2
    assert [sample.opens for sample in samples] == list(range(2, 251, 2))
    assert [sample.resident_bytes for sample in samples] == list(range(1, 126))
