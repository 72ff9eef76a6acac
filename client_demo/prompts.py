"""A caller's points, boxes and priors made into the wire's, and which mask to refine.

The server keeps the logits of answered clicks, but only while the connection lasts. So the client
keeps the last masks of each object: after a reconnect it sends along, as RLE, the one that the
server would have refined.
"""

from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from client_demo.errors import local_error
from client_demo.results import Mask
from server import rle
from server.protocol import RleBody, Segment
from server.rle import Rle

__all__ = ["Box", "Memory", "Point", "Prior", "prior_field", "segment_of"]

Point = tuple[float, float] | tuple[float, float, int]
"""x, y in pixels of the image, and a label: 1 = include (if left out), 0 = exclude."""

Box = tuple[float, float, float, float]
"""Two opposite corners, x0, y0, x1, y1; what leaves the picture is clipped."""

Prior = Mask | NDArray[np.bool_] | None | Literal["auto"]
"""Which earlier answer to refine: a mask or candidate, any mask at all, none, or the usual one."""

_KEPT = 4  # as many as the server keeps an object


class Memory:
    """The last answered clicks of each object."""

    def __init__(self) -> None:
        self._answered: dict[int, deque[tuple[Segment, Mask]]] = {}

    def add(self, asked: Segment, mask: Mask) -> None:
        """Remember the answer to a click."""
        self._answered.setdefault(asked.object, deque(maxlen=_KEPT)).append((asked, mask))

    def automatic(self, asked: Segment) -> Mask | None:
        """The newest mask whose prompt set is a proper subset: what the server would refine."""
        for earlier, mask in reversed(self._answered.get(asked.object, ())):
            count = len(earlier.points)
            grown = count < len(asked.points) and asked.points[:count] == earlier.points
            if grown and earlier.box == asked.box:
                return mask
        return None

    def forget(self, number: int) -> None:
        """Drop what is known of an object."""
        self._answered.pop(number, None)

    def clear(self) -> None:
        """Drop everything: the image is another."""
        self._answered.clear()


def segment_of(
    size: tuple[int, int],
    *,
    points: Sequence[Point] = (),
    box: Box | None = None,
    **fields: object,
) -> Segment:
    """The message for a prompt set on an image of `size` (width, height).

    Raises:
        SamwireError: `bad_field`, before anything is sent.
    """
    plain = [tuple(_plain(number) for number in point) for point in points]
    labelled = tuple((*point, 1) if len(point) == 2 else point for point in plain)
    given: dict[str, object] = {"points": labelled, **fields}
    if box is not None:
        given["box"] = _clipped([_plain(number) for number in box], *size)
    try:
        return Segment.model_validate(given)
    except ValidationError as invalid:
        fault = invalid.errors()[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise local_error("bad_field", fault["msg"].removeprefix("Value error, "), field) from None


def prior_field(
    prior: Mask | NDArray[np.bool_], connection: int, max_bytes: int
) -> tuple[int, int] | RleBody | None:
    """A prior as the wire takes it: by name if the server knows it, else as RLE.

    An answer the server forgot and would refuse for its length is none: a click without what came
    before is better than no click. An array is the caller's own, and the server's to refuse.
    """
    if not isinstance(prior, Mask):
        return _body(rle.encode(prior))
    if prior.connection == connection:
        return prior.id, prior.index
    return _body(prior.rle) if len(prior.rle["counts"]) <= max_bytes else None


def _body(packed: Rle) -> RleBody:
    return RleBody(size=packed["size"], counts=packed["counts"])


def _plain(number: float) -> float:
    """As Python has it: numpy's own numbers are no msgpack numbers."""
    plain: float = number.item() if isinstance(number, np.generic) else number
    return plain


def _clipped(box: Sequence[float], width: int, height: int) -> tuple[float, ...]:
    if len(box) != 4:
        return tuple(box)
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    return (
        min(max(x0, 0.0), width),
        min(max(y0, 0.0), height),
        min(max(x1, 0.0), width),
        min(max(y1, 0.0), height),
    )
