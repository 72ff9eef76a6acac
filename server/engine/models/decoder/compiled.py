"""The decoder's networks in ONNX Runtime: what decodes in float32 on a CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from server.engine.models.decoder.contract import Answer, Core
from server.engine.models.decoder.prompts import LENGTHS, OUTPUT_TOKENS
from server.engine.models.recording.onnx_runtime import EXAMPLE_ROWS, Compiled

__all__ = ["CompiledCore", "CompiledPrior"]


class CompiledCore:
    """Stands in for the decoder's core; rows of `below` tokens and more are still decoded eagerly.

    They are rare, and there the core goes another way, which the recording lacks.

    Args:
        core: in float32.
        embedding: NxC each, anything of the shape of an image's.
        threads: that a call may use.
        below: tokens from which on the core goes that other way.
    """

    def __init__(
        self, core: nn.Module, embedding: Sequence[Tensor], threads: int, *, below: int
    ) -> None:
        self._eager: Core = core
        self._below = below
        prompt = LENGTHS[0] - OUTPUT_TOKENS
        example = {
            "xy": torch.zeros(EXAMPLE_ROWS, prompt, 2),
            "kinds": torch.zeros(EXAMPLE_ROWS, prompt, dtype=torch.int64),
            "single": torch.zeros(EXAMPLE_ROWS, dtype=torch.bool),
            "masks": torch.tensor(2),
        }
        for at, part in enumerate(embedding):
            example[f"embedding {at}"] = part.repeat(EXAMPLE_ROWS, 1, 1)
        self._compiled = Compiled(core, example, threads, free={"xy": 1, "kinds": 1})

    def __call__(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, *embedding: Tensor
    ) -> Answer:
        """As the eager core answers."""
        if OUTPUT_TOKENS + kinds.shape[1] >= self._below:
            return self._eager(xy, kinds, single, masks, *embedding)
        logits, scores = self._compiled(xy, kinds, single, torch.tensor(masks), *embedding)
        return logits, scores


class CompiledPrior:
    """Stands in for what adds an earlier mask to an embedding.

    Args:
        prior: in float32.
        keys: NxC, anything of the shape of an image's.
        grid: its height and width.
        threads: that a call may use.
    """

    def __init__(self, prior: nn.Module, keys: Tensor, grid: tuple[int, int], threads: int) -> None:
        masks = torch.zeros(EXAMPLE_ROWS, *(4 * side for side in grid))
        example = {"masks": masks, "keys": keys.repeat(EXAMPLE_ROWS, 1, 1)}
        self._compiled = Compiled(prior, example, threads)

    def __call__(self, masks: Tensor, keys: Tensor) -> Tensor:
        """As the eager one answers."""
        return self._compiled(masks, keys)[0]
