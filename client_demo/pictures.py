"""Images to be sent: a path, a file's bytes or an array, made into bytes and a digest."""

import hashlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from server.protocol import MAX_DATA_BYTES

__all__ = ["Picture", "Source", "picture_of"]

Source = str | PathLike[str] | bytes | NDArray[np.uint8]
"""A file, its bytes, or an array: height x width x 3 (RGB) or height x width (grey)."""


@dataclass(frozen=True)
class Picture:
    """An image file in memory."""

    data: bytes
    sha256: str

    def chunks(self) -> list[bytes]:
        """The file in pieces that fit a frame."""
        starts = range(0, len(self.data), MAX_DATA_BYTES)
        return [self.data[start : start + MAX_DATA_BYTES] for start in starts]


def picture_of(source: Source) -> Picture:
    """Read, or pack, an image; blocking.

    Raises:
        OSError: the file cannot be read.
        ValueError: the array is no image.
    """
    if isinstance(source, np.ndarray):
        data = _packed(source)
    elif isinstance(source, bytes):
        data = source
    else:
        data = Path(source).read_bytes()
    return Picture(data, hashlib.sha256(data).hexdigest())


def _packed(pixels: NDArray[np.uint8]) -> bytes:
    if pixels.dtype != np.uint8 or pixels.ndim not in {2, 3} or (pixels.shape[2:] or (3,)) != (3,):
        shape = "height x width (x 3) of uint8"
        raise ValueError(f"expected {shape}, got {pixels.shape} of {pixels.dtype}")
    in_cv2_order = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
    # Level 1: the image crosses the network once, but is compressed while somebody waits.
    _, packed = cv2.imencode(".png", in_cv2_order, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return packed.tobytes()
