"""SAM's mask decoder for prompts of many images at once: upstream's logits, sooner.

- Every row of a batch brings its own embedding; upstream repeats one image's over its prompts.
- Embeddings are stored as NxC with the constant no-mask embedding added, in a dtype that suits
  memory; a prior adds the difference.
- Finer features (`fine`), where a model has them, are stored beside the embedding, in the order in
  which the decoder makes them.
- The networks are `core`'s; on each device they are recorded in the way that is fastest there
  (`graphed`, `compiled`, `traced`).

`SimpleDecoder` (`simple`) is the same without any of this.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from server.engine.models.base import Decoded
from server.engine.models.decoder.compiled import CompiledCore, CompiledPrior
from server.engine.models.decoder.contract import Core, Row, Stored
from server.engine.models.decoder.core import FOLD_BELOW, DecoderCore, PriorEmbedding
from server.engine.models.decoder.fine import Widths
from server.engine.models.decoder.graphed import GraphedCore
from server.engine.models.decoder.prompts import stack_prompts
from server.engine.models.decoder.traced import TracedCore, tracing_pays
from server.engine.models.recording.cuda_graphs import capture_cuda
from server.engine.models.recording.eager import or_eager
from server.engine.models.recording.onnx_runtime import compiling_pays
from server.engine.models.upstream import Sam
from server.engine.types import Want

__all__ = ["FoldedDecoder"]

Network = TypeVar("Network", bound=nn.Module)

Prior = Callable[[Tensor, Tensor], Tensor]

MASKS: dict[Want, int] = {"single": 1, "best": 1, "all": 3}


class FoldedDecoder:
    """Decodes all rows in one call, on one device and in one dtype.

    Args:
        sam: whose prompt encoder and mask decoder it takes.
        device: where it runs.
        dtype: of the image while it is decoded.
    """

    def __init__(
        self,
        sam: Sam,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._device, self._dtype = device, dtype
        self._eager_prior = _frozen(PriorEmbedding(sam.prompt_encoder, dtype)).to(device)
        self._prior: Prior = self._eager_prior
        self._eager = _frozen(DecoderCore(sam, dtype)).to(device)
        self._core: Core = self._eager
        if device.type == "cuda":
            self._core = GraphedCore(self._eager, capture_cuda(device))
        self._parts = Widths(sam.mask_decoder).parts
        self._no_mask = sam.prompt_encoder.no_mask_embed.weight.detach().to(device, torch.float32)

    def compile(self, threads: int) -> None:
        """Where recorded code is the faster, decode with it from now on.

        Takes some two seconds in float32; else a fifth of one for each shape when it is met.
        """
        if compiling_pays(self._device, self._dtype):
            self._prior, self._core = or_eager(
                lambda: self._compiled(threads), (self._prior, self._core)
            )
        elif tracing_pays(self._device, self._dtype):
            self._core = TracedCore(self._eager)

    def _compiled(self, threads: int) -> tuple[Prior, Core]:
        grid = self._eager.grid
        embedding = [torch.zeros(grid[0] * grid[1], channels) for channels in self._parts]
        prior = CompiledPrior(self._eager_prior, embedding[0], grid, threads)
        return prior, CompiledCore(self._eager, embedding, threads, below=FOLD_BELOW)

    @torch.inference_mode()
    def store(self, features: Tensor) -> Stored:
        """NxC with the no-mask embedding added: where decoding without a prior begins.

        What is finer lies in tensors of its own: cut out of one, it would be copied at every click.
        """
        places = features[0].flatten(1).t().to(self._device, torch.float32)
        keys, *finer = places.split(self._parts, dim=1)
        return tuple(part.to(self._dtype).contiguous() for part in (keys + self._no_mask, *finer))

    @torch.inference_mode()
    def decode(self, rows: Sequence[Row]) -> list[Decoded]:
        """Decode all rows together; no answer depends on another row."""
        wants = [request.want for _, _, request in rows]
        tokens = stack_prompts([(frame, request.prompt) for _, frame, request in rows])
        logits, scores = self._core(
            torch.from_numpy(tokens.xy).to(self._device),
            torch.from_numpy(tokens.kinds).to(self._device),
            torch.tensor([want == "single" for want in wants], device=self._device),
            max(MASKS[want] for want in wants),
            *self._embedding(rows),
        )
        return _split(wants, logits, scores)

    def _embedding(self, rows: Sequence[Row]) -> Stored:
        """BxNxC embeddings, priors added, and what is finer."""
        if len(rows) == 1:
            parts = [part[None] for part in rows[0][0]]
        else:
            parts = [torch.stack(part) for part in zip(*(row[0] for row in rows), strict=True)]
        keys, *finer = (part.to(self._dtype) for part in parts)
        return self._with_priors(rows, keys), *finer

    def _with_priors(self, rows: Sequence[Row], keys: Tensor) -> Tensor:
        """The keys of rows with priors know of them."""
        priors = {
            row: request.prior
            for row, (_, _, request) in enumerate(rows)
            if request.prior is not None
        }
        if not priors:
            return keys
        masks = torch.from_numpy(np.stack(list(priors.values()))).to(self._device, torch.float32)
        if len(priors) == len(rows):
            return self._prior(masks, keys)
        which = torch.tensor(list(priors), device=self._device)
        return keys.index_copy(0, which, self._prior(masks, keys[which]))


def _split(wants: Sequence[Want], logits: Tensor, scores: Tensor) -> list[Decoded]:
    all_logits = logits.to("cpu", torch.float32).numpy()
    all_scores = scores.to("cpu", torch.float32).numpy()
    return [
        Decoded(all_logits[row, : MASKS[want]], all_scores[row, : MASKS[want]])
        for row, want in enumerate(wants)
    ]


def _frozen(module: Network) -> Network:
    return module.eval().requires_grad_(requires_grad=False)
