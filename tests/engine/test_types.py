from hypothesis import given
from hypothesis import strategies as st

from server.engine.types import Box, Point, Prompt

POINTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 1)), max_size=6
).map(tuple)
BOXES = st.none() | st.just((1.0, 1.0, 5.0, 5.0))


@given(POINTS, BOXES, st.integers(0, 6))
def test_a_prompt_extends_what_it_began_as(
    points: tuple[Point, ...], box: Box | None, had: int
) -> None:
    begun = Prompt(points[:had], box)
    assert Prompt(points, box).extends(begun) == (had < len(points))


@given(POINTS, POINTS)
def test_a_prompt_extends_no_other_beginning(
    points: tuple[Point, ...], other: tuple[Point, ...]
) -> None:
    if points[: len(other)] != other:
        assert not Prompt(points).extends(Prompt(other))


@given(POINTS)
def test_with_another_box_it_is_another_prompt(points: tuple[Point, ...]) -> None:
    boxed = Prompt(points, (1.0, 1.0, 5.0, 5.0))
    for box in (None, (1.0, 1.0, 5.0, 6.0)):
        assert not boxed.extends(Prompt(points[:-1], box))
