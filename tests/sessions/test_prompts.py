from typing import Any

import pytest

from server.engine.types import Prompt
from server.errors import WireError
from server.protocol import RleBody
from server.sessions.prompts import check_geometry, is_positive, mask_reply, prompt_of, want_of
from tests.support.segments import INSIDE, click, points, result

EXCLUDE = (5.0, 5.0, 0)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (Prompt(), False),
        (Prompt(points=(EXCLUDE,)), False),
        (Prompt(points=(EXCLUDE, INSIDE)), True),
        (Prompt(box=(0, 0, 1, 1)), True),
        (Prompt(points=(EXCLUDE,), box=(0, 0, 1, 1)), True),
    ],
)
def test_an_include_point_or_a_box_says_where_the_object_is(
    prompt: Prompt, *, expected: bool
) -> None:
    assert is_positive(prompt) is expected


@pytest.mark.parametrize(
    ("fields", "has_prior", "want"),
    [
        ({"points": points(1)}, False, "best"),
        ({"points": points(1)}, True, "single"),
        ({"points": points(1), "box": (0, 0, 1, 1)}, False, "single"),
        ({"points": (), "box": (0, 0, 1, 1)}, False, "single"),
        ({"points": points(2)}, False, "single"),
        ({"points": points(1), "candidates": True}, False, "all"),
        ({"points": points(2), "candidates": True}, True, "all"),
    ],
)
def test_a_lone_point_wants_the_best_of_three(
    fields: dict[str, Any], *, has_prior: bool, want: str
) -> None:
    assert want_of(click(1, **fields), has_prior=has_prior) == want


@pytest.mark.parametrize("point", [(0, 0), (100, 50), (100, 0), (0, 50), (99.5, 49.5)])
def test_the_image_includes_its_border(point: tuple[float, float]) -> None:
    check_geometry(click(1, points=((*point, 1),)), 100, 50)


@pytest.mark.parametrize("point", [(-0.1, 0), (0, -0.1), (100.1, 0), (0, 50.1), (50, 100)])
def test_a_point_outside_the_image_is_refused_by_its_number(point: tuple[float, float]) -> None:
    with pytest.raises(WireError, match="100 x 50") as refused:
        check_geometry(click(1, points=(INSIDE, (*point, 0))), 100, 50)
    assert (refused.value.code, refused.value.field) == ("bad_field", "points.1")


@pytest.mark.parametrize(
    "box",
    [
        (-1, 0, 5, 5),
        (0, -1, 5, 5),
        (0, 0, 101, 5),
        (0, 0, 5, 51),
        (5, 0, 5, 5),
        (0, 5, 5, 5),
        (6, 0, 5, 5),
        (0, 6, 5, 5),
        (0, 0, 50, 100),
    ],
)
def test_a_box_without_area_or_beyond_the_image_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(WireError) as refused:
        check_geometry(click(1, box=box), 100, 50)
    assert (refused.value.code, refused.value.field) == ("bad_field", "box")


def test_a_box_may_be_the_whole_image() -> None:
    check_geometry(click(1, box=(0, 0, 100, 50)), 100, 50)


def test_a_mask_sent_along_has_the_size_of_the_image() -> None:
    check_geometry(click(1, prior=RleBody(size=(50, 100), counts=b"0")), 100, 50)
    with pytest.raises(WireError) as refused:
        check_geometry(click(1, prior=RleBody(size=(100, 50), counts=b"0")), 100, 50)
    assert refused.value.field == "prior.size"


def test_the_prompt_is_all_points_and_the_box() -> None:
    message = click(1, points=points(3), box=(0, 0, 5, 5), candidates=True)
    assert prompt_of(message) == Prompt(points=points(3), box=(0.0, 0.0, 5.0, 5.0))


def test_a_reply_says_what_it_answers_what_it_refined_and_how_long_it_took() -> None:
    reply = mask_reply(click(7, 3), 5, result(counts=b"abc", score=0.75))
    assert (reply.id, reply.object, reply.prior, reply.score) == (7, 3, 5, 0.75)
    assert (reply.rle.size, reply.rle.counts, reply.area) == ((50, 100), b"abc", 1)
    assert reply.candidates is None
    timings = reply.timings
    assert (timings.queue_ms, timings.decode_ms, timings.post_ms, timings.batch) == (1, 2, 3, 1)


def test_candidates_are_told_only_when_asked_for() -> None:
    assert mask_reply(click(1), None, result(3)).candidates is None
    asked = mask_reply(click(1, candidates=True), None, result(3)).candidates
    assert asked is not None
    assert len(asked) == 3
