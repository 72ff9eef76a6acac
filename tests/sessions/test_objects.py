from typing import Any

import pytest

from server.errors import WireError
from server.protocol import MAX_FRAME_BYTES, RleBody
from tests.support.segments import (
    INSIDE,
    Image,
    click,
    hover,
    only_error,
    only_mask,
    only_submit,
    points,
    replies,
    result,
    submitted,
    told,
    withdrawn,
)
from tests.support.tables import Table

# Newest wins


def test_a_click_goes_to_the_queue_and_is_answered() -> None:
    table = Table()
    submit = only_submit(table.click(1, 7))
    assert (submit.ticket, submit.kind, submit.prompt.points) == (1, "click", (INSIDE,))
    mask = only_mask(table.finish(1))
    assert (mask.id, mask.object, mask.prior) == (1, 7, None)


def test_a_newer_click_supersedes_the_one_of_its_object_that_waits() -> None:
    table = Table()
    table.click(1)
    effects = table.click(2)
    assert told(effects) == [("superseded", 1, 2)]
    assert withdrawn(effects) == [1]
    assert submitted(effects) == [2]


def test_a_newer_click_lets_what_has_started_finish_and_goes_next() -> None:
    table = Table()
    table.click(1)
    table.start(1)
    assert table.click(2) == []
    effects = table.finish(1)
    assert told(effects) == [("mask", 1)]
    assert submitted(effects) == [2]


def test_while_one_click_runs_newer_ones_supersede_each_other() -> None:
    table = Table()
    table.click(1)
    table.start(1)
    table.click(2)
    table.click(3)
    effects = table.finish(1)
    assert told(effects) == [("mask", 1), ("superseded", 2, 3)]
    assert submitted(effects) == [3]


def test_clicks_of_different_objects_leave_each_other_alone() -> None:
    table = Table()
    assert submitted(table.click(1, 1)) == [1]
    effects = table.click(2, 2)
    assert (told(effects), submitted(effects)) == ([], [2])


def test_a_newer_hover_silently_takes_the_place_of_the_one_that_waits() -> None:
    table = Table()
    table.hover(1, 1)
    effects = table.hover(2, 2)
    assert (told(effects), withdrawn(effects), submitted(effects)) == ([], [1], [2])


def test_a_hover_that_has_started_is_finished_and_sent() -> None:
    table = Table()
    table.hover(1)
    table.start(1)
    assert withdrawn(table.hover(2)) == []
    assert told(table.finish(1)) == [("mask", 1)]
    assert told(table.finish(2)) == [("mask", 2)]


def test_a_hover_never_touches_a_click() -> None:
    table = Table()
    table.click(1)
    effects = table.hover(2)
    assert (told(effects), withdrawn(effects), submitted(effects)) == ([], [], [])
    assert submitted(table.finish(1)) == [2]


def test_a_hover_waits_for_the_click_of_its_object_only() -> None:
    table = Table()
    table.click(1, 1)
    assert submitted(table.hover(2, 2)) == [2]


def test_a_click_supersedes_the_waiting_hover_of_its_object() -> None:
    table = Table()
    table.hover(1)
    effects = table.click(2)
    assert told(effects) == [("superseded", 1, 2)]
    assert withdrawn(effects) == [1]


def test_a_click_leaves_the_waiting_hover_of_another_object_alone() -> None:
    table = Table()
    table.hover(1, 1)
    effects = table.click(2, 2)
    assert (told(effects), withdrawn(effects)) == ([], [])
    assert told(table.finish(1)) == [("mask", 1)]


def test_a_click_does_not_wait_for_a_hover_that_runs() -> None:
    table = Table()
    table.hover(1)
    table.start(1)
    assert submitted(table.click(2)) == [2]


def test_no_more_clicks_wait_than_allowed() -> None:
    table = Table(max_waiting_clicks=2)
    table.click(1, 1)
    table.click(2, 2)
    refused = table.refusal(3, number=3)
    assert (refused.code, refused.retry_after) == ("busy", 0.1)
    assert told(table.click(4, 2)) == [("superseded", 2, 4)]
    table.start(1)
    assert submitted(table.click(5, 3)) == [5]


def test_hovers_do_not_count_as_waiting_clicks() -> None:
    table = Table(max_waiting_clicks=1)
    table.click(1, 1)
    assert submitted(table.hover(2, 2)) == [2]


# Replies


def test_a_reply_waits_for_earlier_ones_of_its_object() -> None:
    table = Table()
    table.hover(1)
    table.start(1)
    table.click(2)
    assert told(table.finish(2)) == []
    assert told(table.finish(1)) == [("mask", 1), ("mask", 2)]


def test_replies_of_different_objects_do_not_wait_for_each_other() -> None:
    table = Table()
    table.click(1, 1)
    table.click(2, 2)
    assert told(table.finish(2)) == [("mask", 2)]
    assert told(table.finish(1)) == [("mask", 1)]


def test_a_refusal_waits_its_turn() -> None:
    table = Table()
    table.click(1)
    table.start(1)
    message = click(2)
    assert table.objects.refuse(message, WireError("rate_limited", "slow down")) == []
    assert told(table.finish(1)) == [("mask", 1), ("error", 2, "rate_limited")]


def test_replies_leave_before_the_next_decode_is_asked_for() -> None:
    table = Table()
    table.click(1)
    table.start(1)
    table.click(2)
    reply, submit = table.finish(1)
    assert told([reply]) == [("mask", 1)]
    assert submitted([submit]) == [2]


def test_a_decode_that_fails_is_answered_with_its_error() -> None:
    table = Table()
    table.click(1)
    assert told(table.finish(1, WireError("timeout", "too late"))) == [("error", 1, "timeout")]


def test_a_result_nobody_waits_for_is_dropped() -> None:
    assert Table().finish(1) == []


def test_a_hover_that_a_newer_reply_has_settled_is_not_answered_again() -> None:
    table = Table()
    table.hover(1, 1)
    table.start(1)
    table.hover(2, 2)
    table.start(2)
    assert told(table.finish(2)) == [("mask", 2)]
    assert table.finish(1) == []
    table.hover(3, 3)
    assert told(table.finish(3)) == [("mask", 3)]


def test_a_refused_hover_settles_the_one_that_waited() -> None:
    table = Table()
    table.hover(1, 1)
    effects = table.objects.refuse(hover(2, 2), WireError("bad_field", "no"))
    assert told(effects) == [("error", 2, "bad_field")]
    assert withdrawn(effects) == [1]


def test_of_hover_replies_held_back_only_the_newest_is_kept() -> None:
    table = Table()
    table.click(1)
    table.start(1)
    for request_id in range(2, 10):
        assert table.objects.refuse(hover(request_id), WireError("bad_field", "no")) == []
    assert told(table.finish(1)) == [("mask", 1), ("error", 9, "bad_field")]


def test_replies_to_hovers_are_marked_as_such() -> None:
    table = Table()
    table.hover(1)
    table.click(2, 1)
    marks = [effect.hover for effect in (*table.finish(1), *table.finish(2))]  # type: ignore[union-attr] # all are replies
    assert marks == [True, False]


def test_a_mask_that_does_not_fit_a_frame_is_an_error_and_not_remembered() -> None:
    table = Table()
    table.click(1, points=points(1))
    effects = table.finish(1, result(counts=b"0" * MAX_FRAME_BYTES))
    assert told(effects) == [("error", 1, "mask_too_complex")]
    assert only_submit(table.click(2, points=points(2))).prior is None


def test_the_best_candidate_counts_twice_because_it_is_sent_twice() -> None:
    table = Table()
    table.click(1, candidates=True)
    effects = table.finish(1, result(3, counts=b"0" * (MAX_FRAME_BYTES * 3 // 10)))
    assert told(effects) == [("error", 1, "mask_too_complex")]


def test_idle_means_that_nothing_waits_or_runs() -> None:
    table = Table()
    assert table.objects.idle
    table.click(1)
    table.hover(2, 1)
    table.finish(1)
    assert not table.objects.idle
    table.finish(2)
    assert table.objects.idle


# Opening


def test_before_the_image_is_open_segments_wait_and_the_newest_still_wins() -> None:
    table = Table(is_open=False)
    assert table.click(1) == []
    assert told(table.click(2)) == [("superseded", 1, 2)]
    table.click(3, 1)
    table.hover(4, 2)
    table.hover(5, 2)
    assert submitted(table.objects.opened(Image())) == [2, 3, 5]


def test_a_late_prompt_without_include_point_is_refused_when_formed() -> None:
    table = Table(is_open=False)
    table.click(1, points=())
    assert told(table.objects.opened(Image())) == [("error", 1, "no_positive_prompt")]


# Cancel, release, clear


@pytest.mark.parametrize("runs", [False, True])
def test_a_cancelled_click_is_superseded_and_the_next_one_goes(*, runs: bool) -> None:
    table = Table()
    table.click(1)
    if runs:
        table.start(1)
        table.click(2)
    effects = table.objects.cancel(1)
    assert told(effects) == [("superseded", 1, None)]
    assert withdrawn(effects) == [1]
    assert submitted(effects) == ([2] if runs else [])
    assert table.finish(1) == []


def test_a_cancelled_click_lets_the_hover_that_waited_for_it_go() -> None:
    table = Table()
    table.click(1)
    table.hover(2)
    assert submitted(table.objects.cancel(1)) == [2]


def test_a_cancelled_hover_is_superseded() -> None:
    table = Table()
    table.hover(1)
    assert told(table.objects.cancel(1)) == [("superseded", 1, None)]


def test_a_mask_that_is_ready_is_sent_although_it_is_cancelled() -> None:
    table = Table()
    table.hover(1)
    table.start(1)
    table.click(2)
    table.finish(2)
    assert table.objects.cancel(2) == []
    assert told(table.finish(1)) == [("mask", 1), ("mask", 2)]


def test_release_supersedes_what_concerns_the_object_and_forgets_it() -> None:
    table = Table()
    table.answered(1, number=1, points=points(1))
    table.click(2, 1)
    table.start(2)
    table.click(3, 1)
    table.click(4, 2)
    effects = table.objects.release(1)
    assert told(effects) == [("superseded", 2, None), ("superseded", 3, None)]
    assert withdrawn(effects) == [2]
    assert only_submit(table.click(5, 1, points=points(2))).prior is None
    assert told(table.finish(4)) == [("mask", 4)]


def test_release_leaves_what_is_known_of_other_objects() -> None:
    table = Table()
    kept = table.answered(1, number=2, points=points(1))
    table.objects.release(1)
    assert only_submit(table.click(2, 2, points=points(2))).prior is kept.logits[0]


@pytest.mark.parametrize("ends", ["release", "clear"])
def test_a_mask_held_back_is_superseded_when_its_object_goes(ends: str) -> None:
    table = Table()
    table.hover(1)
    table.start(1)
    table.click(2)
    assert table.finish(2) == []
    effects = table.objects.release(0) if ends == "release" else table.objects.clear(by=None)
    assert told(effects) == [("superseded", 1, None), ("superseded", 2, None)]


def test_clear_names_what_replaced_the_image() -> None:
    table = Table()
    table.click(1, 1)
    table.hover(2, 2)
    assert told(table.objects.clear(by=9)) == [("superseded", 1, 9), ("superseded", 2, 9)]
    assert table.objects.idle


def test_of_several_hovers_one_is_told_that_the_image_went() -> None:
    table = Table()
    table.hover(1, 1)
    table.start(1)
    table.hover(2, 2)
    assert told(table.objects.clear(by=3)) == [("superseded", 2, 3)]


# Errors name the field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"points": (INSIDE, (101, 0, 1))}, "points.1"),
        ({"box": (0, 0, 101, 10)}, "box"),
        ({"prior": RleBody(size=(51, 100), counts=b"0")}, "prior.size"),
    ],
)
def test_what_lies_outside_the_image_is_refused(fields: dict[str, Any], field: str) -> None:
    table = Table()
    table.click(1)
    assert table.refusal(2, **fields).field == field
    assert replies(table.finish(1))


def test_a_held_hover_goes_when_it_is_allowed_and_not_before() -> None:
    table = Table()
    assert table.objects.ask(hover(1), held=True) == []
    assert table.objects.held_hover == hover(1)
    table.click(2, 1)
    assert submitted(table.finish(2)) == []
    assert submitted(table.objects.allow_hover()) == [1]
    assert table.objects.held_hover is None
    assert table.objects.allow_hover() == []


def test_a_held_hover_in_error_is_refused_when_it_is_allowed() -> None:
    table = Table()
    table.objects.ask(hover(1, points=()), held=True)
    assert only_error(table.objects.allow_hover()).code == "no_positive_prompt"


def test_without_a_hover_there_is_nothing_to_allow() -> None:
    assert Table().objects.allow_hover() == []
