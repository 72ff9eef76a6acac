import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.models.painting import (
    BOTTOM_RIGHT,
    EXCLUDE,
    INCLUDE,
    TOP_LEFT,
    Token,
    hold,
    share_of_box,
)
from server.engine.refine import STRENGTH, refine

CELLS = 96
MIDDLE: list[Token] = [(0.5, 0.5, INCLUDE)]


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red square with noise on a green ground, and its mask."""
    rng = np.random.default_rng(0)
    truth = np.zeros((CELLS, CELLS), np.bool_)
    truth[30:70, 30:75] = True
    rgb = np.where(truth[..., None], (200, 40, 40), (40, 160, 60))
    rgb = rgb + rng.integers(-20, 20, rgb.shape)
    return rgb.clip(0, 255).astype(np.uint8), truth


def blunt(truth: np.ndarray, shift: int) -> np.ndarray:
    """Unsure logits of a mask that is off by some cells, sure only in the middle and far away."""
    logits = np.where(np.roll(truth, shift, axis=(0, 1)), 1.0, -1.0)
    logits[45:55, 45:60] = 6.0
    logits[:15], logits[85:] = -6.0, -6.0
    logits[:, :15], logits[:, 90:] = -6.0, -6.0
    return logits.astype(np.float32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_blunt_mask_is_drawn_to_the_edge_of_the_colour() -> None:
    rgb, truth = scene()
    logits = blunt(truth, 5)
    assert iou(logits > 0, truth) < 0.75
    assert iou(refine(rgb, logits, MIDDLE) > 0, truth) > 0.97


def test_a_line_that_a_sample_of_the_cells_would_miss_is_kept() -> None:
    rgb = np.full((CELLS, CELLS, 3), (40, 160, 60), np.uint8)
    logits = np.full((CELLS, CELLS), -1.0, np.float32)
    rgb[31, 20:60], logits[31, 20:60] = (200, 40, 40), 1.0
    assert (refine(rgb, logits, [(0.9, 0.9, EXCLUDE)])[31, 21:59] > 0).all()


def test_without_a_click_it_stays_as_it_is() -> None:
    rgb, truth = scene()
    logits = blunt(truth, 5)
    np.testing.assert_array_equal(refine(rgb, logits, []), logits)


def test_where_it_was_clicked_is_certain() -> None:
    rgb, truth = scene()
    marks: list[Token] = [(0.2, 0.2, INCLUDE), (0.5, 0.7, EXCLUDE)]
    drawn = refine(rgb, blunt(truth, 3), marks) > 0
    assert drawn[19, 19]
    assert not drawn[int(0.7 * CELLS), CELLS // 2]


BOX: list[Token] = [(0.2, 0.25, TOP_LEFT), (0.8, 0.75, BOTTOM_RIGHT)]


def in_the_middle(height: float) -> np.ndarray:
    """Logits of 2 in the middle of that box, and `height` in the rest of it."""
    logits = np.full((CELLS, CELLS), -8.0, np.float32)
    logits[24:72, 20:76] = height
    logits[40:56, 40:56] = 2.0
    return logits


def test_a_mask_without_clicks_reaches_to_the_sides_of_its_box() -> None:
    rgb, _ = scene()
    nearly = refine(rgb, in_the_middle(-1.0), BOX)
    assert (nearly[25:71, 21:75] > 0).all()
    assert not (nearly[:23] > 0).any()


def test_what_lies_far_below_zero_is_not_raised_to_the_sides() -> None:
    rgb, _ = scene()
    ys, xs = np.nonzero(refine(rgb, in_the_middle(-3.0), BOX) > 0)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (40, 55, 40, 55)


@given(seed=st.integers(0, 1000))
def test_a_mask_that_reaches_its_sides_is_only_cut_at_them(seed: int) -> None:
    rgb, _ = scene()
    logits = np.random.default_rng(seed).normal(3.0, 1.0, (CELLS, CELLS)).astype(np.float32)
    share = share_of_box(BOX, CELLS)
    assert share is not None
    np.testing.assert_array_equal(refine(rgb, logits, BOX), hold(logits, share))


def test_a_box_beyond_the_close_up_leaves_nothing() -> None:
    rgb, _ = scene()
    beyond: list[Token] = [(1.2, 1.2, TOP_LEFT), (1.5, 1.5, BOTTOM_RIGHT)]
    assert not (refine(rgb, in_the_middle(-1.0), beyond) > 0).any()


def test_a_mask_is_cut_at_its_box() -> None:
    rgb, truth = scene()
    box: list[Token] = [(0.25, 0.25, TOP_LEFT), (0.5, 0.6, BOTTOM_RIGHT)]
    ys, xs = np.nonzero(refine(rgb, blunt(truth, 3), box) > 0)
    assert (xs.max(), ys.max()) == (47, 57)


def test_an_empty_mask_and_a_full_one_stay_what_they_are() -> None:
    rgb, _ = scene()
    for value in (-3.0, 3.0):
        logits = np.full((CELLS, CELLS), value, np.float32)
        assert np.array_equal(refine(rgb, logits, [(0.5, 0.5, value > 0)]), logits)


def test_the_same_mask_is_refined_alike_every_time() -> None:
    rgb, truth = scene()
    one, two = (refine(rgb, blunt(truth, 4), MIDDLE) for _ in range(2))
    assert np.array_equal(one, two)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.floats(-2, 3), st.floats(-2, 3), st.integers(0, 1)), max_size=8),
)
@settings(max_examples=30, deadline=None)
def test_any_logits_and_clicks_give_moderate_logits_of_the_same_shape(
    seed: int, clicks: list[Token]
) -> None:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (CELLS, CELLS, 3), np.uint8) // rng.integers(1, 200)
    logits = rng.normal(rng.normal(0, 3), rng.uniform(0, 4), (CELLS, CELLS)).astype(np.float32)
    refined = refine(rgb.astype(np.uint8), logits, clicks)
    assert refined.shape == logits.shape
    assert refined.dtype == np.float32
    assert np.array_equal(refined, logits) or np.abs(refined).max() <= STRENGTH
