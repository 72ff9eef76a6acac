import math
from itertools import pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_demo.load.scenarios import (
    SCENARIOS,
    ChangeImage,
    Click,
    Event,
    Hover,
    Scenario,
    schedule,
)


def first(scenario: Scenario, seconds: float, seed: int = 0) -> list[Event]:
    return list(takewhile(lambda event: event.at_s < seconds, schedule(scenario, seed)))


def of(kind: type[Event], events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
@given(seed=st.integers(0, 1000))
def test_events_are_in_order_and_inside_the_image(scenario: Scenario, seed: int) -> None:
    events = first(scenario, 20, seed)

    assert all(one.at_s <= other.at_s for one, other in pairwise(events))
    for event in events:
        assert event.at_s >= 0
        if not isinstance(event, ChangeImage):
            assert 0 <= event.x <= 1
            assert 0 <= event.y <= 1


def test_a_schedule_depends_on_its_seed_alone() -> None:
    scenario = SCENARIOS["annotating"]

    assert first(scenario, 60, seed=1) == first(scenario, 60, seed=1)
    assert first(scenario, 60, seed=1) != first(scenario, 60, seed=2)


def test_clicks_come_at_their_rate() -> None:
    clicks = of(Click, first(Scenario("", "", clicks_per_s=2.0), 2000))

    assert len(clicks) == pytest.approx(4000, rel=0.1)
    gaps = [other.at_s - one.at_s for one, other in pairwise(clicks)]
    assert sum(gap > 0.5 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.05)


def test_an_object_starts_with_an_include_point_and_is_refined_some_times() -> None:
    clicks = [event for event in first(SCENARIOS["clicks"], 2000) if isinstance(event, Click)]
    starts = [click for click in clicks if click.starts]

    assert clicks[0].starts
    assert all(click.label == 1 for click in starts)
    assert len(clicks) / len(starts) == pytest.approx(3, rel=0.2)


def test_hovers_come_thirty_a_second_while_the_mouse_moves_and_it_rests_as_long() -> None:
    hovers = of(Hover, first(SCENARIOS["hovers"], 600))
    gaps = [other.at_s - one.at_s for one, other in pairwise(hovers)]

    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(1 / 30)
    assert len(hovers) == pytest.approx(15 * 600, rel=0.25)


def test_in_a_storm_the_mouse_never_rests() -> None:
    hovers = of(Hover, first(SCENARIOS["storm"], 30))

    assert max(b.at_s - a.at_s for a, b in pairwise(hovers)) == pytest.approx(1 / 60)


def test_images_change_at_their_rate_or_never() -> None:
    assert len(of(ChangeImage, first(SCENARIOS["browsing"], 6000))) == pytest.approx(600, rel=0.2)
    assert not of(ChangeImage, first(SCENARIOS["hovers"], 600))
