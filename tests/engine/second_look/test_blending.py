import numpy as np
import pytest

from server.engine.second_look.blending import SHARPEN, blend, score_factor, second_look_weight
from server.engine.second_look.window import Window
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT, Token

A_CLICK: list[Token] = [(0.5, 0.5, INCLUDE)]
BOX = [(0.2, 0.3, TOP_LEFT), (0.4, 0.4, BOTTOM_RIGHT)]


def test_a_verdict_on_a_lone_click_s_mask_is_worth_less() -> None:
    assert score_factor([(0.5, 0.5, INCLUDE)]) < 1
    assert score_factor(BOX) == score_factor([(0.5, 0.5, INCLUDE), (0.1, 0.1, EXCLUDE)]) == 1


def test_for_a_lone_click_the_second_look_counts_in_small_windows_and_not_in_wide_ones() -> None:
    first, second = np.full((4, 4), -1.0, np.float32), np.full((4, 4), 2.0, np.float32)
    small, between, wide = (Window(0.0, 0.0, side) for side in (0.3, 0.42, 0.6))
    assert second_look_weight(small, A_CLICK) == 1.0
    assert 0.0 < second_look_weight(between, A_CLICK) < 1.0
    assert second_look_weight(wide, A_CLICK) == 0.0
    np.testing.assert_allclose(
        blend(first, second, second_look_weight(small, A_CLICK)), SHARPEN * second
    )
    assert (first < blend(first, second, second_look_weight(between, A_CLICK))).all()
    np.testing.assert_array_equal(blend(first, second, second_look_weight(wide, A_CLICK)), first)


@pytest.mark.parametrize(
    "marks",
    [
        [(0.1, 0.1, TOP_LEFT), (0.9, 0.9, BOTTOM_RIGHT)],
        [*A_CLICK, (0.1, 0.1, EXCLUDE)],
    ],
    ids=["a box", "a correction"],
)
def test_for_boxes_and_corrections_the_second_look_counts_everywhere(marks: list[Token]) -> None:
    assert second_look_weight(Window(0.0, 0.0, 0.9), marks) == 1.0
