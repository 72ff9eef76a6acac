"""A prompt as tokens: its clicks and its box's corners, as shares of a square.

The square is the model's input, or a window of it. Labels are SAM's own, as its prompt encoder
numbers them. The box is here also as an area: how much of each cell it covers, and logits clamped
to that. Pure: numpy, no torch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.engine.types import Prompt
from server.geometry import Frame

__all__ = [
    "BOTTOM_RIGHT",
    "EDGE_LOGIT",
    "EXCLUDE",
    "INCLUDE",
    "TOP_LEFT",
    "Token",
    "box_coverage",
    "clamp_to_box",
    "tokens_of",
]

Token = tuple[float, float, int]
"""x, y, label; x and y are shares of the square."""

EXCLUDE, INCLUDE, TOP_LEFT, BOTTOM_RIGHT = range(4)
"""Labels of tokens; the first two are also those of points."""

EDGE_LOGIT = 6.0
"""A box without and within, so that its edge is where logits cross zero."""


def tokens_of(prompt: Prompt, frame: Frame) -> list[Token]:
    """A prompt's clicks and corners as shares of the model's input."""
    marks = list(prompt.points)
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        marks += [(x0, y0, TOP_LEFT), (x1, y1, BOTTOM_RIGHT)]
    places = frame.to_model(np.array([mark[:2] for mark in marks]).reshape(-1, 2))
    shares = places / frame.input_size
    return [(x, y, mark[2]) for (x, y), mark in zip(shares.tolist(), marks, strict=True)]


def box_coverage(tokens: Sequence[Token], side: int) -> NDArray[np.float32] | None:
    """How much of each of side x side cells lies in the box; nothing without one."""
    corners = {label: (x * side, y * side) for x, y, label in tokens if label >= TOP_LEFT}
    if not corners:
        return None
    (x0, y0), (x1, y1) = corners[TOP_LEFT], corners[BOTTOM_RIGHT]
    columns, rows = _covered(x0, x1, side), _covered(y0, y1, side)
    return rows[:, None] * columns


def _covered(low: float, high: float, side: int) -> NDArray[np.float32]:
    """How much of each of `side` cells lies between two edges."""
    left = np.arange(side, dtype=np.float32)
    covered = np.minimum(left + 1, high) - np.maximum(left, low)
    share: NDArray[np.float32] = np.clip(covered, 0, 1).astype(np.float32)
    return share


def clamp_to_box(logits: NDArray[np.float32], coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits no higher than at the edges of a box that covers so much of each cell."""
    return np.asarray(np.minimum(logits, EDGE_LOGIT * (2 * coverage - 1)), np.float32)
