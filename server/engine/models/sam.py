"""Any segment-anything model, of any size, behind the engine's contract.

An image is resized exactly as SamPredictor does it (Pillow's antialiased bilinear, which no cv2
resize equals; on a GPU by `resample`), normalised, padded, encoded in steps, and stored in the form
the decoder starts from. A decode is one call of the batched decoder.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import product
from statistics import median
from typing import Protocol, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.base import Decoded, Embedding, OutOfMemoryError
from server.engine.models.decoder.batched import FoldedDecoder
from server.engine.models.decoder.contract import Row, Stored
from server.engine.models.decoder.fine import Widths
from server.engine.models.decoder.prompts import LENGTHS, OUTPUT_TOKENS
from server.engine.models.device import translating
from server.engine.models.pace import STEP_S
from server.engine.models.recording.cuda_graphs import capture_cuda
from server.engine.models.resizing.resample import resample, resamples
from server.engine.models.tiny.layers import channels_last
from server.engine.models.tiny.networks import TinyEncoder
from server.engine.models.upstream import ImageEncoderViT, Sam
from server.engine.models.vit.stepped import SteppedViT
from server.engine.models.vit.whole_blocks import WholeViT
from server.engine.types import DecodeRequest, Logits, Prompt, RgbImage, Size, Want
from server.geometry import Frame

__all__ = ["SamModel", "beside", "resize_beside"]

LARGEST_BATCH = 64
"""Beyond it a GPU gains nothing, and a batch that fails costs more."""

WORTH = 1.6
"""A batch of twice as many must take less than so many times as long: else one behind the other is
better, for the first need not wait for the last. So on most CPUs nothing is batched."""

WARM_ENCODE_S = 1.0
"""Enough for kernels to be prepared and for the pace of the steps to be found."""


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
        dtype: of the image while it is encoded, and of what is kept of it.
        decode_dtype: of the image while it is decoded; None for `dtype`.
    """

    def __init__(
        self,
        sam: Sam,
        *,
        name: str,
        fingerprint: str,
        device: torch.device,
        dtype: torch.dtype,
        decode_dtype: torch.dtype | None = None,
    ) -> None:
        self._name, self._device, self._dtype = name, device, dtype
        self._decode_dtype = decode_dtype or dtype
        self._fingerprint = f"{fingerprint}-{str(dtype).removeprefix('torch.')}"
        self._blank = torch.zeros(
            1, Widths(sam.mask_decoder).total, *sam.prompt_encoder.image_embedding_size
        )
        self._mean, self._std = sam.pixel_mean.to(device), sam.pixel_std.to(device)
        self._input_size: int = sam.image_encoder.img_size
        self._logits_size: int = sam.prompt_encoder.mask_input_size[0]
        self._decoder = FoldedDecoder(sam, device=device, dtype=self._decode_dtype, kept=dtype)
        self._encoder = _in_steps(sam.image_encoder, device, dtype)

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
    def decode_dtype(self) -> torch.dtype:
        """What the image is decoded in."""
        return self._decode_dtype

    @property
    def fingerprint(self) -> str:
        """Names the weights and the numbers that embeddings are made in."""
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
        if self._device.type == "cpu" or not resamples(height, width, self._input_size):
            resized = yield from resize_beside(image, frame)
            return torch.from_numpy(resized).to(self._device)
        size = (frame.model_width, frame.model_height)
        return (yield from resample(image, size, self._device))

    def _prepared(
        self, image: RgbImage, frame: Frame
    ) -> Generator[float, None, tuple[Tensor, RgbImage]]:
        """The image at the model's size, and what of it an embedding is made with."""
        return (yield from self.resized(image, frame)), image

    def _encode(self, image: RgbImage, frame: Frame) -> Generator[float, None, Embedding]:
        resized, kept = yield from self._prepared(image, frame)
        pixels = self._normalised(resized).to(self._dtype)
        encoded = yield from self._encoder.steps(pixels)
        return self._embedding(self._decoder.store(encoded), kept, frame)

    def _embedding(self, stored: Stored, kept: RgbImage, frame: Frame) -> Embedding:
        del kept  # for models that look at it again
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
            raise ArithmeticError("the model answered with numbers that are none")
        return answers

    def _row(self, embedding: Embedding, request: DecodeRequest) -> Row:
        return cast("Stored", embedding.features), self._frame(embedding), request

    def _frame(self, embedding: Embedding) -> Frame:
        return Frame(embedding.width, embedding.height, self._input_size)

    def warm_up(self, max_decode_ms: float) -> int:
        """Run every shape once; return the largest batch worth making within `max_decode_ms`.

        An encoder that needs more than `WARM_ENCODE_S` for an image is not run to the end.
        """
        self.compile()
        self._warm_encoder()
        for length, want, prior in product(LENGTHS, _WANTS, (False, True)):
            self.decode([self._rehearsal(length, want, prior=prior)])
        largest, ms = 1, self._decode_ms(1)
        while largest < LARGEST_BATCH:
            twice_ms = self._decode_ms(2 * largest)
            if twice_ms > max_decode_ms or twice_ms > WORTH * ms:
                break
            largest, ms = 2 * largest, twice_ms
        return largest

    def compile(self) -> None:
        """Where compiled code is the faster, decode with it from now on."""
        self._decoder.compile(torch.get_num_threads())

    def _warm_encoder(self) -> None:
        # Of another size than the model's: resizing has code to load, too.
        blank = np.zeros((self._input_size, 2 * self._input_size, 3), dtype=np.uint8)
        started = time.perf_counter()
        with contextlib.closing(self.encode(blank)) as steps:
            for _ in steps:
                if time.perf_counter() - started > WARM_ENCODE_S:
                    break

    def _rehearsal(
        self, length: int, want: Want, *, prior: bool
    ) -> tuple[Embedding, DecodeRequest]:
        """A request whose tokens fill a row of this length, on a blank image.

        It has a small box, so that a model which looks closely at small things does so.
        """
        side = self.needed_side
        black, frame = np.zeros((side, side, 3), np.uint8), Frame(side, side, self._input_size)
        embedding = self._embedding(self._decoder.store(self._blank), black, frame)
        box = (0.0, 0.0, side / 8, side / 8)
        prompt = Prompt(points=((0.0, 0.0, 1),) * (length - OUTPUT_TOKENS - 2), box=box)
        grid = (self.logits_size, self.logits_size)
        logits: Logits | None = np.zeros(grid, dtype=np.float16) if prior else None
        return embedding, DecodeRequest(prompt, want, logits)

    def _decode_ms(self, batch: int) -> float:
        """Median time of a batch of small boxes, at which a model may look twice.

        Infinite where it finds no room.
        """
        requests = [self._rehearsal(LENGTHS[0], "best", prior=False)] * batch
        times = []
        for _ in range(4):
            start = time.perf_counter()
            try:
                self.decode(requests)
            except OutOfMemoryError:
                return float("inf")
            times.append(1e3 * (time.perf_counter() - start))
        return median(times[1:])


_WANTS: tuple[Want, ...] = ("best", "all")
"""One mask or three: the shapes a decode can have."""


def _is_finite(decoded: Decoded) -> bool:
    # A sum shows one NaN or infinity among all the terms, without another array.
    return bool(np.isfinite(decoded.logits.sum()) and np.isfinite(decoded.scores.sum()))


@translating
def _advance(steps: Generator[float, None, Embedding]) -> float:
    # Entered anew for every step: what runs between two steps must not inherit it.
    with torch.inference_mode():
        return next(steps)


def _in_steps(encoder: nn.Module, device: torch.device, dtype: torch.dtype) -> SteppingEncoder:
    if isinstance(encoder, ImageEncoderViT):
        if device.type == "cpu":
            return SteppedViT(encoder, dtype=dtype)
        return WholeViT(encoder, device=device, dtype=dtype, capture=capture_cuda(device))
    if isinstance(encoder, TinyEncoder):
        frozen = encoder.eval().requires_grad_(requires_grad=False)
        return channels_last(frozen.to(device, dtype))
    raise TypeError(f"no way to run a {type(encoder).__name__} in steps")


def resize_beside(image: RgbImage, frame: Frame) -> Generator[float, None, RgbImage]:
    """SamPredictor's resize of `image` to the model's size, yielding while another thread does it.

    It takes 0.1 s for 12 megapixels. In bands it would not be Pillow's: which of its two passes
    comes first, and is rounded to bytes, depends on the whole image and on Pillow's version.
    """
    return (yield from beside(_resize, image, (frame.model_width, frame.model_height)))


def _resize(image: RgbImage, size: tuple[int, int]) -> RgbImage:
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def beside(
    work: Callable[[RgbImage, Size], RgbImage], image: RgbImage, size: Size
) -> Generator[float, None, RgbImage]:
    """The image brought to a size by another thread, yielding meanwhile."""
    brought = _resizer.submit(work, image, size)
    while not brought.done():
        wait([brought], timeout=STEP_S)
        yield 0.0
    return brought.result()


_resizer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="resize")
