"""A close-up's mask made to honour its prompt.

A network may be wrong about a pixel that was clicked; an annotator is not. So where it was clicked
is certain, a mask ends at its box, and, as a box is drawn around something, reaches to the box's
sides. Pure: numpy and cv2, no torch.
"""

from collections.abc import Sequence
from math import floor

import cv2
import numpy as np
from numpy.typing import NDArray

from server.engine.tokens import EXCLUDE, INCLUDE, Token, box_coverage, clamp_to_box

__all__ = ["honour"]

CERTAIN_CLICK_CELLS = 1
"""Radius around a click in which its label is certain; a wide one hides what the network knows."""
CERTAIN_LOGIT = 5.0
"""The logit there."""
NEAR_SIDE, MOST_ADDED = 0.08, 2.0
"""Of the box's width or height; and logits, that a mask which stays farther away is raised by."""
BARELY = 0.01
"""A logit that is mask."""

Field = NDArray[np.float32]


def honour(logits: Field, tokens: Sequence[Token]) -> Field:
    """A close-up's logits, certain where it was clicked and clamped to the box, if there is one.

    Args:
        logits: cells x cells.
        tokens: the prompt, in shares of the close-up.
    """
    clicks = [token for token in tokens if token[2] in {EXCLUDE, INCLUDE}]
    share = box_coverage(tokens, len(logits))
    if clicks:
        logits = _clicked(logits, clicks)
    elif share is not None:
        logits = logits + _reach(logits, share)
    return logits if share is None else clamp_to_box(logits, share)


def _clicked(logits: Field, clicks: Sequence[Token]) -> Field:
    """Where discs of two labels meet, the later click counts."""
    certain = logits.copy()
    for x, y, label in clicks:
        middle = (floor(x * len(logits)), floor(y * len(logits)))
        cv2.circle(
            certain, middle, CERTAIN_CLICK_CELLS, CERTAIN_LOGIT if label else -CERTAIN_LOGIT, -1
        )
    return certain


def _reach(logits: Field, share: Field) -> np.float32:
    """What to add so that the mask comes near each side of its box, within bounds.

    A box is drawn around an object: it touches all four (Lempitsky et al., "Image segmentation with
    a bounding box prior", ICCV 2009, who make a cut that does).
    """
    rows, columns = (np.flatnonzero(share.max(axis=axis) > 0.5) for axis in (1, 0))
    if not (len(rows) and len(columns)):
        return np.float32(0.0)
    inside = logits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    down, across = (max(1, round(NEAR_SIDE * len(cells))) for cells in (rows, columns))
    strips = (inside[:down], inside[-down:], inside[:, :across], inside[:, -across:])
    missing = BARELY - min(float(strip.max()) for strip in strips)
    return np.float32(min(MOST_ADDED, max(0.0, missing)))
