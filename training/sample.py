"""What training learns from: a square picture and a few masks in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_MASKS", "Masks", "Pixels", "Sample", "Scale"]


Pixels = NDArray[np.uint8]
Masks = list[NDArray[np.bool_]]
MAX_MASKS = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """A size x size x 3 picture and at least one grid x grid mask."""

    pixels: Pixels
    masks: Masks


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a sample is."""

    size: int
    """Side of the picture."""
    grid: int
    """Side of its masks."""
