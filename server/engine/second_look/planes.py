"""What the second look is shown of a window: its pixels, the first look's logits and the prompt.

All of it lies in planes over each other, `CELLS` a side. Pure: numpy, no torch. Training makes the
same with twins of these lines (`training.twins`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.engine.second_look.colours import ColourCube
from server.engine.second_look.window import CELLS, Window, enlarge
from server.engine.tokens import EXCLUDE, INCLUDE, Token, box_coverage
from server.engine.types import RgbImage

__all__ = ["BOX_PLANE", "LOGITS_PLANE", "PIXEL_MEAN", "PIXEL_STD", "PLANES", "closeup_planes"]

PLANES = 9
"""What is seen: red, green, blue, the earlier logits, the box, included and excluded clicks, and
what the colours say for the earlier logits and for the prompt alone (`colours`)."""

LOGITS_PLANE, BOX_PLANE, INCLUDE_PLANE, EXCLUDE_PLANE = range(3, 7)
EVIDENCE_PLANE, PROMPT_EVIDENCE_PLANE = 7, 8

SHOWN_CLICK_CELLS = 3.0
"""Radius of a click in its plane."""
LOGIT_LIMIT = 6.0
"""The first look's logits are clipped to it."""
PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)
"""SAM's own."""

Field = NDArray[np.float32]


def closeup_planes(
    pixels: RgbImage, window: Window, logits: Field, tokens: Sequence[Token]
) -> Field:
    """`PLANES` x `CELLS` x `CELLS`, each about -3..3.

    Args:
        pixels: what `crop` gave of the window.
        window: from `window_around`.
        logits: side x side, of the first look.
        tokens: the prompt, in shares of the input.
    """
    seen = np.zeros((PLANES, CELLS, CELLS), np.float32)
    colours = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    seen[:3] = (colours - PIXEL_MEAN[:, None, None]) / PIXEL_STD[:, None, None]
    first = enlarge(np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT), window)
    seen[LOGITS_PLANE] = first / 2
    placed = window.place(tokens)
    box = box_coverage(placed, CELLS)
    if box is not None:
        seen[BOX_PLANE] = box
    near_clicks = np.zeros((CELLS, CELLS), np.float32)
    for x, y, label in placed:
        if label in {EXCLUDE, INCLUDE}:
            distance = _distance(x, y)
            plane = INCLUDE_PLANE if label == INCLUDE else EXCLUDE_PLANE
            seen[plane, distance <= SHOWN_CLICK_CELLS] = 2.0
            if label == INCLUDE:  # wider: a colour is more than the spot that was hit
                near_clicks[distance <= 2 * SHOWN_CLICK_CELLS] = 1.0
    cube = ColourCube(colours)
    chance = (1 / (1 + np.exp(-first))).astype(np.float32)
    seen[EVIDENCE_PLANE] = cube.evidence(chance if box is None else chance * box)
    seen[PROMPT_EVIDENCE_PLANE] = cube.evidence(near_clicks if box is None else box)
    return seen


def _distance(x: float, y: float) -> Field:
    """Of each cell's middle from a place in the window, in cells."""
    middles = np.arange(CELLS, dtype=np.float32) + 0.5
    return np.asarray(np.hypot(middles[:, None] - y * CELLS, middles - x * CELLS), np.float32)
