"""Masks drawn to the image's own edges: GrabCut, started from what the model is sure of.

The model's logits are coarse (a cell is four input pixels wide at best) and its masks blunt where
the colours are plain. Two iterations of colour models, fitted inside and outside the mask near the
object, redraw the part of it that the model is unsure of. Pure: numpy and cv2, no torch.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["refine"]

SURE = 2.5
"""Beyond it, a logit's pixel keeps its side."""
ITERATIONS = 2
MARGIN_SHARE, MARGIN_PIXELS = 0.25, 8
"""Colours are compared this far around the object's box."""
STRENGTH = 3.0
"""Of the logits that come back: GrabCut itself knows only yes and no."""
MOST_DOUBTFUL = 5000
"""Pixels the model is unsure of; more would take too long, and say that it has not understood."""
FEWEST_PIXELS = 8
"""On either side; fewer make no colour model."""

Image = NDArray[np.uint8]
Field = NDArray[np.float32]


def refine(rgb: Image, logits: Field) -> Field:
    """Logits of the picture's size, height x width, redrawn by its colours near the object."""
    window = _window(logits)
    if window is None:
        return logits
    near = logits[window]
    marks = np.where(near > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[near > SURE], marks[near < -SURE] = cv2.GC_FGD, cv2.GC_BGD
    if (np.abs(near) <= SURE).sum() > MOST_DOUBTFUL:
        return logits
    if min((near > 0).sum(), (near <= 0).sum()) < FEWEST_PIXELS:
        return logits
    cv2.setRNGSeed(0)
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, 0, 0)  # not looked at: the marks say what may be mask
    cv2.grabCut(
        np.ascontiguousarray(rgb[window]), marks, whole, *colours, ITERATIONS, cv2.GC_INIT_WITH_MASK
    )
    inside = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    drawn = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7)
    refined = np.minimum(logits, -SURE)
    refined[window] = STRENGTH * (2 * drawn - 1)
    return refined


def _window(logits: Field) -> tuple[slice, slice] | None:
    """The mask's box with a margin; nothing for an empty mask."""
    ys, xs = np.nonzero(logits > 0)
    if not len(ys):
        return None
    return _span(ys, logits.shape[0]), _span(xs, logits.shape[1])


def _span(places: NDArray[np.intp], limit: int) -> slice:
    low, high = int(places.min()), int(places.max()) + 1
    margin = int((high - low) * MARGIN_SHARE) + MARGIN_PIXELS
    return slice(max(0, low - margin), min(limit, high + margin))
