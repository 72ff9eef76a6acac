"""Images resized on a thread of the model's own, so that clicks are answered meanwhile.

It takes 0.1 s for 12 megapixels. In bands it would not be Pillow's: which of its two passes comes
first, and is rounded to bytes, depends on the whole image and on Pillow's version.
"""

import weakref
from collections.abc import Callable, Generator
from concurrent.futures import wait

import numpy as np
from PIL import Image

from server.engine.models.pace import STEP_S
from server.engine.threads import Threads
from server.engine.types import RgbImage, Size

__all__ = ["Resizer", "pillow_resize"]


class Resizer:
    """A thread to resize on, which ends when nobody holds this any more."""

    def __init__(self) -> None:
        self._threads = Threads("resize")
        weakref.finalize(self, self._threads.shutdown)

    def run(
        self, resize: Callable[[RgbImage, Size], RgbImage], image: RgbImage, size: Size
    ) -> Generator[float, None, RgbImage]:
        """The image brought to a size by `resize`, yielding until it is.

        An image whose turn has not come when this is abandoned is let go at once.
        """
        resized = self._threads.submit(resize, image, size)
        try:
            while not resized.done():
                wait([resized], timeout=STEP_S)
                yield 0.0
            return resized.result()
        finally:
            resized.cancel()


def pillow_resize(image: RgbImage, size: Size) -> RgbImage:
    """SamPredictor's resize: antialiased bilinear."""
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
