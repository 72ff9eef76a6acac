"""CUDA graphs: a recorded sequence of kernels, launched as a whole.

A graph needs its inputs and outputs at fixed addresses. `capture_cuda` is the only part that needs
a GPU: given a function over fixed buffers, it returns one that does the same again.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

__all__ = ["Capture", "capture_cuda"]

T = TypeVar("T")


class Capture(Protocol):
    """Records what a function does to fixed buffers, and does it again when called.

    A recording reads tensors where they were and keeps none. Whoever captures keeps alive all that
    `run` reads, weights and tables too, for as long as the recording is called: if not, it reads
    whatever lies there by then.
    """

    def __call__(self, run: Callable[[], T]) -> Callable[[], T]:
        """The recording; what it returns is valid until its next call."""


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
