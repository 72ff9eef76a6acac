"""The decoder's core in reduced precision on a CPU: recorded once a shape, run without Python.

A decode of one click is some two hundred operators, and between them Python takes a third of the
time, in which torch's helper threads fall asleep. ONNX Runtime (`compiled`) has no products in
bfloat16 for these processors; torch has. So torch records what it does with a shape (TorchScript)
and does that again: the same kernels, the same numbers. Only single rows are recorded, which lone
clicks are; nothing bounds their shapes but that whoever calls has few.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from server.engine.models.decoder.contract import Answer, Core
from server.engine.models.recording.eager import or_eager

__all__ = ["TracedCore", "tracing_pays"]

_PLANNING_RUNS = 2
"""A recording watches its first runs and then plans: they take three times as long."""

_Recording = Callable[..., Answer]


def tracing_pays(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this is the fastest way there."""
    return device.type == "cpu" and dtype != torch.float32


class TracedCore:
    """Stands in for the core it records, which goes on answering for several rows at once."""

    def __init__(self, core: nn.Module) -> None:
        self._eager: Core = core
        self._recordings: dict[tuple[int, int], _Recording] = {}

    def __call__(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, *embedding: Tensor
    ) -> Answer:
        """As the eager core answers."""
        if len(xy) > 1:
            return self._eager(xy, kinds, single, masks, *embedding)
        shape = (kinds.shape[1], masks)
        inputs = (xy, kinds, single, *embedding)
        if shape not in self._recordings:
            wanting = _Wanting(self._eager, masks).eval()
            eager: _Recording = wanting
            self._recordings[shape] = or_eager(lambda: _recorded(wanting, inputs), eager)
        return self._recordings[shape](*inputs)


class _Wanting(nn.Module):
    """A core asked for so many masks: a recording takes tensors alone."""

    def __init__(self, core: Core, masks: int) -> None:
        super().__init__()
        self._core, self._masks = core, masks

    def forward(self, xy: Tensor, kinds: Tensor, single: Tensor, *embedding: Tensor) -> Answer:
        """As the core answers."""
        return self._core(xy, kinds, single, self._masks, *embedding)


def _recorded(network: _Wanting, inputs: tuple[Tensor, ...]) -> _Recording:
    with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
        # That something else is to replace it, which needs a C++ compiler where the server runs;
        # and that it takes shapes for constants, which they are: each has its own recording.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, inputs, check_trace=False)
        recording: _Recording = torch.jit.freeze(traced)
    for _ in range(_PLANNING_RUNS):
        recording(*inputs)
    return recording
