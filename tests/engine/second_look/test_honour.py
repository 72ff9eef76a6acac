import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.engine.second_look.honour import CERTAIN_CLICK_CELLS, CERTAIN_LOGIT, honour
from server.engine.tokens import (
    BOTTOM_RIGHT,
    EXCLUDE,
    INCLUDE,
    TOP_LEFT,
    Token,
    box_coverage,
    clamp_to_box,
)

CELLS = 64
BOX: list[Token] = [(0.1875, 0.25, TOP_LEFT), (0.8125, 0.75, BOTTOM_RIGHT)]

Field = NDArray[np.float32]


def noise(seed: int, level: float = 0.0) -> Field:
    return np.random.default_rng(seed).normal(level, 1.0, (CELLS, CELLS)).astype(np.float32)


def in_the_middle(height: float) -> Field:
    """Logits of 2 in the middle of that box, and `height` in the rest of it."""
    logits = np.full((CELLS, CELLS), -8.0, np.float32)
    logits[16:48, 12:52] = height
    logits[27:37, 27:37] = 2.0
    return logits


@given(seed=st.integers(0, 1000))
def test_without_a_prompt_in_it_a_mask_stays_as_it_is(seed: int) -> None:
    np.testing.assert_array_equal(honour(noise(seed), []), noise(seed))


@given(
    seed=st.integers(0, 1000),
    x=st.floats(0, 0.999),
    y=st.floats(0, 0.999),
    label=st.sampled_from([EXCLUDE, INCLUDE]),
)
def test_where_it_was_clicked_is_certain_and_all_else_as_it_was(
    seed: int, x: float, y: float, label: int
) -> None:
    logits = noise(seed)
    got = honour(logits, [(x, y, label)])
    column, row = int(x * CELLS), int(y * CELLS)
    assert got[row, column] == (CERTAIN_LOGIT if label else -CERTAIN_LOGIT)
    ys, xs = np.mgrid[:CELLS, :CELLS]
    far = np.hypot(ys - row, xs - column) > CERTAIN_CLICK_CELLS + 1
    np.testing.assert_array_equal(got[far], logits[far])


def test_the_later_of_two_clicks_on_one_spot_counts() -> None:
    spot: list[Token] = [(0.5, 0.5, INCLUDE), (0.5, 0.5, EXCLUDE)]
    assert honour(noise(0), spot)[CELLS // 2, CELLS // 2] < 0
    assert honour(noise(0), spot[::-1])[CELLS // 2, CELLS // 2] > 0


def test_a_mask_without_clicks_reaches_to_the_sides_of_its_box() -> None:
    nearly = honour(in_the_middle(-1.0), BOX)
    assert (nearly[17:47, 13:51] > 0).all()
    assert not (nearly[:15] > 0).any()


def test_what_lies_far_below_zero_is_not_raised_to_the_sides() -> None:
    ys, xs = np.nonzero(honour(in_the_middle(-3.0), BOX) > 0)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (27, 36, 27, 36)


def test_a_click_in_a_box_says_more_than_the_box_s_sides() -> None:
    ys, _ = np.nonzero(honour(in_the_middle(-1.0), [*BOX, (0.5, 0.5, INCLUDE)]) > 0)
    assert (ys.min(), ys.max()) == (27, 36)


@given(seed=st.integers(0, 1000))
def test_a_mask_that_reaches_its_sides_is_only_cut_at_them(seed: int) -> None:
    logits = noise(seed, 3.0)
    share = box_coverage(BOX, CELLS)
    assert share is not None
    np.testing.assert_array_equal(honour(logits, BOX), clamp_to_box(logits, share))


def test_a_box_beyond_the_close_up_leaves_nothing() -> None:
    beyond: list[Token] = [(1.2, 1.2, TOP_LEFT), (1.5, 1.5, BOTTOM_RIGHT)]
    assert not (honour(in_the_middle(-1.0), beyond) > 0).any()


def test_a_click_beyond_its_box_leaves_the_mask_within() -> None:
    got = honour(in_the_middle(1.0), [*BOX, (0.02, 0.02, INCLUDE)])
    ys, xs = np.nonzero(got > 0)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (12, 51, 16, 47)


@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.floats(-2, 3), st.floats(-2, 3), st.integers(0, 1)), max_size=8),
)
def test_clicks_anywhere_leave_the_logits_shape_and_the_caller_s_array(
    seed: int, clicks: list[Token]
) -> None:
    logits = noise(seed)
    got = honour(logits, clicks)
    assert got.shape == logits.shape
    assert got.dtype == np.float32
    np.testing.assert_array_equal(logits, noise(seed))
