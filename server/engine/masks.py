"""Low-resolution logits -> masks at the image's size, as RLE; and a mask back to logits.

Runs on the post-processing thread. SAM enlarges its logits in two bilinear steps: to the model's
square input, then, without the padding, to the image; a pixel above 0 is mask. The same masks come
out here without making that image:

- Only the logits around the positive ones are enlarged: what is interpolated is positive only next
  to something positive.
- Down a column the second step is linear between two rows of the model's input. So where its sign
  changes is computed from those two, and the image's rows are never filled in.
- COCO's runs go down the columns: the places of those changes, in order, are the RLE.

The cost is that of the mask's part of the model's input and the image's columns it covers, however
many rows the image has. A close-up's logits go through `honour` first and lie in a window of the
image; for the rest the same holds.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server import rle
from server.engine.models.base import CloseUpLogits, Decoded
from server.engine.second_look.honour import honour
from server.engine.types import Logits, Mask
from server.errors import WireError
from server.geometry import Frame

__all__ = ["finish", "logits_of"]

_COVERED_LOGIT = 10.0  # logits of a pixel that a given mask covers wholly
_MOST = float(np.finfo(np.float16).max)  # beyond it, half precision has only infinity
_MARGIN = 2  # logits around the positive ones that a change of sign next to them depends on
_BLOCK = 1 << 16  # values worked on at a time: more would leave the processor's cache


def finish(decoded: Decoded, frame: Frame) -> tuple[tuple[Mask, ...], tuple[Logits, ...]]:
    """Each candidate's mask, and its logits as they are remembered.

    Masks are those of the close-ups where the model made some; what is remembered stays the
    decoder's own.

    Raises:
        WireError: `internal` when the decoder gave something that is no number.
    """
    if not (np.isfinite(decoded.logits).all() and np.isfinite(decoded.scores).all()):
        raise WireError("internal", "the decoder gave no mask for this prompt")
    if decoded.closeups:
        changes = [_close(one, frame) for one in decoded.closeups]
    else:
        changes = [_whole(plane, frame) for plane in decoded.logits]
    masks = tuple(
        _mask(turns, frame, float(score))
        for turns, score in zip(changes, decoded.scores, strict=True)
    )
    return masks, tuple(_remembered(plane) for plane in decoded.logits)


def logits_of(mask: rle.Rle, frame: Frame, side: int) -> Logits:
    """Low-resolution logits (side x side) that say what `mask` says.

    Raises:
        WireError: `bad_field` for a mask of another size, or counts that are no RLE of this size.
    """
    if tuple(mask["size"]) != (frame.height, frame.width):
        text = f"expected the image's size, {frame.height} x {frame.width}"
        raise WireError("bad_field", text, field="prior.size")
    factor = frame.input_size // side
    # A logit that is half in the padding says what its other half says: thin pictures lie in such.
    columns = _lines(frame.model_width, factor) * (frame.width / frame.model_width)
    rows = _lines(frame.model_height, factor) * (frame.height / frame.model_height)
    try:
        covered = rle.coverage(mask, columns, rows)
    except ValueError as malformed:
        text = f"expected COCO RLE counts: {malformed}"
        raise WireError("bad_field", text, field="prior.counts") from None
    shares = covered / (np.diff(rows)[:, None] * np.diff(columns))
    logits = np.full((side, side), -_COVERED_LOGIT, np.float16)
    logits[: rows.size - 1, : columns.size - 1] = (2.0 * shares - 1.0) * _COVERED_LOGIT
    return logits


def _lines(model_length: int, factor: int) -> NDArray[np.float64]:
    """Between logits, along an axis of the model's input, as far as there is image."""
    return np.append(np.arange(0.0, model_length, factor), model_length)


def _remembered(plane: NDArray[np.float32]) -> Logits:
    return np.clip(plane, -_MOST, _MOST).astype(np.float16)


def _mask(changes: NDArray[np.int64], frame: Frame, score: float) -> Mask:
    encoded = rle.from_changes((frame.height, frame.width), changes)
    return Mask(
        size=encoded["size"],
        counts=encoded["counts"],
        bbox=rle.bbox(encoded),
        area=rle.area(encoded),
        score=min(1.0, max(0.0, score)),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """How logits lie along one axis of the image."""

    factor: int
    """Model pixels a logit is first enlarged to."""
    inside: int
    """Model pixels that are image, not padding."""
    origin: float
    """Where they begin, and how far they reach, in image pixels."""
    length: float
    limit: int
    """The image's pixels."""

    @property
    def scale(self) -> float:
        """Image pixels a model pixel."""
        return self.length / self.inside


@dataclass(frozen=True, slots=True)
class _Axis:
    """The part of one axis that is enlarged."""

    line: _Line
    logits: slice
    start: int
    """First model pixel of the part, and the one after its last."""
    stop: int

    def image_range(self) -> tuple[int, int]:
        """Image pixels that lie next to a model pixel of the part."""
        line = self.line
        first = int((self.start - 0.5) * line.scale + line.origin)
        end = int((self.stop + 0.5) * line.scale + line.origin) + 1
        return max(0, first), min(line.limit, end)


def _axis(positive: NDArray[np.intp], line: _Line) -> _Axis:
    """Around the logits that are positive along this axis, given by their indices."""
    # Slicing ends where the logits end; the model's input is as bounded.
    part = slice(max(0, int(positive[0]) - _MARGIN), int(positive[-1]) + 1 + _MARGIN)
    start, stop = (min(end * line.factor, line.inside) for end in (part.start, part.stop))
    return _Axis(line, part, start, stop)


def _whole(plane: NDArray[np.float32], frame: Frame) -> NDArray[np.int64]:
    """The changes of logits that lie over the model's whole input."""
    factor, rest = divmod(frame.input_size, plane.shape[0])
    if rest:
        raise ValueError(f"logits of side {plane.shape[0]} for an input of {frame.input_size}")
    x = _Line(factor, frame.model_width, 0.0, frame.width, frame.width)
    y = _Line(factor, frame.model_height, 0.0, frame.height, frame.height)
    return _changes(plane, x, y)


def _close(one: CloseUpLogits, frame: Frame) -> NDArray[np.int64]:
    """The changes of a close-up's logits. A frame of cells says that beyond them is no mask."""
    logits, window = honour(one.logits, one.tokens), one.window
    cells = len(logits)
    framed = np.pad(logits, 1, constant_values=-_COVERED_LOGIT)
    left, top = window.x - window.side / cells, window.y - window.side / cells
    side = window.side * (cells + 2) / cells * frame.input_size
    corner = np.array([[left, top], [0.0, 0.0]]) * frame.input_size
    reach = frame.to_image(np.array([side, side]))
    (x0, y0), _ = frame.to_image(corner)
    x = _Line(1, cells + 2, float(x0), float(reach[0]), frame.width)
    y = _Line(1, cells + 2, float(y0), float(reach[1]), frame.height)
    return _changes(framed, x, y)


def _changes(plane: NDArray[np.float32], across: _Line, down: _Line) -> NDArray[np.int64]:
    """Where the mask turns on or off, as positions down the image's columns, in order."""
    positive = plane > 0.0
    rows, columns = (np.flatnonzero(positive.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return np.zeros(0, np.int64)
    x, y = _axis(columns, across), _axis(rows, down)
    if y.start >= y.stop or x.start >= x.stop:  # only in the padding
        return np.zeros(0, np.int64)
    model_columns = _model_part(plane, x, y)
    first, end = x.image_range()
    if first >= end:  # a window may lie beyond the image
        return np.zeros(0, np.int64)
    step = max(1, _BLOCK // (y.stop - y.start))
    blocks = [(start, min(start + step, end)) for start in range(first, end, step)]
    # A change at the edge of a block that is none comes twice, and so cancels.
    return np.concatenate(
        [_crossings(_image_columns(model_columns, x, *block), y, block[0]) for block in blocks]
    )


def _model_part(plane: NDArray[np.float32], x: _Axis, y: _Axis) -> NDArray[np.float32]:
    """The first step, in the part alone, turned: columns x rows of the model's input."""
    part = np.ascontiguousarray(plane[y.logits, x.logits].T)
    size = (part.shape[1] * y.line.factor, part.shape[0] * x.line.factor)
    large = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32)[: x.stop - x.start, : y.stop - y.start]


def _image_columns(
    model_columns: NDArray[np.float32], x: _Axis, first: int, end: int
) -> NDArray[np.float32]:
    """The second step, across: image columns x rows of the model's input."""
    places = (np.arange(first, end) + 0.5 - x.line.origin) / x.line.scale - 0.5 - x.start
    np.clip(places, 0, len(model_columns) - 1, out=places)
    left = places.astype(np.intp)
    share = (places - left).astype(np.float32)[:, None]
    right = np.minimum(left + 1, len(model_columns) - 1)
    lines = model_columns[right]
    lines *= share
    lines += model_columns[left] * (1.0 - share)
    return lines


def _crossings(lines: NDArray[np.float32], y: _Axis, first_column: int) -> NDArray[np.int64]:
    """The second step, down: each image row where a column's sign is not the row's before."""
    rows = lines.shape[1]
    flat = lines.ravel()
    inside = np.concatenate(([False], flat > 0.0, [False]))
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    column, row = np.divmod(changes, rows)
    place = np.zeros(changes.size, np.int64)  # at a column's top, it is the column that changes
    within = row > 0
    after = changes[within]
    above, below = flat[after - 1].astype(np.float64), flat[after].astype(np.float64)
    zero = y.start + row[within] - 1 + above / (above - below)
    # The image row, not whole, that has this place; the mask is what is above zero, not zero.
    crossing = (zero + 0.5) * y.line.scale + y.line.origin - 0.5
    first = np.where(inside[1:][after], np.floor(crossing) + 1, np.ceil(crossing))
    place[within] = np.clip(first, 0, y.line.limit)
    return (first_column + column) * y.line.limit + place
