"""Between an opened image's pixels and a model's: the same arithmetic as SAM's ResizeLongestSide.

Three grids share the top left corner: the image (width x height), the model's input (longest side
scaled to `input_size`, the rest padded at the right and the bottom), and the low-resolution logits
(the padded input again, shrunk to `side` x `side`). Pure arithmetic; a leaf anyone may import.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame"]

Coordinates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """How one image lies inside a model's square input."""

    width: int
    """Of the image, in its own pixels."""
    height: int
    input_size: int
    """Side of the model's square input in pixels."""

    @property
    def model_width(self) -> int:
        """Width of the image inside the model's input, in pixels."""
        return self._scaled(self.width)

    @property
    def model_height(self) -> int:
        """Height of the image inside the model's input, in pixels."""
        return self._scaled(self.height)

    def _scaled(self, length: int) -> int:
        # In upstream's order of operations: another order rounds some sizes the other way.
        scale = self.input_size * 1.0 / max(self.width, self.height)
        # A 1 x 20,000 picture would have no width at all; upstream fails on it.
        return max(1, int(length * scale + 0.5))

    def to_model(self, xy: Coordinates) -> Coordinates:
        """Carry x, y (last dimension 2) from image pixels to model pixels."""
        return xy * self._stretch()

    def to_image(self, xy: Coordinates) -> Coordinates:
        """Carry x, y (last dimension 2) from model pixels to image pixels."""
        return xy / self._stretch()

    def _stretch(self) -> Coordinates:
        return np.array([self.model_width / self.width, self.model_height / self.height])

    def valid_logits(self, side: int) -> tuple[float, float]:
        """Height and width of the image, without padding, in a `side` x `side` logits grid.

        They need not be whole: 683 of 1024 model pixels are 170.75 of 256 logits.
        """
        shrink = side / self.input_size
        return self.model_height * shrink, self.model_width * shrink
