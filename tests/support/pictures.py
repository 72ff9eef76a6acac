"""Pictures drawn for the tests, with the masks of what is in them."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["jpeg", "noise", "png", "scene"]


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random colours: no two seeds alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def scene(
    width: int = 960, height: int = 720, seed: int = 0
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """A red ball, a blue box and a green plate on a table, lit from the left; their masks."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    grain = cv2.GaussianBlur(rng.normal(0, 14, (height, width)).astype(np.float32), (0, 0), 3)
    picture = np.stack([150 + grain, 120 + grain, 90 + grain], axis=2) + columns[..., None] / 40
    ball = np.hypot(columns - 0.27 * width, rows - 0.45 * height) < 0.2 * height
    box = (abs(columns - 0.62 * width) < 0.1 * width) & (abs(rows - 0.4 * height) < 0.22 * height)
    plate = np.hypot((columns / width - 0.6) / 0.22, (rows / height - 0.84) / 0.1) < 1
    shading = 1.15 - 0.5 * (columns / width)
    for mask, colour in ((ball, (200, 45, 40)), (box, (40, 70, 190)), (plate, (70, 170, 80))):
        shaded = np.array(colour, np.float32) * shading[..., None]
        picture = np.where(mask[..., None], shaded + grain[..., None] / 3, picture)
    smooth = cv2.GaussianBlur(np.clip(picture, 0, 255).astype(np.uint8), (0, 0), 1.0)
    return smooth, [ball, box, plate]


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return _encoded(pixels, "JPEG", quality=92)


def png(pixels: NDArray[np.uint8]) -> bytes:
    return _encoded(pixels, "PNG")


def _encoded(pixels: NDArray[np.uint8], file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()
