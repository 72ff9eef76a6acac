"""Masks as COCO compressed RLE, byte for byte pycocotools', and what is read off them.

COCO's RLE counts runs down the columns, starting with background; the runs are written as
LEB128-like characters of 6 bits, each from the fourth on as the difference to the one before the
last (cocoapi, `common/maskApi.c`). pycocotools trusts what it is given: `decode` reads the runs
itself, and other bytes from outside pass `check_counts` first.
"""

from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

__all__ = [
    "BinaryMask",
    "Rle",
    "area",
    "bbox",
    "check_counts",
    "coverage",
    "decode",
    "encode",
    "from_changes",
    "polygons",
]

_MAX_PIXELS = 2**32 - 1
_MAX_DIGITS = 7  # of 5 bits, for 32 bits and a sign
_BLOCK = 1 << 16  # changes worked on at a time, so that a large mask takes little memory

BinaryMask = NDArray[np.bool_]
"""Height x width."""


class Rle(TypedDict):
    """COCO's own layout, as it travels on the wire."""

    size: tuple[int, int]
    counts: bytes


def encode(mask: BinaryMask) -> Rle:
    """Compress a height x width mask."""
    packed = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    return Rle(size=(mask.shape[0], mask.shape[1]), counts=packed["counts"])


def from_changes(size: tuple[int, int], changes: NDArray[np.int64]) -> Rle:
    """Compress a mask known by where it turns on or off.

    Args:
        size: height, width.
        changes: positions down the columns (column * height + row), in order; two equal ones
            cancel, and one at the very end means nothing.

    """
    pixels = size[0] * size[1]
    changes = _odd_ones(changes[changes < pixels])
    return Rle(size=size, counts=_written(np.diff(changes, prepend=0, append=pixels)))


def decode(rle: Rle) -> BinaryMask:
    """Expand to height x width.

    Raises:
        ValueError: the counts are malformed or do not fill the size.

    """
    runs = _checked_runs(rle)
    inside = np.arange(runs.size) % 2 == 1
    return np.repeat(inside, runs).reshape(rle["size"], order="F")


def check_counts(rle: Rle) -> None:
    """Refuse counts that pycocotools could not read safely.

    Raises:
        ValueError: a stray byte, an unfinished number, a negative run, a wrong total, or a size
            beyond pycocotools' 32 bits.

    """
    _checked_runs(rle)


def bbox(rle: Rle) -> tuple[float, float, float, float]:
    """Smallest x, y, width, height around the mask, in pixels; zeros when it is empty."""
    x, y, width, height = (float(v) for v in coco.toBbox(dict(rle)))
    return (x, y, width, height) if width and height else (0.0, 0.0, 0.0, 0.0)


def area(rle: Rle) -> int:
    """Pixels in the mask."""
    return int(coco.area(dict(rle)))


def coverage(
    rle: Rle, columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How many pixels of the mask lie in each cell of a grid, without expanding the mask.

    A mask is the sum of its changes, each of which turns on (or off) all that follows in its
    column; so what lies left of and above a crossing of the grid's lines is a sum over changes,
    each a product of two ramps. Four sums by cell, and running sums over them, give all of it.

    Args:
        rle: the mask.
        columns: the grid's upright lines, ascending, in pixels from 0 to the width.
        rows: its level lines, in pixels from 0 to the height.

    Returns:
        (rows - 1) x (columns - 1) areas, in pixels.

    Raises:
        ValueError: as `decode`.
    """
    height, width = rle["size"]
    changes = np.cumsum(_checked_runs(rle))[:-1]
    # Whether the mask is on where a column begins, before a change in its first row.
    begins = np.searchsorted(changes, np.arange(width) * height) % 2
    begun = np.interp(columns, np.arange(width + 1), np.cumsum(np.append(0, begins)))
    area = rows[:, None] * begun + _after_changes(changes, rle["size"], columns, rows)
    return np.diff(np.diff(area, axis=0), axis=1)


def _after_changes(
    changes: NDArray[np.int64],
    size: tuple[int, int],
    columns: NDArray[np.float64],
    rows: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What changes turn on, less what they turn off, left of and above each crossing of lines."""
    height, width = size
    right_of = np.searchsorted(columns, np.arange(width + 1))  # the first line at x or beyond
    below = np.searchsorted(rows, np.arange(height + 1))
    shape = (rows.size + 1, columns.size + 1)
    sums = np.zeros((4, shape[0] * shape[1]))
    for start in range(0, changes.size, _BLOCK):
        x, y = np.divmod(changes[start : start + _BLOCK], height)
        sign = 1.0 - 2.0 * ((start + np.arange(x.size)) % 2)
        inside = x < width  # a run without length at the end changes nothing
        x, y, sign = x[inside], y[inside], sign[inside]
        for edge, turn in ((x, sign), (x + 1, -sign)):  # of the one column that it is about
            cell = below[y] * shape[1] + right_of[edge]
            weights = (turn, turn * edge, turn * y, turn * edge * y)
            sums += [np.bincount(cell, weight, sums.shape[1]) for weight in weights]
    plain, by_x, by_y, by_both = sums.reshape(4, *shape)[:, :-1, :-1].cumsum(1).cumsum(2)
    down = rows[:, None]
    ramps: NDArray[np.float64] = columns * down * plain - down * by_x - columns * by_y + by_both
    return ramps


def polygons(mask: BinaryMask) -> list[list[NDArray[np.int32]]]:
    """Outlines of a mask: one list a part, its outer ring first, then its holes.

    Each ring is an N x 2 array of x, y pixel centres, as `cv2.findContours` traces them.
    """
    rings, tree = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if tree is None:
        return []
    parts: dict[int, list[NDArray[np.int32]]] = {}
    parents = tree[0][:, 3]
    for index in np.argsort(parents >= 0, kind="stable"):  # outer rings before their holes
        parent = int(parents[index])
        ring = rings[index].reshape(-1, 2).astype(np.int32)
        parts.setdefault(int(index) if parent < 0 else parent, []).append(ring)
    return list(parts.values())


def _odd_ones(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each value that comes an odd number of times, once."""
    ends = np.flatnonzero(np.diff(values, append=-1))
    odd: NDArray[np.bool_] = np.diff(ends, prepend=-1) % 2 == 1
    found: NDArray[np.int64] = values[ends[odd]]
    return found


def _written(runs: NDArray[np.int64]) -> bytes:
    """The runs in COCO's characters; the inverse of `_runs`."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    # n characters hold what fits in 5 n bits, sign included.
    digits = np.arange(_MAX_DIGITS)
    magnitude = np.where(values < 0, ~values, values)
    more = (magnitude[:, None] >> (5 * digits + 4)) > 0
    codes = ((values[:, None] >> (5 * digits)) & 0x1F) + 0x20 * more + 48
    used = np.concatenate((np.ones((len(values), 1), np.bool_), more[:, :-1]), axis=1)
    return bytes(codes[used].astype(np.uint8))


def _checked_runs(rle: Rle) -> NDArray[np.int64]:
    height, width = rle["size"]
    pixels = height * width
    if pixels > _MAX_PIXELS:
        raise ValueError(f"{height} x {width} is more than COCO's 32 bits count")
    runs = _runs(rle["counts"])
    if runs.size and int(runs.min()) < 0:
        raise ValueError("a run of negative length")
    # Single runs first: with each in bounds the sum cannot overflow.
    if (runs.size and int(runs.max()) > pixels) or int(runs.sum()) != pixels:
        raise ValueError(f"the runs do not cover {height} x {width} pixels")
    return runs


def _runs(counts: bytes) -> NDArray[np.int64]:
    """The run lengths, read without trusting them."""
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError("a byte outside COCO's alphabet")
    last = (codes & 0x20) == 0
    if not last[-1]:
        raise ValueError("the last number is unfinished")
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts).max() > 6:
        raise ValueError("a number too long")
    digit = np.arange(codes.size) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((codes & 0x1F) << (5 * digit), starts)
    negative = (codes[ends] & 0x10) != 0
    values -= np.where(negative, np.int64(1) << (5 * (ends - starts + 1)), 0)
    # From the fourth on each run is a difference to the one two before: two running sums.
    values[1::2] = np.cumsum(values[1::2])
    if values.size > 2:
        values[2::2] = np.cumsum(values[2::2])
    return values
