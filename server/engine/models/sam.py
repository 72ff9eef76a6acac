"""Any segment-anything model, of any size, behind the engine's contract.

An image is resized exactly as SamPredictor does it (Pillow's antialiased bilinear, which no cv2
resize equals; on a GPU by `resample`), normalised, padded, encoded in steps, and stored in the form
the decoder starts from. A decode is one call of the batched decoder.
"""

import contextlib
from collections.abc import Generator, Sequence
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.base import Decoded, Embedding
from server.engine.models.decoder.batched import FoldedDecoder
from server.engine.models.decoder.contract import Row, Stored
from server.engine.models.decoder.fine import Widths
from server.engine.models.device import channels_last, translating
from server.engine.models.recording.cuda_graphs import capture_cuda
from server.engine.models.resizing.resample import resample, resamples
from server.engine.models.resizing.threaded import Resizer, pillow_resize
from server.engine.models.upstream import ImageEncoderViT, Sam
from server.engine.models.vit.stepped import SteppedViT
from server.engine.models.vit.whole_blocks import WholeViT
from server.engine.models.warm_up import warm_up
from server.engine.types import DecodeRequest, RgbImage, Size
from server.geometry import Frame

__all__ = ["SamModel"]


@runtime_checkable
class SteppingEncoder(Protocol):
    """An image encoder that can be left between steps."""

    def steps(self, x: Tensor) -> Generator[float, None, Tensor]:
        """1x3xSxS normalised pixels to a 1xCxhxw embedding, yielding the fraction done."""


class SamModel:
    """A loaded SAM, ready to serve. Takes `sam` over: it is moved and converted in place.

    Args:
        sam: the networks.
        name: as the catalog calls it.
        fingerprint: of the weights.
        device: where it runs.
        dtype: of everything but the prompts.
    """

    def __init__(
        self,
        sam: Sam,
        *,
        name: str,
        fingerprint: str,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._name, self._device, self._dtype = name, device, dtype
        self._fingerprint = f"{fingerprint}-{str(dtype).removeprefix('torch.')}"
        self._blank = torch.zeros(
            1, Widths(sam.mask_decoder).total, *sam.prompt_encoder.image_embedding_size
        )
        self._mean, self._std = sam.pixel_mean.to(device), sam.pixel_std.to(device)
        self._resizer = Resizer()
        self._input_size: int = sam.image_encoder.img_size
        self._logits_size: int = sam.prompt_encoder.mask_input_size[0]
        self._decoder = FoldedDecoder(sam, device=device, dtype=dtype)
        self._encoder = _stepping(sam.image_encoder, device, dtype)

    @property
    def name(self) -> str:
        """As the catalog calls it."""
        return self._name

    @property
    def input_size(self) -> int:
        """Side in pixels of the square the encoder sees."""
        return self._input_size

    @property
    def needed_side(self) -> int:
        """The input's: every image is resized to it."""
        return self._input_size

    @property
    def logits_size(self) -> int:
        """Side of the low-resolution logits."""
        return self._logits_size

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the processor's cores."""
        return self._device.type == "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """What images are encoded, kept and decoded in."""
        return self._dtype

    @property
    def fingerprint(self) -> str:
        """Names the weights and the dtype that embeddings are made in."""
        return self._fingerprint

    def encode(
        self, image: RgbImage, size: Size | None = None
    ) -> Generator[float, None, Embedding]:
        """Encode HxWx3 RGB in steps of some 10 ms, yielding the fraction done.

        `size` is the image's own where HxW is that of a copy with fewer pixels.
        """
        width, height = size or (image.shape[1], image.shape[0])
        frame = Frame(width, height, self._input_size)
        with contextlib.closing(self._encode(image, frame)) as steps:
            while True:
                try:
                    fraction = _advance(steps)
                except StopIteration as end:
                    embedding: Embedding = end.value
                    return embedding
                yield fraction

    def resized(self, image: RgbImage, frame: Frame) -> Generator[float, None, Tensor]:
        """HxWx3 bytes at the model's size, on the device, as Pillow would resize them."""
        height, width, _ = image.shape
        size = (frame.model_width, frame.model_height)
        if self._device.type == "cpu" or not resamples(height, width, self._input_size):
            resized = yield from self._resizer.run(pillow_resize, image, size)
            return torch.from_numpy(resized).to(self._device)
        return (yield from resample(image, size, self._device))

    def _prepared(
        self, image: RgbImage, frame: Frame
    ) -> Generator[float, None, tuple[Tensor, RgbImage]]:
        """The image at the model's size, and what of it an embedding is made with."""
        return (yield from self.resized(image, frame)), image

    def _encode(self, image: RgbImage, frame: Frame) -> Generator[float, None, Embedding]:
        resized, picture = yield from self._prepared(image, frame)
        pixels = self._normalised(resized).to(self._dtype)
        encoded = yield from self._encoder.steps(pixels)
        return self._embedding(self._decoder.store(encoded), picture, frame)

    def _embedding(self, stored: Stored, picture: RgbImage, frame: Frame) -> Embedding:
        del picture  # for models that look at it again
        nbytes = sum(part.nbytes for part in stored)
        return Embedding(stored, frame.width, frame.height, nbytes)

    def _normalised(self, image: Tensor) -> Tensor:
        pixels = image.permute(2, 0, 1).unsqueeze(0)
        pixels = (pixels - self._mean) / self._std
        height, width = pixels.shape[-2:]
        return F.pad(pixels, (0, self._input_size - width, 0, self._input_size - height))

    @translating
    def decode(self, batch: Sequence[tuple[Embedding, DecodeRequest]]) -> list[Decoded]:
        """Decode prompts of different images in one call.

        Raises:
            ArithmeticError: an answer holds NaN or infinity; decoded alone, the others do not.
        """
        answers = self._decoder.decode([self._row(*asked) for asked in batch])
        if not all(map(_is_finite, answers)):
            raise ArithmeticError("the model answered NaN or infinity")
        return answers

    def _row(self, embedding: Embedding, request: DecodeRequest) -> Row:
        return cast("Stored", embedding.features), self._frame(embedding), request

    def _frame(self, embedding: Embedding) -> Frame:
        return Frame(embedding.width, embedding.height, self._input_size)

    def warm_up(self, max_decode_ms: float) -> int:
        """Run every shape once; return the largest batch worth making within `max_decode_ms`."""
        return warm_up(self, max_decode_ms)

    def compile(self) -> None:
        """Where compiled code is the faster, decode with it from now on."""
        self._decoder.compile(torch.get_num_threads())

    def blank(self) -> Embedding:
        """Of a black image, without an encode: for warming up."""
        side = self.needed_side
        black, frame = np.zeros((side, side, 3), np.uint8), Frame(side, side, self._input_size)
        return self._embedding(self._decoder.store(self._blank), black, frame)


def _is_finite(decoded: Decoded) -> bool:
    # A sum shows one NaN or infinity among all the terms, without another array.
    return bool(np.isfinite(decoded.logits.sum()) and np.isfinite(decoded.scores.sum()))


@translating
def _advance(steps: Generator[float, None, Embedding]) -> float:
    # Entered anew for every step: what runs between two steps must not inherit it.
    with torch.inference_mode():
        return next(steps)


def _stepping(encoder: nn.Module, device: torch.device, dtype: torch.dtype) -> SteppingEncoder:
    if isinstance(encoder, ImageEncoderViT):
        if device.type == "cpu":
            return SteppedViT(encoder, dtype=dtype)
        return WholeViT(encoder, device=device, dtype=dtype, capture=capture_cuda(device))
    if isinstance(encoder, SteppingEncoder):
        frozen = encoder.eval().requires_grad_(requires_grad=False)
        return channels_last(frozen.to(device, dtype))
    raise TypeError(f"no way to run a {type(encoder).__name__} in steps")
