from collections.abc import Callable

import pytest

from server.errors import WireError
from server.protocol import (
    Error,
    FrameError,
    RleBody,
)
from server.sessions.effects import Effect
from tests.support.annotators import (
    Annotator,
    at_an_image,
    greeted,
    opening,
)
from tests.support.segments import (
    Image,
    close_code,
    of,
    only_error,
    replies,
    submitted,
    told,
)

# Errors, rate


@pytest.mark.parametrize(("code", "expected"), [("text_frame", 1003), ("frame_too_big", 1009)])
def test_a_frame_that_must_not_be_ends_the_connection(code: str, expected: int) -> None:
    annotator = at_an_image()
    error = FrameError(WireError(code, "no"), None)
    assert close_code(annotator.session.refuse(error, annotator.now)) == expected


def test_a_frame_refused_as_it_is_read_may_overtake_earlier_replies() -> None:
    annotator = at_an_image()
    annotator.click()
    annotator.hover(1)
    annotator.session.on_started(3)
    malformed = FrameError(WireError("bad_field", "no"), annotator.next_id())
    assert told(annotator.session.refuse(malformed, annotator.now)) == [("error", 4, "bad_field")]
    assert told(annotator.answers(2)) == [("mask", 2)]
    assert told(annotator.answers(3)) == [("mask", 3)]


def test_frames_in_error_are_put_up_with_for_a_while() -> None:
    annotator = at_an_image(max_errors_per_min=60.0)
    assert len(of(Error, replies(annotator.sends_garbage(60)))) == 60
    annotator.waits(2.0)
    assert len(of(Error, replies(annotator.sends_garbage(2)))) == 2
    assert close_code(annotator.sends_garbage()) == 4008


def test_clicks_in_error_are_put_up_with_for_a_while() -> None:
    annotator = at_an_image(max_errors_per_min=2.0)
    for _ in range(2):
        assert only_error(annotator.click(points=())).code == "no_positive_prompt"
    assert close_code(annotator.click(points=())) == 4008


def test_clicks_without_an_image_are_put_up_with_for_a_while() -> None:
    annotator = greeted(max_errors_per_min=2.0)
    for _ in range(2):
        assert only_error(annotator.click()).code == "not_open"
    assert close_code(annotator.click()) == 4008


@pytest.mark.parametrize("prefetch", [False, True])
def test_opens_in_error_are_put_up_with_for_a_while(prefetch: bool) -> None:
    annotator = greeted(max_errors_per_min=2.0, max_image_bytes=100)
    for _ in range(2):
        assert only_error(annotator.open(101, prefetch=prefetch)).code == "image_too_large"
    assert close_code(annotator.open(101, prefetch=prefetch)) == 4008


@pytest.mark.parametrize(
    "fail",
    [
        Annotator.fails_to_open,
        lambda annotator: annotator.data(2),
        lambda annotator: annotator.waits(30.0),
    ],
    ids=["bad_image", "bad_data", "upload_stalled"],
)
def test_however_an_open_fails_by_its_clients_fault_it_counts(
    fail: Callable[[Annotator], list[Effect]],
) -> None:
    annotator = greeted(max_errors_per_min=1.0)
    annotator.sends_garbage()
    annotator.open(size=1)
    effects = fail(annotator)
    assert close_code(effects) == 4008
    assert told(effects) == []
    assert annotator.budget.used == 0


@pytest.mark.parametrize("code", ["overload", "internal", "restarting", "timeout"])
def test_opens_that_fail_by_our_fault_are_not_held_against_a_client(code: str) -> None:
    annotator = greeted(max_errors_per_min=1.0)
    for _ in range(20):
        annotator.open(size=1)
        annotator.data(1)
        assert only_error(annotator.fails_to_open(code=code)).code == code


def test_hovers_in_error_are_not_held_against_a_pointer_that_leaves_the_picture() -> None:
    annotator = at_an_image(max_errors_per_min=1.0)
    for _ in range(20):
        assert only_error(annotator.hover(points=((500, 500, 1),))).code == "bad_field"


def test_a_click_over_the_rate_is_refused_in_its_turn_and_later_ones_are_not() -> None:
    annotator = at_an_image(segments_per_s=10.0, segment_burst=2.0)
    annotator.click(0)
    annotator.click(1)
    effects = annotator.click(2)
    assert told(effects) == [("error", 4, "rate_limited")]
    assert only_error(effects).retry_after == 1.0
    annotator.now += 0.1
    assert submitted(annotator.click(2)) == [5]


def test_a_refusal_over_the_rate_does_not_overtake_earlier_replies_of_its_object() -> None:
    annotator = at_an_image(segment_burst=1.0)
    annotator.click()
    assert annotator.click() == []
    assert told(annotator.answers(2)) == [("mask", 2), ("error", 3, "rate_limited")]


def test_clicks_that_stay_over_the_rate_end_the_connection() -> None:
    annotator = at_an_image(segment_burst=1.0, max_errors_per_min=3.0)
    annotator.click(0)
    for number in range(1, 4):
        assert only_error(annotator.click(number)).code == "rate_limited"
    assert close_code(annotator.click(4)) == 4008


def at_the_hover_rate() -> Annotator:
    """Hovers get half of the burst of 4: the next one is over the rate."""
    annotator = at_an_image(segment_burst=4.0, segments_per_s=10.0)
    for expected in (2, 3):
        assert submitted(annotator.hover()) == [expected]
        annotator.session.on_started(expected)
    return annotator


def test_hovers_over_the_rate_are_passed_over_in_silence_but_the_last_is_answered() -> None:
    annotator = at_the_hover_rate()
    for _ in range(50):
        assert annotator.hover() == []
    assert annotator.session.hover_is_late
    assert submitted(annotator.waits(0.1)) == [53]
    assert not annotator.session.hover_is_late
    assert annotator.waits(10.0) == []


def test_hovers_leave_room_in_the_rate_for_clicks() -> None:
    annotator = at_the_hover_rate()
    annotator.hover()
    assert submitted(annotator.click(1)) == [5]


def test_a_late_hover_waits_while_clicks_use_up_the_rate() -> None:
    annotator = at_the_hover_rate()
    annotator.hover(5)
    annotator.click(1)
    assert annotator.waits(0.1) == []
    assert submitted(annotator.waits(0.1)) == [4]


def test_a_late_hover_in_error_is_told_when_its_turn_comes() -> None:
    annotator = at_the_hover_rate()
    annotator.hover(1, points=())
    assert told(annotator.waits(0.1)) == [("error", 4, "no_positive_prompt")]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda annotator: annotator.click(7), [("superseded", 4, 5)]),
        (lambda annotator: annotator.cancel(4), [("superseded", 4, None)]),
        (lambda annotator: annotator.release(7), [("superseded", 4, None)]),
        (Annotator.open, [("superseded", 4, 5)]),
    ],
    ids=["click of its object", "cancel", "release", "open"],
)
def test_a_late_hover_is_settled_by_what_ends_any_other(
    end: Callable[[Annotator], list[Effect]], expected: list[tuple[object, ...]]
) -> None:
    annotator = at_the_hover_rate()
    annotator.answers(2)
    annotator.answers(3)
    annotator.hover(7)
    assert told(end(annotator)) == expected
    assert not annotator.session.hover_is_late


def test_a_late_hover_of_an_image_that_fails_to_open_is_refused() -> None:
    annotator = opening(segment_burst=2.0)
    annotator.hover()
    annotator.hover()
    assert told(annotator.fails_to_open(to=1)) == [
        ("error", 1, "bad_image"),
        ("error", 3, "not_open"),
    ]


def test_a_late_hover_with_a_mask_waits_for_all_that_it_costs() -> None:
    annotator = at_an_image(segment_burst=40.0, segments_per_s=10.0)
    given = RleBody(size=(50, 100), counts=b"0")
    for expected in (2, 3):
        assert submitted(annotator.hover(prior=given)) == [expected]
        annotator.session.on_started(expected)
    assert annotator.hover(prior=given) == []
    assert annotator.waits(0.9) == []
    assert submitted(annotator.waits(0.1)) == [4]


def test_a_flood_of_messages_ends_the_connection() -> None:
    annotator = at_an_image(messages_per_s=10.0)
    effects: list[Effect] = []
    for _ in range(30):
        effects += annotator.cancel(1)
    assert close_code(effects) == 4008


# Idle


def test_a_session_without_messages_for_long_is_idle() -> None:
    annotator = at_an_image(idle_timeout_s=300.0)
    assert annotator.waits(299.9) == []
    annotator.cancel(1)
    assert annotator.waits(299.9) == []
    assert close_code(annotator.waits(0.1)) == 4204


def test_frames_in_error_do_not_keep_a_session_alive() -> None:
    annotator = at_an_image(idle_timeout_s=300.0)
    annotator.waits(200.0)
    annotator.sends_garbage()
    assert close_code(annotator.waits(100.0)) == 4204


def test_a_session_is_never_idle_while_opening_nor_for_the_time_that_took() -> None:
    annotator = opening(idle_timeout_s=300.0)
    assert annotator.waits(1000.0) == []
    annotator.opened(Image())
    assert annotator.waits(299.0) == []
    assert close_code(annotator.waits(1.0)) == 4204


def test_a_prefetch_does_not_keep_a_session_alive() -> None:
    annotator = greeted(idle_timeout_s=300.0)
    annotator.open(prefetch=True)
    annotator.data(10)
    assert close_code(annotator.waits(300.0)) == 4204
