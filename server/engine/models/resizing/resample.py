"""Pillow's antialiased bilinear resize, to the byte, where a GPU has the pixels.

Official models were trained on images that Pillow resized, and the predictor resizes so. Pillow
adds up whole numbers: weights are rounded to 22 bits, each of the two passes, along rows and then
along columns, to bytes. The same sums in torch give the same bytes, and take a GPU a fraction of a
millisecond where Pillow takes 12 (1 megapixel) to 110 (12 megapixels).

Rows do not see each other, so a large image goes along its rows a band at a time: what it needs on
the device and what a step takes are bounded. Which pass comes first is Pillow's choice: for tall
images newer versions begin with the columns. Those are left to Pillow, and so are the very wide
ones, which would be sums of hundreds of neighbours (`resamples`).

Source: Pillow's `src/libImaging/Resample.c`.
"""

from collections.abc import Generator
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.engine.types import RgbImage

__all__ = ["resample", "resamples"]

BITS = 22
"""Of the fractions of weights."""
TALLEST = Fraction(16, 9)
"""Height over width up to which rows come first in every version of Pillow (since 13 it is
shrinking below half as wide as tall that begins with the columns)."""
MOST_SHRINK = 32
"""Largest shrink factor of a side; each pixel is then a sum of 65."""
BAND_PIXELS = 1 << 21
"""Pixels of the image at a time: some milliseconds to send, some 60 MB to work in."""


def resamples(height: int, width: int, side: int) -> bool:
    """Whether an image of this size is resized here, its longest side to `side` pixels."""
    return height <= TALLEST * width and max(height, width) <= MOST_SHRINK * side


def resample(
    image: RgbImage, size: tuple[int, int], device: torch.device
) -> Generator[float, None, Tensor]:
    """HxWx3 bytes as bytes of another size, (width, height), on the device.

    Yields between bands of rows.
    """
    width, height = size
    rows = max(1, BAND_PIXELS // image.shape[1])
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"]))
    bands = []
    for band in pixels.split(rows):
        bands.append(_along_rows(band.to(device), width))
        yield 0.0
    across = torch.cat(bands)
    return _along_rows(across.transpose(0, 1), height).transpose(0, 1)


def _along_rows(image: Tensor, length: int) -> Tensor:
    """HxWx3 bytes to HxLx3: each a weighed sum of neighbours along its row."""
    if image.shape[1] == length:
        return image
    places, weights = (
        torch.from_numpy(taps.T.copy()).to(image.device) for taps in _taps(image.shape[1], length)
    )
    sums = torch.full(
        (image.shape[0], length, 3), 1 << (BITS - 1), dtype=torch.int32, device=image.device
    )
    for where, weight in zip(places, weights, strict=True):
        sums += image[:, where] * weight[:, None]
    return (sums >> BITS).clamp_(0, 255).to(torch.uint8)


def _taps(length: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Which of `length` pixels make each of `wanted`, and with what weights: two wanted x K."""
    scale = length / wanted
    support = max(scale, 1.0)
    middles = (np.arange(wanted) + 0.5) * scale
    first = np.maximum((middles - support + 0.5).astype(np.int64), 0)
    end = np.minimum((middles + support + 0.5).astype(np.int64), length)
    places = first[:, None] + np.arange(int((end - first).max()))
    distances = np.abs((places - middles[:, None] + 0.5) * (1.0 / support))
    weights = np.where(places < end[:, None], np.maximum(1.0 - distances, 0.0), 0.0)
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # one after the other, as Pillow adds them
    whole = (weights * (1 << BITS) + 0.5).astype(np.int32)
    return np.minimum(places, length - 1), whole
