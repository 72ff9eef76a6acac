"""A mask drawn on its photo: tinted, crisply outlined, with the prompts that made it.

Also a mask in one line of text, as JSON, and as a PNG. Points and boxes are in image pixels, (0, 0)
being the corner of the first pixel; OpenCV draws with (0, 0) at that pixel's centre.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from server.rle import BinaryMask, Rle

__all__ = ["as_json", "draw", "load_rgb", "save_png", "summary"]

RgbImage = NDArray[np.uint8]
Colour = tuple[int, int, int]

TINT: Colour = (38, 132, 255)
INCLUDE: Colour = (22, 163, 74)
EXCLUDE: Colour = (220, 38, 38)
WHITE: Colour = (255, 255, 255)
_OPACITY = 0.42
_DIMMED = 0.78  # what is left of the brightness outside the mask
_SHIFT = 4  # OpenCV's fixed point: coordinates to a 16th of a pixel


def load_rgb(path: Path) -> RgbImage:
    """The picture, turned as its EXIF orientation says.

    Enough to show a mask on; a server, which segments it, also makes transparent parts white and
    16 bits 8.
    """
    with Image.open(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def draw(
    image: RgbImage,
    mask: BinaryMask,
    *,
    points: Sequence[tuple[float, float, int]] = (),
    box: tuple[float, float, float, float] | None = None,
) -> RgbImage:
    """The image with its mask and prompts on it; strokes grow with the picture."""
    unit = max(1.0, max(image.shape[:2]) / 640)
    canvas = _tinted(image, mask)
    _outline(canvas, mask, unit)
    if box is not None:
        _box(canvas, box, unit)
    for point in points:
        _marker(canvas, point, unit)
    return canvas


def summary(size: tuple[int, int], bbox: Sequence[float], area: int, score: float) -> str:
    """One line about a mask on an image of `size` (height, width)."""
    height, width = size
    if not area:
        return f"an empty mask on {width} x {height}, score {score:.3f}"
    x, y, w, h = (round(value) for value in bbox)
    share = 100 * area / (width * height)
    where = f"{w} x {h} at {x}, {y}"
    return f"{area:,} px ({share:.1f} % of {width} x {height}), {where}, score {score:.3f}"


def as_json(rle: Rle, bbox: Sequence[float], area: int, score: float) -> dict[str, Any]:
    """A mask for JSON; `rle` is what COCO calls `segmentation`."""
    counts = {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
    return {"rle": counts, "bbox": list(bbox), "area": area, "score": score}


def save_png(path: Path, pixels: RgbImage | BinaryMask) -> None:
    """Write a picture, or a mask as black and white."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    Image.fromarray(pixels).save(path, format="PNG")


def _tinted(image: RgbImage, mask: BinaryMask) -> RgbImage:
    outside = image.astype(np.float32) * _DIMMED
    inside = image * (1 - _OPACITY) + np.array(TINT, np.float32) * _OPACITY
    return np.where(mask[..., None], inside, outside).astype(np.uint8)


def _outline(canvas: RgbImage, mask: BinaryMask, unit: float) -> None:
    """A bright line along the edge on a white one, so that it shows on any picture."""
    smooth = _smoothed(mask, unit)
    rings, _ = cv2.findContours(smooth, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for colour, width in ((WHITE, 3.2), (TINT, 1.4)):
        cv2.drawContours(canvas, rings, -1, colour, _thickness(width, unit), cv2.LINE_AA)


def _smoothed(mask: BinaryMask, unit: float) -> NDArray[np.uint8]:
    """Without the staircase that a line as thin as a pixel would show."""
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8 * unit)
    return (blurred > 0.5).astype(np.uint8)


def _box(canvas: RgbImage, box: tuple[float, float, float, float], unit: float) -> None:
    first, last = _fixed(box[0], box[1]), _fixed(box[2], box[3])
    for colour, width in ((WHITE, 2.4), (INCLUDE, 1.2)):
        cv2.rectangle(
            canvas, first, last, colour, _thickness(width, unit), cv2.LINE_AA, shift=_SHIFT
        )


def _marker(canvas: RgbImage, point: tuple[float, float, int], unit: float) -> None:
    """A disc with a plus for include, with a minus for exclude: not told by colour alone."""
    x, y, label = point
    for colour, radius in ((WHITE, 8.0), (INCLUDE if label else EXCLUDE, 6.4)):
        size = round(radius * unit * 2**_SHIFT)
        cv2.circle(canvas, _fixed(x, y), size, colour, cv2.FILLED, cv2.LINE_AA, shift=_SHIFT)
    arm = 3.2 * unit
    strokes = [(arm, 0.0), (0.0, arm)] if label else [(arm, 0.0)]
    for dx, dy in strokes:
        cv2.line(
            canvas,
            _fixed(x - dx, y - dy),
            _fixed(x + dx, y + dy),
            WHITE,
            _thickness(1.6, unit),
            cv2.LINE_AA,
            shift=_SHIFT,
        )


def _fixed(x: float, y: float) -> tuple[int, int]:
    return round((x - 0.5) * 2**_SHIFT), round((y - 0.5) * 2**_SHIFT)


def _thickness(width: float, unit: float) -> int:
    return max(1, round(width * unit))
