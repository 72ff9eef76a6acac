import weakref
from typing import Any

import pytest

from server.errors import WireError
from server.protocol import RleBody
from server.sessions.objects import MAX_GIVEN_BYTES
from tests.support.segments import (
    INSIDE,
    Image,
    click,
    only_mask,
    only_submit,
    points,
    result,
    submitted,
    told,
)
from tests.support.tables import Table

# Which mask


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"points": (INSIDE,)}, "best"),
        ({"points": points(2)}, "single"),
        ({"points": (INSIDE,), "box": (0, 0, 20, 20)}, "single"),
        ({"points": (), "box": (0, 0, 20, 20)}, "single"),
        ({"points": (INSIDE,), "prior": RleBody(size=(50, 100), counts=b"0")}, "single"),
        ({"points": (INSIDE,), "prior": None}, "best"),
        ({"points": (INSIDE,), "candidates": True}, "all"),
        ({"points": points(2), "candidates": True}, "all"),
    ],
)
def test_one_lone_point_is_ambiguous_everything_else_is_not(
    fields: dict[str, Any], want: str
) -> None:
    assert only_submit(Table().click(1, **fields)).want == want


def test_candidates_come_best_first_and_the_mask_is_the_best() -> None:
    table = Table()
    table.click(1, candidates=True)
    mask = only_mask(table.finish(1, result(3, score=0.9)))
    assert mask.candidates is not None
    assert [candidate.score for candidate in mask.candidates] == pytest.approx([0.9, 0.8, 0.7])
    assert (mask.score, mask.rle) == (mask.candidates[0].score, mask.candidates[0].rle)


def test_candidates_of_a_hover_are_refused() -> None:
    with pytest.raises(WireError, match="candidates"):
        Table().hover(1, candidates=True)


@pytest.mark.parametrize(
    "fields",
    [{"points": ()}, {"points": ((1, 1, 0),)}, {"points": (), "prior": None}],
    ids=["nothing", "only an exclude point", "expressly no prior"],
)
def test_a_prompt_that_does_not_say_where_the_object_is_is_refused(
    fields: dict[str, Any],
) -> None:
    assert Table().refusal(1, **fields).code == "no_positive_prompt"


@pytest.mark.parametrize(
    "fields",
    [{"box": (0, 0, 5, 5)}, {"prior": RleBody(size=(50, 100), counts=b"0")}, {"prior": (1, 0)}],
    ids=["box", "mask", "earlier mask"],
)
def test_a_box_or_a_prior_is_enough_beside_exclude_points(fields: dict[str, Any]) -> None:
    table = Table()
    table.answered(1)
    assert submitted(table.click(2, points=((1, 1, 0),), **fields)) == [2]


# Prior


def test_the_automatic_prior_is_the_newest_answer_to_a_proper_subset() -> None:
    table = Table()
    one, two = (table.answered(n, points=points(n)) for n in (1, 2))
    submit = only_submit(table.click(3, points=points(3)))
    assert submit.prior is two.logits[0]
    assert only_mask(table.finish(3)).prior == 2
    assert one.logits[0] is not two.logits[0]


def test_undo_and_repeats_have_the_prior_they_had_the_first_time() -> None:
    table = Table()
    one = table.answered(1, points=points(1))
    table.answered(2, points=points(2))
    table.answered(3, points=points(3))
    assert only_submit(table.click(4, points=points(2))).prior is one.logits[0]
    table.finish(4)
    assert only_submit(table.click(5, points=points(2))).prior is one.logits[0]
    table.finish(5)
    assert only_submit(table.click(6, points=points(1))).prior is None


def test_a_hover_has_the_prior_a_click_would_have_and_leaves_nothing_behind() -> None:
    table = Table()
    one = table.answered(1, points=points(1))
    assert only_submit(table.hover(2, points=points(2))).prior is one.logits[0]
    assert only_mask(table.finish(2)).prior == 1
    assert only_submit(table.click(3, points=points(3))).prior is one.logits[0]


def test_a_hover_formed_after_a_click_starts_from_its_logits() -> None:
    table = Table()
    table.click(1, points=points(1))
    table.start(1)
    assert submitted(table.hover(2, points=points(2))) == []
    outcome = result()
    assert only_submit(table.finish(1, outcome)).prior is outcome.logits[0]


def test_the_next_click_is_formed_once_the_last_ones_logits_are_stored() -> None:
    table = Table()
    table.click(1, points=points(1))
    table.start(1)
    assert table.click(2, points=points(2)) == []
    outcome = result()
    assert only_submit(table.finish(1, outcome)).prior is outcome.logits[0]


def test_a_click_without_include_point_may_wait_for_the_prior_it_will_have() -> None:
    table = Table()
    table.click(1, points=(), box=(0, 0, 5, 5))
    table.start(1)
    assert table.click(2, points=((1, 1, 0),), box=(0, 0, 5, 5)) == []
    assert submitted(table.finish(1)) == [2]


def test_one_that_turns_out_to_have_none_is_refused_and_a_hover_goes_on() -> None:
    table = Table()
    table.click(1)
    table.start(1)
    table.click(2, points=((1, 1, 0),))
    table.hover(3)
    effects = table.finish(1, WireError("internal", "oops"))
    assert told(effects) == [("error", 1, "internal"), ("error", 2, "no_positive_prompt")]
    assert submitted(effects) == [3]


def test_nil_means_no_prior() -> None:
    table = Table()
    table.answered(1, points=points(1))
    assert only_submit(table.click(2, points=points(2), prior=None)).prior is None
    assert only_mask(table.finish(2)).prior is None


def test_a_named_candidate_is_the_prior_and_is_refined_as_chosen() -> None:
    table = Table()
    shown = table.answered(1, masks=3, points=points(1), candidates=True)
    assert only_submit(table.click(2, points=points(2), prior=(1, 2))).prior is shown.logits[2]
    chosen = result()
    assert only_mask(table.finish(2, chosen)).prior == 1
    assert only_submit(table.click(3, points=points(3))).prior is chosen.logits[0]


def test_a_mask_sent_along_is_the_prior() -> None:
    table = Table()
    body = RleBody(size=(50, 100), counts=b"0")
    assert only_submit(table.click(1, prior=body)).prior == body
    assert only_mask(table.finish(1)).prior is None


@pytest.mark.parametrize("prior", [(1, 1), (9, 0)], ids=["no such candidate", "never answered"])
def test_a_prior_that_is_not_kept_is_an_error_and_supersedes_nothing(
    prior: tuple[int, int],
) -> None:
    table = Table()
    table.answered(1)
    table.click(2)
    refused = table.refusal(10, prior=prior)
    assert (refused.code, refused.field) == ("prior_gone", "prior")
    assert told(table.finish(2)) == [("mask", 2)]


def test_a_prior_of_another_object_is_not_found() -> None:
    table = Table()
    table.answered(1, number=1)
    assert table.refusal(2, number=2, prior=(1, 0)).code == "prior_gone"
    table.answered(3, number=1, points=points(1))
    assert only_submit(table.click(4, 2, points=points(2))).prior is None


def test_a_prior_that_goes_while_its_click_waits_is_an_error_then() -> None:
    table = Table()
    for request_id in range(1, 5):
        table.answered(request_id)
    table.click(5)
    table.start(5)
    table.click(6, prior=(1, 0))
    effects = table.finish(5)
    assert told(effects) == [("mask", 5), ("error", 6, "prior_gone")]


def test_the_logits_of_the_last_four_answered_clicks_are_kept() -> None:
    table = Table()
    for request_id in range(1, 6):
        table.answered(request_id)
    assert table.refusal(6, prior=(1, 0)).code == "prior_gone"
    assert submitted(table.click(7, prior=(2, 0))) == [7]


def test_a_click_that_only_waits_to_be_told_keeps_its_mask_no_longer() -> None:
    table = Table()
    table.click(1)
    table.start(1)
    given = click(2, prior=RleBody(size=(50, 100), counts=b"0"))
    kept = weakref.ref(given)
    table.objects.ask(given)
    del given

    assert told(table.click(3)) == []

    assert kept() is None
    assert told(table.finish(1)) == [("mask", 1), ("superseded", 2, 3)]


# Given masks

QUARTER = RleBody(size=(50, 100), counts=b"0" * (MAX_GIVEN_BYTES // 4))
LITTLE = RleBody(size=(50, 100), counts=b"0" * 100)


def full_of_masks(*, is_open: bool) -> Table:
    table = Table(is_open=is_open)
    for number in range(1, 5):
        table.click(number, number, prior=QUARTER)
    return table


@pytest.mark.parametrize("is_open", [False, True])
def test_so_many_bytes_of_given_masks_wait_and_no_more(is_open: bool) -> None:
    table = full_of_masks(is_open=is_open)
    assert table.objects.nbytes == MAX_GIVEN_BYTES
    refused = table.refusal(5, number=5, prior=LITTLE)
    assert (refused.code, refused.retry_after) == ("busy", 0.1)
    with pytest.raises(WireError, match="busy"):
        table.hover(6, 6, prior=LITTLE)
    assert submitted(table.click(7, 7)) == ([7] if is_open else [])


def test_what_is_answered_makes_room_for_given_masks() -> None:
    table = full_of_masks(is_open=True)
    table.start(1)
    assert table.refusal(5, number=5, prior=QUARTER).code == "busy"
    table.finish(1)
    assert submitted(table.click(6, 5, prior=QUARTER)) == [6]


def test_a_given_mask_takes_the_room_of_the_one_that_it_overtakes() -> None:
    table = full_of_masks(is_open=False)
    assert told(table.click(5, 4, prior=QUARTER)) == [("superseded", 4, 5)]
    table.objects.cancel(5)
    table.hover(6, 6, prior=QUARTER)
    table.hover(7, 7, prior=QUARTER)
    assert table.objects.nbytes == MAX_GIVEN_BYTES
    assert told(table.click(8, 7, prior=QUARTER)) == [("superseded", 7, 8)]


def test_sixteen_objects_come_back_each_with_a_mask_before_their_image_does() -> None:
    table = Table(is_open=False)
    ragged = RleBody(size=(50, 100), counts=b"0" * 60_000)
    for number in range(1, 17):
        table.click(number, number, prior=ragged)
    assert submitted(table.objects.opened(Image())) == list(range(1, 17))
