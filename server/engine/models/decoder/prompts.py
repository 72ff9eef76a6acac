"""Prompts of many images, as the numbers SAM's prompt encoder would make of each alone.

A prompt becomes a row of tokens: its points, then its box corners, or, without a box, SAM's "not a
point" closing the list. Rows are padded to one of a few lengths with tokens of kind `PADDING`,
which the decoder hides from everything else. Pure numpy: no token is embedded here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.engine.tokens import BOTTOM_RIGHT, TOP_LEFT
from server.engine.types import Prompt
from server.geometry import Frame

__all__ = ["KINDS", "LENGTHS", "OUTPUT_TOKENS", "PADDING", "PromptTokens", "stack_prompts"]

NOT_A_POINT, PADDING = 4, 5
"""Kinds of tokens beside those that have labels (`tokens`): nowhere, and nothing."""

KINDS = 6

OUTPUT_TOKENS = 5
"""The decoder's own tokens before the prompt's: one for the IoUs, four for the masks."""

LENGTHS = (7, 8, 12, 16, 32, 72)
"""Tokens a row may have, the decoder's own included: few, so that every shape can be prepared, and
exact for what is asked most: one click or one box (7), two clicks or a click in a box (8)."""


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """B prompts of at most P tokens."""

    xy: NDArray[np.float32]
    """B x P x 2, in model pixels."""
    kinds: NDArray[np.int64]
    """B x P."""


def stack_prompts(prompts: Sequence[tuple[Frame, Prompt]]) -> PromptTokens:
    """Bring prompts of different images and lengths into one pair of arrays."""
    rows = [_tokens(frame, prompt) for frame, prompt in prompts]
    length = _padded_length(max(len(kinds) for _, kinds in rows))
    xy = np.zeros((len(rows), length, 2), dtype=np.float32)
    kinds = np.full((len(rows), length), PADDING, dtype=np.int64)
    for row, (row_xy, row_kinds) in enumerate(rows):
        xy[row, : len(row_kinds)] = row_xy
        kinds[row, : len(row_kinds)] = row_kinds
    return PromptTokens(xy, kinds)


def _padded_length(longest: int) -> int:
    fitting = (length for length in LENGTHS if length >= longest + OUTPUT_TOKENS)
    try:
        return next(fitting) - OUTPUT_TOKENS
    except StopIteration:
        limit = LENGTHS[-1] - OUTPUT_TOKENS
        raise ValueError(f"a prompt has {longest} tokens; at most {limit} fit") from None


def _tokens(frame: Frame, prompt: Prompt) -> tuple[NDArray[np.float64], list[int]]:
    places = [(x, y) for x, y, _ in prompt.points]
    kinds = [label for _, _, label in prompt.points]
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        places += [(x0, y0), (x1, y1)]
        kinds += [TOP_LEFT, BOTTOM_RIGHT]
    elif kinds:
        places.append((0.0, 0.0))
        kinds.append(NOT_A_POINT)
    return frame.to_model(np.array(places, dtype=np.float64).reshape(-1, 2)), kinds
