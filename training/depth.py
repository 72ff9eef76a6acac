"""Stochastic depth: in training, halves of attention blocks are left out at random.

A network that cannot rely on any one block overfits less. Later blocks are left out more often, and
what is kept is scaled up to match, so that the mean does not change.
Source: Huang et al., "Deep networks with stochastic depth" (ECCV 2016).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from server.engine.models.tiny.networks import ContextBlock

__all__ = ["LAST_SHARE", "leave_out_at_random"]

LAST_SHARE = 0.2
"""Of the samples, those that do without a half of the last block."""


def leave_out_at_random(blocks: Iterable[ContextBlock]) -> None:
    """Both halves of each block now answer nothing for some samples, while it trains."""
    every = list(blocks)
    for number, block in enumerate(every, start=1):
        share = LAST_SHARE * number / len(every)
        for half in (block.proj, block.mlp):
            half.register_forward_hook(_Sometimes(share))


class _Sometimes:
    """A hook that blanks a module's answer for a share of the batch."""

    def __init__(self, share: float) -> None:
        self._share = share

    def __call__(self, module: nn.Module, _inputs: object, answer: Tensor) -> Tensor:
        if not module.training:
            return answer
        sizes = (len(answer), *[1] * (answer.dim() - 1))
        kept = torch.rand(sizes, device=answer.device) >= self._share
        return answer * kept / (1 - self._share)
