"""The reference: upstream's own prompt encoder and mask decoder, prompt by prompt.

Nothing serves with it. Tests hold the decoder that serves (`batched`), in all the ways in which it
is recorded, against it. (The benchmark runs upstream's `SamPredictor` instead.)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.engine.models.base import Decoded
from server.engine.models.decoder.contract import Row, Stored
from server.engine.models.upstream import Sam
from server.engine.types import DecodeRequest
from server.geometry import Frame

__all__ = ["SimpleDecoder"]


class SimpleDecoder:
    """Upstream's decoder, one prompt at a time."""

    def __init__(self, sam: Sam) -> None:
        self._sam = sam

    def store(self, features: Tensor) -> Stored:
        """The embedding as it is."""
        return (features,)

    @torch.inference_mode()
    def decode(self, rows: Sequence[Row]) -> list[Decoded]:
        """Decode each row by itself."""
        return [self._decode(*row) for row in rows]

    def _decode(self, stored: Stored, frame: Frame, request: DecodeRequest) -> Decoded:
        [features] = stored
        sparse, dense = self._embed(frame, request)
        logits, scores = self._sam.mask_decoder(
            image_embeddings=features,
            image_pe=self._sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=request.want != "single",
        )
        order = scores[0].argsort(descending=True, stable=True)
        if request.want != "all":
            order = order[:1]
        return Decoded(logits[0, order].cpu().numpy(), scores[0, order].cpu().numpy())

    def _embed(self, frame: Frame, request: DecodeRequest) -> tuple[Tensor, Tensor]:
        points, corners, mask = None, None, None
        if request.prompt.points:
            xy = frame.to_model(np.array([point[:2] for point in request.prompt.points]))
            labels = np.array([point[2] for point in request.prompt.points])
            points = (self._float(xy)[None], self._float(labels)[None])
        if request.prompt.box is not None:
            box = np.array(request.prompt.box).reshape(2, 2)
            corners = self._float(frame.to_model(box)).view(1, 4)
        if request.prior is not None:
            mask = self._float(request.prior)[None, None]
        sparse, dense = self._sam.prompt_encoder(points=points, boxes=corners, masks=mask)
        return sparse, dense

    def _float(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._sam.device)
