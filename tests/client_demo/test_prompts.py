from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_demo.errors import SamwireError
from client_demo.prompts import Box, Memory, Point, prior_field, segment_of
from client_demo.results import Mask, mask_of
from server.protocol import RleBody, Segment
from tests.support.scripted_server import mask_reply

SIZE = (100, 50)
A, B, C = (1.0, 1.0, 1), (2.0, 2.0, 0), (3.0, 3.0, 1)
coordinates = st.floats(-1000, 1000)


def asked(
    *points: tuple[float, float, int], request_id: int = 1, box: Box | None = None
) -> Segment:
    return Segment(id=request_id, points=points, box=box)


def answer(segment: Segment, connection: int = 1) -> Mask:
    return mask_of(mask_reply(segment), connection)


def test_a_point_without_a_label_is_included() -> None:
    assert segment_of(SIZE, points=[(1, 2), (3, 4, 0)], id=1).points == ((1, 2, 1), (3, 4, 0))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint8])
def test_numpys_numbers_are_numbers(kind: Any) -> None:
    box = (kind(1), kind(2), kind(9), kind(8))

    segment = segment_of(SIZE, points=[(kind(1), kind(2), kind(0))], box=box, id=1)

    assert (segment.points, segment.box) == (((1, 2, 0),), (1, 2, 9, 8))


@given(st.tuples(coordinates, coordinates, coordinates, coordinates))
def test_a_box_is_clipped_to_the_picture_whichever_corners_it_has(box: Box) -> None:
    clipped = segment_of(SIZE, box=box, id=1).box

    assert clipped is not None
    x0, y0, x1, y1 = clipped
    assert 0 <= x0 <= x1 <= 100
    assert 0 <= y0 <= y1 <= 50
    assert clipped == segment_of(SIZE, box=(box[2], box[3], box[0], box[1]), id=1).box


def test_a_box_inside_is_left_as_it_is() -> None:
    assert segment_of(SIZE, box=(1.5, 2.5, 99.0, 49.0), id=1).box == (1.5, 2.5, 99.0, 49.0)


@pytest.mark.parametrize(
    ("points", "field"),
    [
        ([(1.0, float("inf"))], "points.0.1"),
        ([(1.0,)], "points.0.1"),
        ([(1.0, 1.0, 2)], "points.0.2"),
        ([(1.0, 1.0)] * 65, "points"),
    ],
)
def test_what_the_wire_would_refuse_is_refused_here(points: list[Point], field: str) -> None:
    with pytest.raises(SamwireError) as refused:
        segment_of(SIZE, points=points, id=1)

    assert (refused.value.code, refused.value.field) == ("bad_field", field)
    assert refused.value.fault == "client"


def test_the_newest_mask_of_fewer_of_the_points_is_refined() -> None:
    memory = Memory()
    memory.add(asked(A), answer(asked(A, request_id=1)))
    memory.add(asked(A, B), answer(asked(A, B, request_id=2)))

    refined = memory.automatic(asked(A, B, C))

    assert refined is not None
    assert refined.id == 2


@pytest.mark.parametrize(
    "other",
    [
        asked(A, B),
        asked(B, C, A),
        asked(A),
        asked(A, B, C, box=(0, 0, 1, 1)),
        Segment(id=9, object=1, points=(A, B, C)),
    ],
    ids=["the same", "not a prefix", "undone", "another box", "another object"],
)
def test_nothing_else_is_refined(other: Segment) -> None:
    memory = Memory()
    memory.add(asked(A, B), answer(asked(A, B)))

    assert memory.automatic(other) is None


def test_undo_refines_what_it_refined_before() -> None:
    memory = Memory()
    for count, points in enumerate([(A,), (A, B), (A, B, C)], start=1):
        memory.add(asked(*points), answer(asked(*points, request_id=count)))

    refined = memory.automatic(asked(A, B))

    assert refined is not None
    assert refined.id == 1


def test_no_more_is_kept_than_the_server_keeps() -> None:
    memory = Memory()
    memory.add(asked(A), answer(asked(A)))
    for _ in range(4):
        memory.add(asked(B), answer(asked(B)))

    assert memory.automatic(asked(A, B)) is None


def test_what_is_forgotten_is_not_refined() -> None:
    memory = Memory()
    memory.add(asked(A), answer(asked(A)))
    memory.forget(0)

    assert memory.automatic(asked(A, B)) is None


def test_a_mask_of_this_connection_goes_by_name_and_another_as_rle() -> None:
    mask = answer(asked(A, request_id=7), connection=2)

    assert prior_field(mask, 2, 3) == (7, 0)
    assert prior_field(mask, 3, 3) == RleBody(size=(3, 4), counts=b"426")


def test_a_mask_of_another_connection_that_is_too_long_to_send_is_none() -> None:
    mask = answer(asked(A, request_id=7), connection=2)

    assert prior_field(mask, 2, 2) == (7, 0)
    assert prior_field(mask, 3, 2) is None


def test_an_array_goes_as_rle_however_long() -> None:
    assert prior_field(answer(asked(A)).mask(), 1, 2) == RleBody(size=(3, 4), counts=b"426")
