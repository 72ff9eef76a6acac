"""Pillow's antialiased bilinear resize, to the byte, where a GPU has the pixels.

Official models were trained on images that Pillow resized, and the predictor resizes so. Pillow
adds up whole numbers: weights are rounded to 22 bits, each of the two passes, along rows and then
along columns, to bytes. The same sums in torch give the same bytes, and take a GPU a fraction of a
millisecond where Pillow takes 12 (1 megapixel) to 110 (12 megapixels).

Which pass comes first is Pillow's choice: for tall images newer versions begin with the columns.
Those (`resamples`) are left to Pillow. Source: Pillow's `src/libImaging/Resample.c`.
"""

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["resample", "resamples"]

BITS = 22
"""Of the fractions of weights."""
TALLEST = Fraction(3, 2)
"""Height over width up to which rows come first in every version of Pillow."""


def resamples(height: int, width: int) -> bool:
    """Whether an image of this size is resized here as Pillow resizes it."""
    return height <= TALLEST * width


def resample(image: Tensor, size: tuple[int, int]) -> Tensor:
    """HxWx3 bytes as bytes of another size, (width, height), on the same device."""
    width, height = size
    across = image if image.shape[1] == width else _along_rows(image, width)
    if image.shape[0] == height:
        return across
    return _along_rows(across.transpose(0, 1), height).transpose(0, 1)


def _along_rows(image: Tensor, length: int) -> Tensor:
    """HxWx3 bytes to HxLx3: each a weighed sum of neighbours along its row."""
    places, weights = _taps(image.shape[1], length)
    sums = torch.full(
        (image.shape[0], length, 3), 1 << (BITS - 1), dtype=torch.int32, device=image.device
    )
    for where, weight in zip(places.T, weights.T, strict=True):
        taken = image[:, torch.from_numpy(where).to(image.device)]
        sums += taken * torch.from_numpy(weight).to(image.device)[:, None]
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
