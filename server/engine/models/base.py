"""What a model must do to be served. Free of torch, so that a fake can be one too.

A model is used by one thread only (the worker's). `encode` is a generator so that clicks can be
answered between its steps; `decode` takes prompts of different images in one call.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from server.engine.second_look.window import Window
from server.engine.tokens import Token
from server.engine.types import DecodeRequest, RgbImage, Size

__all__ = [
    "CloseUpLogits",
    "Decoded",
    "DeviceLostError",
    "Embedding",
    "Model",
    "OutOfMemoryError",
    "run_steps",
]

_T = TypeVar("_T")


class OutOfMemoryError(Exception):
    """The device had no room; the same call may succeed after memory has been freed."""


class DeviceLostError(Exception):
    """The device can no longer be used by this process (a poisoned CUDA context)."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """One encoded image. `features` belongs to the model that made it."""

    features: object
    width: int
    """Of the image, in its own pixels."""
    height: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class CloseUpLogits:
    """What a second look at one candidate gave: logits that replace its mask's."""

    window: Window
    tokens: Sequence[Token]
    """The prompt, in shares of the window."""
    logits: NDArray[np.float32]
    """cells x cells; > 0 is mask, and beyond the window none is."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoder's answer to one request, best first."""

    logits: NDArray[np.float32]
    """k x h x w low-resolution logits; > 0 is mask. k = 3 for `want="all"`, else 1."""
    scores: NDArray[np.float32]
    """k predicted IoUs, as the model gave them (not clipped)."""
    closeups: tuple[CloseUpLogits, ...] = ()
    """One for each of the k where the model looks twice, else none."""


class Model(Protocol):
    """A promptable segmentation model: SAM's contract."""

    @property
    def name(self) -> str:
        """What `welcome.model.name` says."""

    @property
    def input_size(self) -> int:
        """Longest side in pixels the encoder sees; prompts are scaled to it."""

    @property
    def needed_side(self) -> int:
        """Longest side in pixels that an image needs: of a larger one nothing more is used."""

    @property
    def logits_size(self) -> int:
        """Side of the low-resolution logits; 256 for every SAM."""

    @property
    def on_cpu(self) -> bool:
        """Whether its work takes the cores that masks are finished on."""

    @property
    def fingerprint(self) -> str:
        """Names the weights and the preprocessing: embeddings of equal fingerprints are equal."""

    def encode(
        self, image: RgbImage, size: Size | None = None
    ) -> Generator[float, None, Embedding]:
        """Encode in steps of some 10 ms, yielding the fraction done; return the embedding.

        Closing the generator early abandons the work.

        Args:
            image: the image, or a copy of it with fewer pixels.
            size: of the image itself if that is a copy; prompts will be in its pixels.

        Raises:
            OutOfMemoryError: the device had no room.
            DeviceLostError: the device is gone for good.
        """

    def decode(self, batch: Sequence[tuple[Embedding, DecodeRequest]]) -> list[Decoded]:
        """Decode a batch; each answer is independent of what else is in the batch.

        Raises:
            OutOfMemoryError: the device had no room for a batch of this size.
            DeviceLostError: the device is gone for good.
            ArithmeticError: an answer is no number; decoded alone, the other requests are fine.
        """

    def warm_up(self, max_decode_ms: float) -> int:
        """Run every shape once; return the largest batch worth making within `max_decode_ms`."""


def run_steps(
    steps: Generator[float, None, _T],
    progress: Callable[[float], None] = lambda fraction: None,  # noqa: ARG005 - shows nothing
) -> _T:
    """What an encode returns, run to its end in one go; `progress` is told each fraction done."""
    while True:
        try:
            progress(next(steps))
        except StopIteration as end:
            result: _T = end.value
            return result
