"""What is opened and clicked: a picture in two sizes, and prompts spread over it.

The picture is drawn, one thing in each field of a grid, unless a photo is given; the prompts go to
the middles of the fields either way.
"""

import io
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from PIL import Image

from server.engine import images
from server.engine.types import RgbImage
from server.geometry import Frame
from server.protocol import Segment

__all__ = ["KINDS", "SIDES", "Picture", "Round", "pictures"]

SIDES = (1280, 4000)
"""Longest sides in pixels: 1.2 and 12 megapixels at 4:3."""

KINDS = ("first", "refined", "box", "candidates", "hover")
"""A first click, a second one refining its mask, a box, a click with candidates, a hover."""

_COLUMNS, _ROWS = 4, 3
_QUALITY = 92


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG file and its size."""

    data: bytes
    width: int
    height: int

    @property
    def name(self) -> str:
        """As the report calls it."""
        return f"{self.width}x{self.height}"

    def rounds(self) -> "list[Round]":
        """The prompts, a round for each field of the grid."""
        width, height = self.width / _COLUMNS, self.height / _ROWS
        return [
            Round((column + 0.5) * width, (row + 0.5) * height, 0.3 * min(width, height))
            for row, column in product(range(_ROWS), range(_COLUMNS))
        ]


@dataclass(frozen=True, slots=True)
class Round:
    """One prompt of each kind, about the same thing in the picture."""

    x: float
    y: float
    reach: float
    """How far the thing goes, in pixels."""

    def segment(self, kind: str, request_id: int) -> Segment:
        """The request. A refinement is of the first click's object, which must have been answered.

        Objects 0 to 2 are to be released after the round, so that the next begins afresh.
        """
        point = (self.x, self.y, 1)
        second = (self.x + self.reach / 2, self.y, 1)
        reach = self.reach
        corners = (self.x - reach, self.y - reach, self.x + reach, self.y + reach)
        fields: dict[str, object] = {
            "first": {"object": 0, "points": (point,)},
            "refined": {"object": 0, "points": (point, second)},
            "box": {"object": 1, "box": corners},
            "candidates": {"object": 2, "points": (point,), "candidates": True},
            "hover": {"object": 3, "points": (point,), "kind": "hover"},
        }[kind]
        return Segment.model_validate({"id": request_id, **fields})


def pictures(photo: bytes | None) -> tuple[Picture, ...]:
    """The picture in each of `SIDES`, drawn or of the photo given."""
    if photo is None:
        return tuple(_compressed(_drawn(side, side * 3 // 4)) for side in SIDES)
    pixels = images.decode(photo, images.MAX_PIXELS)
    return tuple(_compressed(_resized(pixels, side)) for side in SIDES)


def _compressed(pixels: RgbImage) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return Picture(buffer.getvalue(), pixels.shape[1], pixels.shape[0])


def _resized(pixels: RgbImage, side: int) -> RgbImage:
    frame = Frame(pixels.shape[1], pixels.shape[0], side)
    size = (frame.model_width, frame.model_height)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _drawn(width: int, height: int) -> RgbImage:
    """Grainy discs and boxes of many colours on a shaded ground."""
    rng = np.random.default_rng(0)
    shade = np.linspace(90, 170, width, dtype=np.float32)
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = shade[None, :, None]
    for index, target in enumerate(Picture(b"", width, height).rounds()):
        colour = tuple(float(part) for part in rng.integers(20, 236, 3))
        x, y, reach = round(target.x), round(target.y), round(target.reach)
        if index % 2:
            cv2.rectangle(picture, (x - reach, y - reach), (x + reach, y + reach), colour, -1)
        else:
            cv2.circle(picture, (x, y), reach, colour, -1)
    grain = cv2.resize(rng.normal(0, 12, (480, 640, 1)).astype(np.float32), (width, height))
    picture += grain[:, :, None]
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 1.0), 0, 255).astype(np.uint8)
