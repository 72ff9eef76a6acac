"""The second look: which square of the image to look at again, and what is seen there.

The model sees the whole image at a few hundred pixels, so a small object is a few cells of its
logits. A close-up is a square window around the object, cut from a larger copy of the image, with
the first look's logits and the prompt drawn over it: the same few cells for an object of any size.
The second network's mask counts for every box and correction. For a lone click or a hover, which
wants an answer at once, it counts where it sees much more than the first did: in windows of up to
a third of the image, less and less in larger ones. Its verdict counts wherever it looked.
Pure: numpy and cv2, no torch. Training looks through twins of these lines (`training.twins`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.engine.models.tiny.painting import EXCLUDE, INCLUDE, TOP_LEFT, Token, share_of_box
from server.engine.second_look.colours import ColourCube
from server.engine.types import RgbImage

__all__ = [
    "BOX_PLANE",
    "CELLS",
    "LOGITS_PLANE",
    "MEAN",
    "PLANES",
    "STD",
    "Window",
    "blend",
    "cut",
    "enlarge",
    "look",
    "resampling",
    "trust",
    "window_around",
    "worth",
]

CELLS = 64
"""Side of a close-up."""
PLANES = 9
"""What is seen: red, green, blue, the earlier logits, the box, included and excluded clicks, and
what the colours say for the earlier logits and for the prompt alone (`colours`)."""

LOGITS_PLANE, BOX_PLANE, INCLUDE_PLANE, EXCLUDE_PLANE = range(3, 7)
EVIDENCE_PLANE, PROMPT_EVIDENCE_PLANE = 7, 8

BOX_MARGIN, MASK_MARGIN = 1.3, 1.5
"""Side of the window against the longest side of the box, or of the first look's mask."""
LEAST_SHARE = 0.04
"""Of the input's side; anything smaller is seen with this much around it."""
STRAY_SHARE = 0.01
"""Of a mask's pixels beyond each of its four sides: crumbs do not widen the window."""
CLICK_CELLS = 3.0
FULL_TRUST, NO_TRUST = 0.35, 0.5
"""Sides of a lone click's window up to which the second look is believed, and from which not."""
LONE_WORTH = 0.7
"""Of a score of a lone click's mask: it says how good a mask of something it is, and what was meant
may be something else."""
SHARPEN = 2.5
"""The second network is right more often than it is sure."""
LOGIT_LIMIT = 6.0
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
PADDING = (124.0, 116.0, 103.0)

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
        pixels: longest side of the picture to cut from; the window has whole pixels of it, as
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
    """The next larger side that `cut` can halve, down to less than twice `CELLS`."""
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


def look(pixels: RgbImage, window: Window, logits: Field, tokens: Sequence[Token]) -> Field:
    """`PLANES` x `CELLS` x `CELLS`, each about -3..3.

    Args:
        pixels: what `cut` gave of the window.
        window: from `window_around`.
        logits: side x side, of the first look.
        tokens: the prompt, in shares of the input.
    """
    seen = np.zeros((PLANES, CELLS, CELLS), np.float32)
    colours = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    seen[:3] = (colours - MEAN[:, None, None]) / STD[:, None, None]
    first = enlarge(np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT), window)
    seen[LOGITS_PLANE] = first / 2
    placed = window.place(tokens)
    box = share_of_box(placed, CELLS)
    if box is not None:
        seen[BOX_PLANE] = box
    near_clicks = np.zeros((CELLS, CELLS), np.float32)
    for x, y, label in placed:
        if label in {EXCLUDE, INCLUDE}:
            distance = _distance(x, y)
            plane = INCLUDE_PLANE if label == INCLUDE else EXCLUDE_PLANE
            seen[plane, distance <= CLICK_CELLS] = 2.0
            if label == INCLUDE:  # wider: a colour is more than the spot that was hit
                near_clicks[distance <= 2 * CLICK_CELLS] = 1.0
    cube = ColourCube(colours)
    chance = (1 / (1 + np.exp(-first))).astype(np.float32)
    seen[EVIDENCE_PLANE] = cube.evidence(chance if box is None else chance * box)
    seen[PROMPT_EVIDENCE_PLANE] = cube.evidence(near_clicks if box is None else box)
    return seen


def _distance(x: float, y: float) -> Field:
    """Of each cell's middle from a place in the window, in cells."""
    middles = np.arange(CELLS, dtype=np.float32) + 0.5
    return np.asarray(np.hypot(middles[:, None] - y * CELLS, middles - x * CELLS), np.float32)


def cut(
    picture: NDArray[np.uint8], window: Window, beyond: tuple[float, ...] = PADDING
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


def trust(window: Window, tokens: Sequence[Token]) -> float:
    """How much the second look's answer counts, 0..1."""
    if len(tokens) > 1:
        return 1.0
    return min(1.0, max(0.0, (NO_TRUST - window.side) / (NO_TRUST - FULL_TRUST)))


def worth(tokens: Sequence[Token]) -> float:
    """What either look's score is to be multiplied by, to be an IoU that can be expected."""
    return LONE_WORTH if len(tokens) == 1 else 1.0


def blend(first: Field, second: Field, weight: float) -> Field:
    """Both looks' logits in the window's cells, made one; `weight` 0..1 is the second's."""
    return np.asarray(weight * SHARPEN * second + (1 - weight) * first, np.float32)
