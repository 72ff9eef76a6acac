"""CUDA graphs: a recorded sequence of kernels, launched as a whole; of the decoder, one a shape.

On a GPU a decode of one click is a few hundred kernels of microseconds each; launching them one by
one takes longer than running them. A graph needs its inputs and outputs at fixed addresses, so a
batch is copied into buffers all graphs share, padded to a power of two with whatever they held
before (rows do not see each other), and its answer must be read before the next call.

`capture` is the only part that needs a GPU: given a function over fixed buffers, it returns one
that does the same again.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

__all__ = ["Answer", "Capture", "Core", "GraphedCore", "capture_cuda"]

T = TypeVar("T")

Answer = tuple[Tensor, Tensor]


class Core(Protocol):
    """A decoder's network, of rows of any number."""

    def __call__(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, *embedding: Tensor
    ) -> Answer:
        """Logits and predicted IoUs of so many masks a row."""


class Capture(Protocol):
    """Records what a function does to fixed buffers, and does it again when called.

    A recording reads tensors where they were and keeps none. Whoever captures keeps alive all that
    `run` reads, weights and tables too, for as long as the recording is called: if not, it reads
    whatever lies there by then.
    """

    def __call__(self, run: Callable[[], T]) -> Callable[[], T]:
        """The recording; what it returns is valid until its next call."""


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
        prompt = (self._held("xy", xy), self._held("kinds", kinds), self._held("single", single))
        seen = [self._held(f"embedding {at}", part) for at, part in enumerate(embedding)]
        shape = (len(prompt[0]), kinds.shape[1], masks)
        if shape not in self._replays:
            self._replays[shape] = self._capture(lambda: self._core(*prompt, masks, *seen))
        logits, scores = self._replays[shape]()
        return logits[:rows], scores[:rows]

    def _held(self, name: str, value: Tensor) -> Tensor:
        """The value at its fixed address, among as many rows as the graph has."""
        rows = 1 << (len(value) - 1).bit_length()
        place = (name, rows, value.shape[1:])
        if place not in self._buffers:
            self._buffers[place] = value.new_zeros(rows, *value.shape[1:])
        buffer = self._buffers[place]
        buffer[: len(value)].copy_(value)
        return buffer


def capture_cuda(device: torch.device) -> Capture:
    """A way to record on this GPU.

    All that one such capture records shares memory for what is not an answer; another capture, even
    on the same GPU, has its own.
    """
    pool = torch.cuda.graph_pool_handle()

    def capture(run: Callable[[], T]) -> Callable[[], T]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            _run_beside(run)
            with torch.cuda.graph(graph, pool=pool):
                answer = run()

        def replay() -> T:
            with torch.cuda.device(device):
                graph.replay()
            return answer

        return replay

    return capture


def _run_beside(run: Callable[[], object]) -> None:
    """Libraries set themselves up on a first run, which must not be recorded."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        run()
    torch.cuda.current_stream().wait_stream(beside)
