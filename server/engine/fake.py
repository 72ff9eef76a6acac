"""A deterministic model without torch, for tests and for load tests of the server alone.

It "segments" by distance: near an include point, or inside the box, is mask; near an exclude point
is not. The image counts too, by the brightness under each logit, so that an embedding used for the
wrong image shows in the mask.
"""

import time
from collections.abc import Generator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from server.engine.models.base import Decoded, Embedding
from server.engine.types import DecodeRequest, Prompt, RgbImage, Size
from server.geometry import Frame

__all__ = ["FakeModel"]

_REACH = 0.15  # of the logits' side: how far a point reaches
_BRIGHTNESS = 0.05


class FakeModel:
    """Costs as much time as it is told to.

    Args:
        encode_steps: how many steps an encode has.
        step_s: seconds a step takes.
        decode_s: seconds a batch takes, whatever its size.
        max_batch: what `warm_up` reports.
    """

    name = "fake"
    input_size = 512
    needed_side = 512
    logits_size = 128
    on_cpu = True
    fingerprint = "fake-1"

    def __init__(
        self,
        *,
        encode_steps: int = 4,
        step_s: float = 0.0,
        decode_s: float = 0.0,
        max_batch: int = 8,
    ) -> None:
        self._encode_steps = encode_steps
        self._step_s = step_s
        self._decode_s = decode_s
        self._max_batch = max_batch

    def encode(
        self, image: RgbImage, size: Size | None = None
    ) -> Generator[float, None, Embedding]:
        """Shrink the picture to the logits' size."""
        width, height = size or (image.shape[1], image.shape[0])
        for step in range(self._encode_steps):
            yield step / self._encode_steps
            time.sleep(self._step_s)
        frame = Frame(width, height, self.input_size)
        inside = (frame.model_width // 4 or 1, frame.model_height // 4 or 1)
        small = cv2.resize(image, inside, interpolation=cv2.INTER_AREA)
        grey = small.mean(axis=2, dtype=np.float32) / 255.0
        features = np.zeros((self.logits_size, self.logits_size), np.float32)
        features[: inside[1], : inside[0]] = grey
        return Embedding(features, width, height, features.nbytes)

    def decode(self, batch: Sequence[tuple[Embedding, DecodeRequest]]) -> list[Decoded]:
        """Answer each request by geometry alone."""
        time.sleep(self._decode_s)
        return [self._decode_one(embedding, request) for embedding, request in batch]

    def warm_up(self, max_decode_ms: float) -> int:
        """Report what it was told to."""
        del max_decode_ms
        return self._max_batch

    def _decode_one(self, embedding: Embedding, request: DecodeRequest) -> Decoded:
        logits = self._logits(embedding, request.prompt)
        if request.prior is not None:
            logits = 0.5 * (logits + request.prior.astype(np.float32))
        if request.want != "all":
            return Decoded(logits[None], np.array([0.9], np.float32))
        parts = np.stack([logits, logits - 0.02, logits - 0.04])
        return Decoded(parts, np.array([0.9, 0.8, 0.7], np.float32))

    def _logits(self, embedding: Embedding, prompt: Prompt) -> NDArray[np.float32]:
        side = self.logits_size
        frame = Frame(embedding.width, embedding.height, self.input_size)
        rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) + 0.5
        features = np.asarray(embedding.features, np.float32)
        logits = np.full((side, side), -1.0, np.float32)
        if prompt.box is not None:
            corners = np.array(prompt.box).reshape(2, 2)
            (x0, y0), (x1, y1) = frame.to_model(corners) * side / self.input_size
            edge = np.minimum.reduce([columns - x0, x1 - columns, rows - y0, y1 - rows])
            logits = np.maximum(logits, edge / side)
        for x, y, label in prompt.points:
            mx, my = frame.to_model(np.array([x, y])) * side / self.input_size
            near = _REACH - np.hypot(columns - mx, rows - my) / side
            logits = np.maximum(logits, near) if label else np.minimum(logits, -near)
        return (logits + _BRIGHTNESS * (features - 0.5)).astype(np.float32)
