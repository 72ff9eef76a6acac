"""A pool of ready samples that is refreshed a part at a time.

Making a sample costs more than looking at it, and a second process beside the trainer slows both.
So the trainer stops now and then, a worker process replaces the oldest part of the pool, and
training goes on from memory; each sample is seen a few times, with other prompts.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cache import Cache
from training.scenes import MAX_MASKS, Scale, make_sample

__all__ = ["Pool"]

_cache: Cache | None = None
"""Each worker process's own; set once by `_start`."""


def _start(folder: Path, exclude_nc_nd: bool) -> None:
    global _cache  # noqa: PLW0603 - what a process pool's initializer is for
    cv2.setNumThreads(1)
    _cache = Cache(folder, exclude_nc_nd=exclude_nc_nd)


def _make(scale: Scale, count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if _cache is None:
        raise RuntimeError("the worker was not started")
    rng = np.random.default_rng(seed)
    pixels = np.zeros((count, scale.size, scale.size, 3), np.uint8)
    masks = np.zeros((count, MAX_MASKS, scale.grid**2 // 8), np.uint8)
    for i in range(count):
        sample = make_sample(_cache, scale, rng)
        pixels[i] = sample.pixels
        for k, mask in enumerate(sample.masks):
            masks[i, k] = np.packbits(mask)
    return pixels, masks


class Pool:
    """`capacity` samples of one scale, and the process that makes them."""

    CHUNK = 50
    """Samples made by one task of a worker."""

    def __init__(
        self, cache: Path, scale: Scale, capacity: int, seed: int, *, exclude_nc_nd: bool = False
    ) -> None:
        self._scale = scale
        self._seed = seed
        self._next = 0
        self._pixels = np.zeros((capacity, scale.size, scale.size, 3), np.uint8)
        self._masks = np.zeros((capacity, MAX_MASKS, scale.grid**2 // 8), np.uint8)
        self._workers = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), _start, (cache, exclude_nc_nd)
        )
        self.refresh(capacity)

    def refresh(self, count: int) -> None:
        """Replace the oldest `count` samples (rounded up to whole chunks)."""
        tasks = []
        for _ in range(-(-count // self.CHUNK)):
            self._seed += 1
            tasks.append(self._workers.submit(_make, self._scale, self.CHUNK, self._seed))
        for task in tasks:
            pixels, masks = task.result()
            slots = (self._next + np.arange(self.CHUNK)) % len(self._pixels)
            self._pixels[slots], self._masks[slots] = pixels, masks
            self._next = int(slots[-1]) + 1

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
        """Random samples: pixels (count x S x S x 3), and of each its masks (K x grid x grid)."""
        picks = rng.integers(len(self._pixels), size=count)
        grid = self._scale.grid
        masks = []
        for pick in picks:
            bits = np.unpackbits(self._masks[pick], axis=1).reshape(-1, grid, grid)
            masks.append(bits[bits.any(axis=(1, 2))].astype(bool))
        return self._pixels[picks], masks

    def close(self) -> None:
        """Stop the processes."""
        self._workers.shutdown(cancel_futures=True)
