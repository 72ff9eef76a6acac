"""A model run once through every shape, and the largest batch that it is worth decoding at once.

What comes first is slow: kernels are chosen, networks recorded, memory mapped. Here nobody waits
for it.
"""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from statistics import median
from typing import Protocol

import numpy as np

from server.engine.models.base import Embedding, Model, OutOfMemoryError
from server.engine.models.decoder.prompts import LENGTHS, OUTPUT_TOKENS
from server.engine.types import DecodeRequest, Logits, Prompt, Want

__all__ = ["Warmable", "decode_ms", "largest_batch", "warm_up"]

LARGEST_BATCH = 64
"""Beyond it a GPU gains nothing, and a batch that fails costs more."""

MOST_SLOWDOWN = 1.6
"""A batch twice as large must take less than this many times as long; otherwise decode in turn: the
first need not wait for the last. So on most CPUs nothing is batched."""

WARM_ENCODE_S = 1.0
"""Enough for kernels to be prepared and for the pace of the steps to be found."""

WANTS: tuple[Want, ...] = ("best", "all")
"""One mask or three: the shapes a decode can have."""


class Warmable(Model, Protocol):
    """A model that can be prepared so."""

    def compile(self) -> None:
        """Where compiled code is the faster, decode with it from now on."""

    def blank(self) -> Embedding:
        """An embedding to decode from, without an encode."""


def warm_up(model: Warmable, max_decode_ms: float) -> int:
    """Run every shape once; return the largest batch worth making within `max_decode_ms`.

    An encoder that needs more than `WARM_ENCODE_S` for an image is not run to the end.
    """
    model.compile()
    _warm_encoder(model)
    for length, want, prior in product(LENGTHS, WANTS, (False, True)):
        model.decode([_rehearsal(model, length, want, prior=prior)])
    return largest_batch(partial(decode_ms, model), max_decode_ms)


def largest_batch(decode_ms: Callable[[int], float], max_decode_ms: float) -> int:
    """The largest batch worth making, by how long one of a size takes."""
    largest, ms = 1, decode_ms(1)
    while largest < LARGEST_BATCH:
        twice_ms = decode_ms(2 * largest)
        if twice_ms > max_decode_ms or twice_ms > MOST_SLOWDOWN * ms:
            break
        largest, ms = 2 * largest, twice_ms
    return largest


def decode_ms(model: Warmable, batch: int) -> float:
    """Median time of a batch of small boxes, at which a model may look twice.

    Infinite where it finds no room.
    """
    requests = [_rehearsal(model, LENGTHS[0], "best", prior=False)] * batch
    times = []
    for _ in range(4):
        start = time.perf_counter()
        try:
            model.decode(requests)
        except OutOfMemoryError:
            return float("inf")
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[1:])


def _warm_encoder(model: Warmable) -> None:
    # Of another size than the model's: resizing has code to load, too.
    blank = np.zeros((model.input_size, 2 * model.input_size, 3), dtype=np.uint8)
    started = time.perf_counter()
    with contextlib.closing(model.encode(blank)) as steps:
        for _ in steps:
            if time.perf_counter() - started > WARM_ENCODE_S:
                break


def _rehearsal(
    model: Warmable, length: int, want: Want, *, prior: bool
) -> tuple[Embedding, DecodeRequest]:
    """A request whose tokens fill a row of this length, on a blank image.

    It has a small box, so that a model which looks closely at small things does so.
    """
    embedding = model.blank()
    box = (0.0, 0.0, embedding.width / 8, embedding.height / 8)
    prompt = Prompt(points=((0.0, 0.0, 1),) * (length - OUTPUT_TOKENS - 2), box=box)
    grid = (model.logits_size, model.logits_size)
    logits: Logits | None = np.zeros(grid, dtype=np.float16) if prior else None
    return embedding, DecodeRequest(prompt, want, logits)
