"""The decoder's core on a GPU: a CUDA graph for each shape.

A decode of one click is a few hundred kernels of microseconds each; launching them one by one takes
longer than running them. A batch is copied into buffers all graphs share, padded to a power of two
with whatever they held before (rows do not see each other), and its answer must be read before the
next call.
"""

from collections.abc import Callable

from torch import Tensor

from server.engine.models.decoder.contract import Answer, Core
from server.engine.models.recording.cuda_graphs import Capture

__all__ = ["GraphedCore"]

Shape = tuple[int, int, int]
"""Rows, tokens of the prompt, masks."""


class GraphedCore:
    """Stands in for the core it wraps; shapes are recorded when first met."""

    def __init__(self, core: Core, capture: Capture) -> None:
        self._core, self._capture = core, capture
        self._replays: dict[Shape, Callable[[], Answer]] = {}
        self._buffers: dict[tuple[str, int, tuple[int, ...]], Tensor] = {}

    def __call__(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, *embedding: Tensor
    ) -> Answer:
        """As the core answers; valid until the next call."""
        rows = len(xy)
        prompt = (
            self._buffered("xy", xy),
            self._buffered("kinds", kinds),
            self._buffered("single", single),
        )
        seen = [self._buffered(f"embedding {at}", part) for at, part in enumerate(embedding)]
        shape = (len(prompt[0]), kinds.shape[1], masks)
        if shape not in self._replays:
            self._replays[shape] = self._capture(lambda: self._core(*prompt, masks, *seen))
        logits, scores = self._replays[shape]()
        return logits[:rows], scores[:rows]

    def _buffered(self, name: str, value: Tensor) -> Tensor:
        """The value at its fixed address, among as many rows as the graph has."""
        rows = 1 << (len(value) - 1).bit_length()
        place = (name, rows, value.shape[1:])
        if place not in self._buffers:
            self._buffers[place] = value.new_zeros(rows, *value.shape[1:])
        buffer = self._buffers[place]
        buffer[: len(value)].copy_(value)
        return buffer
