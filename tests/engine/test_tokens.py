import numpy as np

from server.engine.tokens import (
    BOTTOM_RIGHT,
    EDGE_LOGIT,
    EXCLUDE,
    INCLUDE,
    TOP_LEFT,
    box_coverage,
    clamp_to_box,
    tokens_of,
)
from server.engine.types import Prompt
from server.geometry import Frame


def test_clicks_and_corners_are_shares_of_the_models_square_input() -> None:
    prompt = Prompt(points=((400.0, 100.0, 1), (0.0, 200.0, 0)), box=(80.0, 40.0, 800.0, 400.0))
    assert tokens_of(prompt, Frame(800, 400, 256)) == [
        (0.5, 0.125, INCLUDE),
        (0.0, 0.25, EXCLUDE),
        (0.1, 0.05, TOP_LEFT),
        (1.0, 0.5, BOTTOM_RIGHT),
    ]


def test_a_box_covers_cells_wholly_in_part_or_not() -> None:
    coverage = box_coverage([(0.25, 0.0, TOP_LEFT), (0.625, 0.5, BOTTOM_RIGHT)], 4)
    np.testing.assert_array_equal(coverage, [[0, 1, 0.5, 0]] * 2 + [[0, 0, 0, 0]] * 2)


def test_clicks_alone_cover_nothing() -> None:
    assert box_coverage([(0.5, 0.5, INCLUDE)], 4) is None


def test_logits_are_clamped_to_a_box_so_that_its_edge_is_where_they_cross_zero() -> None:
    coverage = np.array([0.0, 0.5, 1.0], np.float32)
    high, low = np.full(3, 9.0, np.float32), np.full(3, -9.0, np.float32)
    np.testing.assert_array_equal(clamp_to_box(high, coverage), [-EDGE_LOGIT, 0, EDGE_LOGIT])
    np.testing.assert_array_equal(clamp_to_box(low, coverage), low)
