import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.engine.models.tiny.painting import (
    CLICK_LOGIT,
    INSIDE_BOX,
    OUTSIDE_BOX,
    PRIOR_LIMIT,
    fit_to_box,
    paint_prompt,
    painted,
)
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT
from server.engine.types import DecodeRequest, Prompt
from server.geometry import Frame

SIDE = 64
shares = st.floats(0, 1)


def test_an_include_click_is_a_disc_of_its_sign_and_an_exclude_click_of_the_other() -> None:
    canvas = paint_prompt([(0.25, 0.5, INCLUDE), (0.75, 0.5, EXCLUDE)], None, SIDE)
    assert canvas[32, 16] == CLICK_LOGIT
    assert canvas[32, 48] == -CLICK_LOGIT
    assert (canvas != 0).sum() < 16


@given(x=shares, y=shares)
def test_every_click_leaves_a_mark(x: float, y: float) -> None:
    assert (paint_prompt([(x, y, INCLUDE)], None, SIDE) == CLICK_LOGIT).any()


def test_a_box_is_filled_and_its_surroundings_are_not() -> None:
    tokens = [(0.25, 0.25, TOP_LEFT), (0.75, 0.5, BOTTOM_RIGHT)]
    canvas = paint_prompt(tokens, None, SIDE)
    expected = np.full((SIDE, SIDE), OUTSIDE_BOX, np.float32)
    expected[16:32, 16:48] = INSIDE_BOX
    assert np.array_equal(canvas, expected)


def test_a_box_between_pixels_covers_them_in_part() -> None:
    tokens = [(0.0, 0.0, TOP_LEFT), (8.5 / SIDE, 1.0, BOTTOM_RIGHT)]
    canvas = paint_prompt(tokens, None, SIDE)
    assert canvas[0, 8] == (INSIDE_BOX + OUTSIDE_BOX) / 2


def test_earlier_logits_are_clipped_below_a_clicks_mark_and_stand_for_the_box() -> None:
    prior = np.linspace(-40, 40, SIDE * SIDE, dtype=np.float16).reshape(SIDE, SIDE)
    tokens = [(0.5, 0.5, INCLUDE), (0.1, 0.1, TOP_LEFT), (0.9, 0.9, BOTTOM_RIGHT)]
    canvas = paint_prompt(tokens, prior, SIDE)
    marked = canvas == CLICK_LOGIT
    assert marked[32, 32]
    assert np.array_equal(canvas[~marked], np.clip(prior, -PRIOR_LIMIT, PRIOR_LIMIT)[~marked])


def test_nothing_is_left_outside_a_box_and_its_edge_is_where_logits_cross_zero() -> None:
    tokens = [(0.25, 0.25, TOP_LEFT), (0.5 + 0.5 / SIDE, 0.75, BOTTOM_RIGHT)]
    fitted = fit_to_box(np.full((1, SIDE, SIDE), 9.0, np.float32), tokens)[0]
    assert (fitted[16:48, 16:32] > 0).all()
    assert (fitted[:16] < 0).all()
    assert (fitted[16:48, 32] == 0).all()
    assert (fitted[:, 33:] < 0).all()


def test_an_undecided_small_box_counts_as_filled_and_a_click_takes_that_back() -> None:
    box = [(0.5, 0.5, TOP_LEFT), (0.55, 0.55, BOTTOM_RIGHT)]
    undecided = np.full((1, SIDE, SIDE), -0.4, np.float32)
    assert fit_to_box(undecided, box)[0, 33, 33] > 1
    assert fit_to_box(undecided, [*box, (0.52, 0.52, EXCLUDE)])[0, 33, 33] < 0


def test_logits_of_a_click_are_left_alone() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (3, SIDE, SIDE)).astype(np.float32)
    assert fit_to_box(logits, [(0.5, 0.5, INCLUDE)]) is logits


def test_a_request_is_painted_where_its_image_lies_in_the_models_input() -> None:
    request = DecodeRequest(Prompt(((400.0, 100.0, 1),)), "best")
    answer = painted(request, Frame(800, 400, 256), SIDE)
    assert answer.prior is not None
    assert answer.prior.dtype == np.float16
    ys, xs = np.nonzero(answer.prior)
    assert (xs.mean(), ys.mean()) == (31.5, 7.5)
    assert (answer.prompt, answer.want) == (request.prompt, request.want)
