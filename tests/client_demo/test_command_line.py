import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_demo.command_line import Prompts, Wanted, parse_prompts, write
from client_demo.overlay import RgbImage
from tests.support.pictures import scene

numbers = st.floats(allow_nan=False, allow_infinity=False)
pairs = st.tuples(numbers, numbers)


def typed(*given: float) -> str:
    return ",".join(map(str, given))


@given(st.lists(pairs, min_size=1), st.lists(pairs), st.none() | st.tuples(*[numbers] * 4))
def test_prompts_are_read_as_they_were_typed(
    include: list[tuple[float, float]],
    exclude: list[tuple[float, float]],
    box: tuple[float, float, float, float] | None,
) -> None:
    read = parse_prompts(
        [typed(*xy) for xy in include],
        [typed(*xy) for xy in exclude],
        None if box is None else typed(*box),
    )
    points = [(*xy, 1) for xy in include] + [(*xy, 0) for xy in exclude]
    assert read == Prompts(tuple(points), box)


@given(st.text())
def test_whatever_is_typed_is_two_finite_numbers_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        [(x, y, label)] = parse_prompts([text], [], None).points
        assert np.isfinite([x, y]).all()
        assert label == 1


@pytest.mark.parametrize("text", ["", "5", "5,nan", "inf,5", "1,2,3", "a,b", "1;2"])
def test_what_are_not_two_numbers_is_said_back(text: str) -> None:
    with pytest.raises(ValueError, match=f"expected 2 numbers with .*, got '{text}'"):
        parse_prompts([text], [], None)


def test_without_a_point_or_a_box_nothing_says_where_the_object_is() -> None:
    with pytest.raises(ValueError, match="where the object is"):
        parse_prompts([], ["1,2"], None)


def test_shares_become_pixels() -> None:
    shares = Prompts(((0.5, 0.25, 1),), (0.0, 0.0, 1.0, 0.5))
    assert shares.in_pixels(640, 480) == Prompts(((320, 120, 1),), (0, 0, 640, 240))


def test_the_photo_is_read_only_to_be_drawn_on(tmp_path: Path) -> None:
    photo, [mask, *_] = scene(96, 72)
    reads: list[str] = []

    def read() -> RgbImage:
        reads.append("once")
        return photo

    write(Wanted(out=tmp_path / "mask.png"), mask, Prompts(((5, 5, 1),), None), read)
    assert reads == []
    write(Wanted(overlay=tmp_path / "drawn.png"), mask, Prompts(((5, 5, 1),), None), read)
    assert reads == ["once"]
    assert {path.name for path in tmp_path.iterdir()} == {"mask.png", "drawn.png"}
