import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.second_look.window import (
    CELLS,
    LEAST_SHARE,
    Window,
    crop,
    resampling,
    window_around,
)
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT

BOX = [(0.2, 0.3, TOP_LEFT), (0.4, 0.4, BOTTOM_RIGHT)]
NOTHING = np.full((192, 192), -5.0, np.float32)


def square(low: int, high: int) -> np.ndarray:
    logits = NOTHING.copy()
    logits[low:high, low:high] = 5.0
    return logits


def test_a_box_is_looked_at_with_a_margin_and_in_the_middle() -> None:
    window = window_around(NOTHING, BOX, pixels=1000)
    assert window.side == pytest.approx(0.26)
    assert window.x + window.side / 2 == pytest.approx(0.3, abs=1e-3)
    assert window.y + window.side / 2 == pytest.approx(0.35, abs=1e-3)


def test_a_click_is_looked_at_with_the_mask_around_it() -> None:
    window = window_around(square(48, 96), [(0.3, 0.3, INCLUDE)], pixels=768)
    assert window.side == pytest.approx(0.25 * 1.5, abs=0.02)
    assert window.x + window.side / 2 == pytest.approx(0.375, abs=0.01)


def test_a_click_beside_the_mask_widens_the_window_and_an_excluding_one_does_not() -> None:
    marks = [(0.3, 0.3, INCLUDE), (0.9, 0.3, EXCLUDE)]
    narrow = window_around(square(48, 96), marks, pixels=768)
    wide = window_around(square(48, 96), [*marks, (0.8, 0.3, INCLUDE)], pixels=768)
    assert narrow.side < 0.4
    assert wide.x < 0.25
    assert wide.x + wide.side > 0.8


def test_crumbs_far_away_do_not_widen_the_window() -> None:
    logits = square(40, 80)
    logits[180, 180] = 5.0
    marks = [(0.3, 0.3, INCLUDE)]
    assert window_around(logits, marks, 768).side == window_around(square(40, 80), marks, 768).side


def test_an_empty_mask_is_looked_at_around_the_click() -> None:
    window = window_around(NOTHING, [(0.5, 0.5, INCLUDE)], pixels=768)
    assert window.side == pytest.approx(LEAST_SHARE, abs=1e-3)
    assert window.x < 0.5 < window.x + window.side


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 800),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 1)), max_size=5),
)
def test_every_window_is_of_whole_pixels_and_holds_the_clicks_or_is_as_wide_as_the_input(
    seed: int, pixels: int, clicks: list[tuple[float, float, int]]
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1, (48, 48)).astype(np.float32)
    marks = [(0.5, 0.5, INCLUDE), *clicks]
    window = window_around(logits, marks, pixels)
    for edge in (window.x, window.y, window.side):
        assert edge * pixels == pytest.approx(round(edge * pixels), abs=1e-6)
    if window.side * pixels < pixels - 1:
        slack = 1.5 / pixels
        for x, y, label in marks:
            if label == INCLUDE:
                assert window.x - slack <= x <= window.x + window.side + slack
                assert window.y - slack <= y <= window.y + window.side + slack


def test_a_cut_shows_the_picture_where_the_window_is_and_the_filling_beyond() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 100:] = (0, 200, 0)
    seen = crop(picture, Window(0.25, -0.25, 0.5), (9.0, 9.0, 9.0))
    assert seen.shape == (CELLS, CELLS, 3)
    assert (seen[: CELLS // 2 - 1] == 9).all()
    assert (seen[CELLS // 2 + 1 :, : CELLS // 2 - 1] == 0).all()
    assert (seen[CELLS // 2 + 1 :, CELLS // 2 + 1 :] == (0, 200, 0)).all()


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(-80, 80),
    st.integers(-80, 80),
    st.integers(1, 90),
)
def test_a_cut_is_the_picture_moved_with_the_filling_around_it(
    height: int, width: int, x: int, y: int, side: int
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    pixels = max(height, width)
    around = np.full((height + 400, width + 400, 3), 9, np.uint8)
    around[200 : 200 + height, 200 : 200 + width] = picture
    part = around[200 + y : 200 + y + side, 200 + x : 200 + x + side]
    method = cv2.INTER_AREA if side > CELLS else cv2.INTER_LINEAR
    expected = cv2.resize(part, (CELLS, CELLS), interpolation=method)
    seen = crop(picture, Window(x / pixels, y / pixels, side / pixels), (9.0, 9.0, 9.0))
    np.testing.assert_array_equal(seen, expected)


@given(st.floats(-0.5, 1.0), st.floats(0.01, 1.0), st.integers(1, 60), st.integers(1, 24))
def test_resampling_keeps_what_is_the_same_everywhere(
    start: float, side: float, size: int, cells: int
) -> None:
    weights = resampling(start, side, size, cells)
    assert weights.shape == (cells, size)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    assert (weights >= 0).all()


def test_resampling_carries_a_slope_over_whether_it_shrinks_or_enlarges() -> None:
    slope = np.arange(48, dtype=np.float32)
    for side in (0.1, 0.5):
        places = (0.25 + (np.arange(12) + 0.5) / 12 * side) * 48 - 0.5
        np.testing.assert_allclose(resampling(0.25, side, 48, 12) @ slope, places, atol=1e-3)


def test_a_prompt_that_includes_nothing_is_looked_at_with_the_whole_image() -> None:
    window = window_around(NOTHING, [(0.2, 0.2, EXCLUDE)], pixels=640)
    assert (window.x, window.y, window.side) == (0.0, 0.0, 1.0)
