"""Photos to open: drawn here, or given.

During a run no two opens send the same bytes. Bytes after the end of an image file are not part of
the image but of its digest, so one drawn photo makes any number of images that no cache knows,
without packing each.
"""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

__all__ = ["Pictures"]


class Pictures:
    """An endless supply of image files.

    Args:
        files: photos to take by turns; drawn when there are none.
        width: of a drawn one, in pixels.
        height: of a drawn one, in pixels.
    """

    def __init__(self, files: Sequence[Path] = (), *, width: int = 1280, height: int = 960) -> None:
        photos = [file.read_bytes() for file in files] or [
            _drawn(width, height, seed) for seed in range(4)
        ]
        self._photos = photos
        self._turns = itertools.cycle(photos)

    def first(self, number: int) -> bytes:
        """What session `number` begins with, in every run: one of few, so that caches know it."""
        return self._photos[number % len(self._photos)]

    def next(self) -> bytes:
        """An image that was never sent before."""
        return next(self._turns) + os.urandom(16)


def _drawn(width: int, height: int, seed: int) -> bytes:
    """Coloured ellipses on a soft background, as a JPEG."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (6, 8, 3), np.uint8)
    canvas = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre = rng.integers(0, (width, height)).tolist()
        axes = rng.integers(min(width, height) // 16, min(width, height) // 4, 2).tolist()
        colour = rng.integers(0, 256, 3).tolist()
        angle = float(rng.uniform(0, 360))
        cv2.ellipse(canvas, centre, axes, angle, 0, 360, colour, cv2.FILLED, cv2.LINE_AA)
    noisy = np.clip(canvas + rng.normal(0, 6, canvas.shape), 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return packed.tobytes()
