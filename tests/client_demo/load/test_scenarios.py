import math
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_demo.load.scenarios import (
    SCENARIOS,
    ChangeImage,
    Click,
    Event,
    Habits,
    Hover,
    schedule,
)
from server.config import Settings

HABITS = {scenario.name: scenario.habits for scenario in SCENARIOS.values()} | {
    f"companion of {scenario.name}": scenario.companion.habits
    for scenario in SCENARIOS.values()
    if scenario.companion is not None
}


def first(habits: Habits, seconds: float, seed: int = 0) -> list[Event]:
    return list(takewhile(lambda event: event.at_s < seconds, schedule(habits, seed)))


def of(kind: type[Event], events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("habits", HABITS.values(), ids=list(HABITS))
@given(seed=st.integers(0, 1000))
def test_events_are_in_order_and_inside_the_image(habits: Habits, seed: int) -> None:
    events = list(islice(schedule(habits, seed), 2000))

    assert all(one.at_s <= other.at_s for one, other in pairwise(events))
    for event in events:
        assert event.at_s >= 0
        if not isinstance(event, ChangeImage):
            assert 0 <= event.x <= 1
            assert 0 <= event.y <= 1


def test_a_schedule_depends_on_its_seed_alone() -> None:
    habits = SCENARIOS["annotating"].habits

    assert first(habits, 60, seed=1) == first(habits, 60, seed=1)
    assert first(habits, 60, seed=1) != first(habits, 60, seed=2)


def test_clicks_come_at_their_rate() -> None:
    clicks = of(Click, first(Habits(clicks_per_s=2.0), 2000))

    assert len(clicks) == pytest.approx(4000, rel=0.1)
    gaps = [other.at_s - one.at_s for one, other in pairwise(clicks)]
    assert sum(gap > 0.5 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.05)


def test_an_object_starts_with_an_include_point_and_is_refined_some_times() -> None:
    clicks = [
        event for event in first(SCENARIOS["clicks"].habits, 2000) if isinstance(event, Click)
    ]
    starts = [click for click in clicks if click.starts]

    assert clicks[0].starts
    assert all(click.label == 1 for click in starts)
    assert len(clicks) / len(starts) == pytest.approx(3, rel=0.2)


def test_hovers_come_thirty_a_second_while_the_mouse_moves_and_it_rests_as_long() -> None:
    hovers = of(Hover, first(SCENARIOS["hovers"].habits, 600))
    gaps = [other.at_s - one.at_s for one, other in pairwise(hovers)]

    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(1 / 30)
    assert len(hovers) == pytest.approx(15 * 600, rel=0.25)


def test_in_a_storm_the_mouse_never_rests() -> None:
    hovers = of(Hover, first(SCENARIOS["storm"].habits, 30))

    assert max(b.at_s - a.at_s for a, b in pairwise(hovers)) == pytest.approx(1 / 60)


def test_images_change_at_their_rate_or_never() -> None:
    assert len(of(ChangeImage, first(SCENARIOS["browsing"].habits, 6000))) == pytest.approx(
        600, rel=0.2
    )
    assert not of(ChangeImage, first(SCENARIOS["hovers"].habits, 600))


def test_whoever_opens_image_after_image_has_the_next_one_due_as_soon_as_one_is_open() -> None:
    companion = SCENARIOS["beside_opens"].companion
    assert companion is not None

    events = list(islice(schedule(companion.habits, 0), 1000))

    # While an image is being opened nothing is due, so that all of them are due at once.
    assert events == [ChangeImage(0.0)] * 1000


def test_the_greedy_one_asks_for_all_that_the_servers_limits_allow_and_for_no_more() -> None:
    companion, limits = SCENARIOS["beside_greedy"].companion, Settings()
    assert companion is not None

    events = first(companion.habits, 20)
    clicks = [event for event in events if isinstance(event, Click)]

    assert len(events) / 20 == pytest.approx(limits.segments_per_s, rel=0.05)
    assert all(click.starts for click in clicks)
    # As many as may be refused in this time, so that it stays even if not one is answered.
    assert len(clicks) == pytest.approx(limits.max_errors_per_min * (1 + 20 / 60), rel=0.1)
