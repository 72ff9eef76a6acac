import numpy as np
import pytest

from server.engine.second_look.planes import PLANES, closeup_planes
from server.engine.second_look.window import CELLS, Window, crop
from server.engine.tokens import EXCLUDE, INCLUDE, TOP_LEFT

NOTHING = np.full((192, 192), -5.0, np.float32)


def test_a_look_lays_colours_logits_and_prompt_over_each_other() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[100:, 100:] = 255
    logits = NOTHING.copy()
    logits[96:, 96:] = 5.0
    marks = [(0.75, 0.75, INCLUDE), (0.25, 0.25, EXCLUDE), (0.5, 0.5, TOP_LEFT), (1, 1, 3)]
    whole = Window(0.0, 0.0, 1.0)
    seen = closeup_planes(crop(picture, whole), whole, logits, marks)
    assert seen.shape == (PLANES, CELLS, CELLS)
    bright = np.zeros((CELLS, CELLS), np.bool_)
    bright[CELLS // 2 :, CELLS // 2 :] = True
    for plane in (0, 1, 2, 3):
        assert ((seen[plane] > 0) == bright)[::5, ::5].all()
    np.testing.assert_array_equal(seen[4], bright)
    for plane, at in ((5, 3 * CELLS // 4), (6, CELLS // 4)):
        ys, xs = np.nonzero(seen[plane])
        assert (ys.mean(), xs.mean()) == pytest.approx((at - 0.5, at - 0.5))


def test_a_look_at_part_of_the_logits_agrees_with_where_it_lies() -> None:
    logits = NOTHING.copy()
    logits[:, 100:] = 5.0
    seen = closeup_planes(
        np.zeros((CELLS, CELLS, 3), np.uint8), Window(0.5, 0.5, 0.125), logits, []
    )
    edge = (100 / 192 - 0.5) / 0.125 * CELLS
    turns = np.flatnonzero((seen[3, 40, 1:] > 0) != (seen[3, 40, :-1] > 0))
    assert turns == pytest.approx([edge - 1], abs=1)
