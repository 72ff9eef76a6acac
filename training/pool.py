"""A pool of ready samples on the training device, replaced a part at a time by worker processes.

Making a sample takes a core longer than training on it takes the device, so each is seen a few
times, with other prompts, mirroring and colours. Where the trainer itself runs on the CPU, workers
beside it would slow both: training stops, part of the pool is replaced, and training goes on from
memory. A GPU leaves the CPU idle: there the workers keep a few parts ready, which come in without a
wait.
"""

import multiprocessing
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.cache import Cache
from training.sample import MAX_MASKS, Scale
from training.scenes import make_sample

__all__ = ["Pool", "Workers"]

Bytes = NDArray[np.uint8]
Chunk = tuple[Bytes, Bytes]
"""Pictures, and their masks in bits."""
Seed = tuple[int, ...]

_cache: Cache | None = None
"""Each worker process's own; set once by `_start`."""


def _start(folder: Path, exclude_nc_nd: bool, drawn_only: bool) -> None:
    global _cache  # noqa: PLW0603 - what a process pool's initializer is for
    cv2.setNumThreads(1)
    _cache = Cache(folder, exclude_nc_nd=exclude_nc_nd, drawn_only=drawn_only)


def _make(scale: Scale, count: int, seed: Seed) -> Chunk:
    if _cache is None:
        raise RuntimeError("the worker was not started")
    rng = np.random.default_rng(seed)
    pixels = np.zeros((count, scale.size, scale.size, 3), np.uint8)
    masks = np.zeros((count, MAX_MASKS, scale.grid, scale.grid // 8), np.uint8)
    for i in range(count):
        sample = make_sample(_cache, scale, rng)
        pixels[i] = sample.pixels
        for k, mask in enumerate(sample.masks):
            masks[i, k] = np.packbits(mask, axis=1)
    return pixels, masks


class Workers:
    """Processes that make samples from a prepared folder."""

    CHUNK = 25
    """Samples made by one task."""

    def __init__(
        self,
        cache: Path,
        scale: Scale,
        count: int,
        seed: Seed,
        *,
        exclude_nc_nd: bool,
        drawn_only: bool = False,
    ) -> None:
        self._scale = scale
        self._seed = seed
        self._begun = 0
        self._count = count
        self._processes = ProcessPoolExecutor(
            count,
            multiprocessing.get_context("spawn"),
            _start,
            (cache, exclude_nc_nd, drawn_only),
        )
        self._asked: deque[Future[Chunk]] = deque()

    def ask(self, chunks: int) -> None:
        """Begin so many."""
        for _ in range(chunks):
            self._begun += 1
            seed = (*self._seed, self._begun)
            task = self._processes.submit(_make, self._scale, self.CHUNK, seed)
            self._asked.append(task)

    def get(self) -> Chunk:
        """The oldest that was asked for, when it is made."""
        return self._asked.popleft().result()

    def get_ready(self) -> Chunk | None:
        """The oldest that was asked for, if it is made, and another one begun."""
        self.ask(2 * self._count - len(self._asked))
        return self.get() if self._asked[0].done() else None

    def close(self) -> None:
        """Stop the processes."""
        self._processes.shutdown(cancel_futures=True)


class Pool:
    """`capacity` samples of one scale on `device`."""

    def __init__(self, workers: Workers, scale: Scale, capacity: int, device: torch.device) -> None:
        if capacity < Workers.CHUNK:
            raise ValueError(f"a pool holds at least {Workers.CHUNK} samples, not {capacity}")
        self._workers = workers
        self._next = 0
        bits = (capacity, MAX_MASKS, scale.grid, scale.grid // 8)
        self._pixels = torch.zeros((capacity, scale.size, scale.size, 3), dtype=torch.uint8)
        self._pixels = self._pixels.to(device)
        self._masks = torch.zeros(bits, dtype=torch.uint8, device=device)
        self._shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
        self.refresh(capacity)

    def refresh(self, count: int) -> None:
        """Wait until the oldest `count` samples (rounded up to whole chunks) are replaced."""
        chunks = -(-count // Workers.CHUNK)
        self._workers.ask(chunks)
        for _ in range(chunks):
            self._take(self._workers.get())

    def keep_fresh(self) -> bool:
        """Replace the oldest by a chunk that is made, if one is."""
        chunk = self._workers.get_ready()
        if chunk is not None:
            self._take(chunk)
        return chunk is not None

    def _take(self, chunk: Chunk) -> None:
        slots = (self._next + torch.arange(Workers.CHUNK)) % len(self._pixels)
        slots = slots.to(self._pixels.device)
        for store, new in zip((self._pixels, self._masks), chunk, strict=True):
            store[slots] = torch.from_numpy(new).to(store.device)
        self._next = (self._next + Workers.CHUNK) % len(self._pixels)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Random samples: pixels (count x S x S x 3 bytes), masks (count x K x grid x grid bool).

        A picture of fewer than K masks has empty ones.
        """
        picks = torch.randint(len(self._pixels), (count,), device=self._pixels.device)
        bits = self._masks[picks][..., None] >> self._shifts & 1
        return self._pixels[picks], bits.flatten(-2).bool()
