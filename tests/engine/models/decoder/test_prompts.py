"""Prompts as rows of tokens."""

import numpy as np
import pytest

from server.engine.models.decoder.prompts import NOT_A_POINT, PADDING, stack_prompts
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT
from server.engine.types import Prompt
from server.geometry import Frame

FRAME = Frame(2048, 1024, 1024)


def test_points_alone_end_in_not_a_point_as_upstream_ends_them() -> None:
    tokens = stack_prompts([(FRAME, Prompt(points=((10, 20, 1), (30, 40, 0))))])
    assert tokens.kinds.tolist() == [[INCLUDE, EXCLUDE, NOT_A_POINT]]
    np.testing.assert_array_equal(tokens.xy, [[[5, 10], [15, 20], [0, 0]]])


def test_a_box_follows_the_points_and_needs_no_end() -> None:
    tokens = stack_prompts([(FRAME, Prompt(points=((10, 20, 1),), box=(2, 4, 6, 8)))])
    assert tokens.kinds.tolist() == [[INCLUDE, TOP_LEFT, BOTTOM_RIGHT]]
    np.testing.assert_array_equal(tokens.xy, [[[5, 10], [1, 2], [3, 4]]])


def test_no_prompt_at_all_is_only_padding() -> None:
    assert stack_prompts([(FRAME, Prompt())]).kinds.tolist() == [[PADDING] * 2]


def test_shorter_rows_are_padded_to_the_length_the_longest_needs() -> None:
    many = Prompt(points=((1.0, 1.0, 1),) * 4)
    tokens = stack_prompts([(FRAME, Prompt(box=(2, 4, 6, 8))), (Frame(10, 10, 1024), many)])
    assert tokens.kinds.shape == (2, 7)
    assert tokens.kinds[0].tolist() == [TOP_LEFT, BOTTOM_RIGHT] + [PADDING] * 5


@pytest.mark.parametrize(
    ("points", "length"),
    [(0, 2), (1, 2), (2, 3), (3, 7), (6, 7), (7, 11), (10, 11), (11, 27), (27, 67), (66, 67)],
)
def test_rows_have_few_lengths(points: int, length: int) -> None:
    tokens = stack_prompts([(FRAME, Prompt(points=((1.0, 1.0, 1),) * points))])
    assert tokens.kinds.shape == (1, length)


def test_what_fits_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 67 fit"):
        stack_prompts([(FRAME, Prompt(points=((1.0, 1.0, 1),) * 67))])
