"""Masks drawn to the image's own edges: GrabCut in a close-up, started from what the model knows.

A network's outlines are blunt where the colours are plain. Colour models, fitted inside and outside
the mask, redraw what the model is unsure of; where it was clicked is certain. Without a click
nothing is, and the network, which has seen the colours too, knows better; but a box that is drawn
around something says that the mask reaches to its sides.
Close-ups are small, so the time it takes is bounded. Pure: numpy and cv2, no torch.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from server.engine.models.painting import EXCLUDE, INCLUDE, Token, hold, share_of_box
from server.engine.types import RgbImage

__all__ = ["refine"]

SURE = 2.5
"""Beyond it, a logit's cell keeps its side."""
ITERATIONS = 1
"""A second one changed nothing measurable."""
CLICK_CELLS = 3
"""Radius around a click in which its label is certain."""
STRENGTH = 3.0
"""Of the logits that come back: GrabCut itself knows only yes and no."""
NEAR_SIDE, MOST_ADDED = 0.08, 2.0
"""Of the box's width or height; and logits, that a mask which stays farther away is raised by."""
BARELY = 0.01
"""A logit that is mask."""
FEWEST_CELLS = 8
"""On either side; fewer make no colour model."""
WHOLE = (0, 0, 0, 0)
"""A rectangle that is not looked at: the marks say what may be mask."""
SAMPLE_STEP = 2
"""The colour models begin with every second cell each way: k-means over all would take twice the
time, for the same masks."""

Field = NDArray[np.float32]


def refine(pixels: RgbImage, logits: Field, tokens: Sequence[Token]) -> Field:
    """A close-up's logits, redrawn by its colours and cut at the prompt's box if it has one.

    Args:
        pixels: cells x cells x 3.
        logits: cells x cells.
        tokens: the prompt, in shares of the close-up.
    """
    share = share_of_box(tokens, len(logits))
    if not any(label in {EXCLUDE, INCLUDE} for _, _, label in tokens):
        return logits if share is None else hold(logits + _reach(logits, share), share)
    drawn = _redrawn(pixels, logits, tokens)
    return drawn if share is None else hold(drawn, share)


def _reach(logits: Field, share: Field) -> float:
    """What to add so that the mask comes near each side of its box, within bounds.

    A box is drawn around an object: it touches all four (Lempitsky et al., "Image segmentation with
    a bounding box prior", ICCV 2009, who make a cut that does).
    """
    rows, columns = (np.flatnonzero(share.max(axis=axis) > 0.5) for axis in (1, 0))
    if not (len(rows) and len(columns)):
        return 0.0
    inside = logits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    down, across = (max(1, round(NEAR_SIDE * len(cells))) for cells in (rows, columns))
    strips = (inside[:down], inside[-down:], inside[:, :across], inside[:, -across:])
    return min(MOST_ADDED, max(0.0, BARELY - min(float(strip.max()) for strip in strips)))


def _redrawn(pixels: RgbImage, logits: Field, tokens: Sequence[Token]) -> Field:
    marks = np.where(logits > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[logits > SURE], marks[logits < -SURE] = cv2.GC_FGD, cv2.GC_BGD
    for x, y, label in tokens:
        if label in {EXCLUDE, INCLUDE}:
            middle = (int(x * len(logits)), int(y * len(logits)))
            cv2.circle(marks, middle, CLICK_CELLS, cv2.GC_FGD if label else cv2.GC_BGD, -1)
    if not (logits > 0).any() or _fewest(marks) < FEWEST_CELLS:
        return logits
    colours = _begun(pixels, marks)
    cv2.grabCut(pixels, marks, WHOLE, *colours, ITERATIONS, cv2.GC_EVAL)
    soft = cv2.GaussianBlur(_inside(marks).astype(np.float32), (0, 0), 0.7)
    return np.asarray(STRENGTH * (2 * soft - 1), np.float32)


def _begun(
    pixels: RgbImage, marks: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colour models outside and inside the mask, from a sample of the cells.

    With no iterations grabCut only fits them; `GC_EVAL` then goes on from there.
    """
    cv2.setRNGSeed(0)
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    step = SAMPLE_STEP if _fewest(marks[::SAMPLE_STEP, ::SAMPLE_STEP]) >= FEWEST_CELLS else 1
    some, theirs = (np.ascontiguousarray(whole[::step, ::step]) for whole in (pixels, marks))
    cv2.grabCut(some, theirs, WHOLE, *colours, 0, cv2.GC_INIT_WITH_MASK)
    return colours


def _inside(marks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _fewest(marks: NDArray[np.uint8]) -> int:
    inside = int(_inside(marks).sum())
    return min(inside, marks.size - inside)
