"""Which square of the image to look at again, and that square of pictures and of logits.

A close-up is a square window around the object, cropped from a larger copy of the image, so that an
object of any size has as many cells. Pure: numpy and cv2, no torch. Training looks through twins of
these lines (`training.twins`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.engine.tokens import INCLUDE, TOP_LEFT, Token

__all__ = ["CELLS", "PICTURE_SIDE", "Window", "crop", "enlarge", "resampling", "window_around"]

PICTURE_SIDE = 640
"""Longest side of the copy of an image that close-ups are cropped from; smaller images are kept as
they are."""
CELLS = 64
"""Side of a close-up."""
BOX_MARGIN, MASK_MARGIN = 1.3, 1.5
"""Side of the window against the longest side of the box, or of the first look's mask."""
LEAST_SHARE = 0.04
"""Of the input's side; anything smaller is seen with this much around it."""
STRAY_SHARE = 0.01
"""Of a mask's pixels beyond each of its four sides: crumbs do not widen the window."""
PADDING_COLOUR = (124.0, 116.0, 103.0)
"""Where a window reaches beyond the image: about the mean of `planes`."""

Field = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A square, in shares of the model's square input; it may reach beyond the image."""

    x: float
    """Left edge."""
    y: float
    """Top edge."""
    side: float

    def place(self, tokens: Sequence[Token]) -> list[Token]:
        """The same prompt in shares of the window."""
        return [
            ((x - self.x) / self.side, (y - self.y) / self.side, label) for x, y, label in tokens
        ]


def window_around(logits: Field, tokens: Sequence[Token], pixels: int) -> Window:
    """Where to look: around the box, or the mask and the clicks that are to be in it.

    Args:
        logits: side x side, of the first look.
        tokens: the prompt, in shares of the input.
        pixels: longest side of the picture to crop; the window has whole pixels of it, as
            many as can be halved until they are about `CELLS`.
    """
    corners = [(x, y) for x, y, label in tokens if label >= TOP_LEFT]
    margin = BOX_MARGIN
    if not corners:
        corners = [(x, y) for x, y, label in tokens if label == INCLUDE] + _extent(logits)
        margin = MASK_MARGIN
    places = np.array(corners or [(0.0, 0.0), (1.0, 1.0)])
    low, high = places.min(axis=0), places.max(axis=0)
    side = min(max(float((high - low).max()) * margin, LEAST_SHARE), 1.0)
    whole = _halvable(max(1, round(side * pixels)))
    x, y = (round(float(middle) * pixels - whole / 2) for middle in (low + high) / 2)
    return Window(x / pixels, y / pixels, whole / pixels)


def _halvable(side: int) -> int:
    """The next larger side that `crop` can halve, down to less than twice `CELLS`."""
    step = 1
    while side >= 2 * CELLS * step:
        step *= 2
    return -(-side // step) * step


def _extent(logits: Field) -> list[tuple[float, float]]:
    """Two corners around nearly all that is mask; none around nothing."""
    mask = logits > 0
    if not mask.any():
        return []
    sides = []
    for axis in (0, 1):
        spread = np.cumsum(mask.sum(axis=axis))
        inside = (spread > STRAY_SHARE * spread[-1]) & (spread <= (1 - STRAY_SHARE) * spread[-1])
        at = np.flatnonzero(inside)
        low, high = (at[0], at[-1] + 2) if len(at) else _peak(spread)
        sides.append((low / len(mask), min(high, len(mask)) / len(mask)))
    (x0, x1), (y0, y1) = sides
    return [(x0, y0), (x1, y1)]


def _peak(spread: NDArray[np.int64]) -> tuple[int, int]:
    """The one row or column that nearly all lies in."""
    at = int(np.searchsorted(spread, spread[-1] / 2))
    return at, at + 1


def crop(
    picture: NDArray[np.uint8], window: Window, beyond: tuple[float, ...] = PADDING_COLOUR
) -> NDArray[np.uint8]:
    """`CELLS` x `CELLS` (x channels) of a picture, and `beyond` where there is none.

    The window must be one of the picture's whole pixels.
    """
    height, width = picture.shape[:2]
    side, x, y = (round(share * max(height, width)) for share in (window.side, window.x, window.y))
    across, down = _Overlap.of(x, side, width), _Overlap.of(y, side, height)
    shown = picture[down.low : down.high, across.low : across.high]
    if not shown.size:
        return np.full((CELLS, CELLS, *picture.shape[2:]), beyond, np.uint8)
    edges = (down.before, down.after, across.before, across.after)
    part = cv2.copyMakeBorder(shown, *edges, cv2.BORDER_CONSTANT, value=beyond)
    while len(part) >= 2 * CELLS and len(part) % 2 == 0:  # far quicker than all at once
        half = len(part) // 2
        part = np.asarray(cv2.resize(part, (half, half), interpolation=cv2.INTER_AREA), np.uint8)
    method = cv2.INTER_AREA if len(part) > CELLS else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (CELLS, CELLS), interpolation=method), np.uint8)


@dataclass(frozen=True, slots=True)
class _Overlap:
    """What a stretch and an image have in common along one axis, and the stretch's rest."""

    low: int
    high: int
    before: int
    after: int

    @classmethod
    def of(cls, start: int, side: int, limit: int) -> "_Overlap":
        low = min(max(start, 0), limit)
        high = max(low, min(start + side, limit))
        before = min(low - start, side) if start < 0 else 0
        return cls(low, high, before, side - before - (high - low))


def enlarge(logits: Field, window: Window) -> Field:
    """The logits in the window's cells; beyond them, the outermost are repeated."""
    size = len(logits)
    step = window.side * size / CELLS
    left, top = (start * size + step / 2 - 0.5 for start in (window.x, window.y))
    matrix = np.array([[step, 0, left], [0, step, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    near = cv2.warpAffine(
        logits, matrix, (CELLS, CELLS), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(near, np.float32)


def resampling(start: float, side: float, size: int, cells: int) -> Field:
    """`cells` x `size`: the weights that bring `size` values of an axis to `cells` of a window.

    Triangles as wide as the larger of a cell and a value: interpolation when it enlarges, an
    average when it shrinks. Beyond the values, the outermost is repeated.
    """
    middles = (start + (np.arange(cells) + 0.5) / cells * side) * size - 0.5
    reach = max(1.0, side * size / cells)
    distance = np.abs(np.arange(size) - np.clip(middles, 0, size - 1)[:, None])
    weights = np.maximum(0.0, 1.0 - distance / reach)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
