"""The bundled model: a SAM whose prompts are painted, and which looks at every mask twice.

What it adds to `SamModel`: prompts are painted into the prior and masks clamped to boxes
(`painting`); with the embedding a copy of the image is kept, from which a close-up of each
candidate is cropped (`second_look`), and what the second network makes of it replaces the mask's
logits there. It also judges what it saw: that is the predicted IoU and, where candidates for a lone
click are asked for, their order.

On a CPU clicks are float32 whatever images are encoded in: both networks of a click are small, and
compiled they take half the time that torch needs for them in the fastest dtype.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.engine.models.base import CloseUpLogits, Decoded, Embedding
from server.engine.models.decoder.contract import Row, Stored
from server.engine.models.device import channels_last, on_one_thread, translating
from server.engine.models.recording.eager import or_eager
from server.engine.models.recording.onnx_runtime import EXAMPLE_ROWS, Compiled, compiling_pays
from server.engine.models.sam import SamModel
from server.engine.models.tiny.closeup import CONTEXT_CELLS, CloseUp
from server.engine.models.tiny.networks import EMBED_DIM, Tiny
from server.engine.models.tiny.painting import fit_to_box, painted
from server.engine.second_look.blending import blend, score_factor, second_look_weight
from server.engine.second_look.planes import PLANES, closeup_planes
from server.engine.second_look.window import (
    CELLS,
    PICTURE_SIDE,
    Window,
    crop,
    enlarge,
    resampling,
    window_around,
)
from server.engine.tokens import Token, tokens_of
from server.engine.types import DecodeRequest, RgbImage, Size
from server.geometry import Frame

__all__ = ["TinyModel"]

MOST_CLICK_THREADS = 2
"""That the two networks of a click share: their products are too small for more."""


SecondLook = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class _Features:
    """What is kept of an encoded image."""

    stored: Stored
    """As the decoder wants it."""
    picture: RgbImage


@dataclass(frozen=True, slots=True)
class _Look:
    """A close-up to be taken: of one candidate of one request."""

    features: _Features
    window: Window
    pixels: RgbImage
    tokens: list[Token]
    """The prompt, in shares of the input."""
    logits: NDArray[np.float32]
    """Of the first look, over the whole input."""
    score: float
    """The IoU that the first look predicts."""
    weight: float
    """How much the second look's mask will count, 0..1."""
    compared: bool
    """Whether it is one of a lone click's candidates: then it is judged also where the second
    look's mask will not count."""

    def answered(self, logits: NDArray[np.float32]) -> CloseUpLogits:
        """What is made of it."""
        return CloseUpLogits(self.window, self.window.place(self.tokens), logits)


class TinyModel(SamModel):
    """The bundled model, ready to serve. Takes `tiny` over: it is moved and converted in place."""

    def __init__(
        self, tiny: Tiny, *, fingerprint: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(
            tiny.sam,
            name="tiny",
            fingerprint=fingerprint,
            device=device,
            dtype=dtype,
        )
        self._eager_closeup = channels_last(tiny.closeup.to(device, dtype))
        self._closeup: SecondLook = self._eager_closeup
        self._grid: int = tiny.sam.prompt_encoder.image_embedding_size[0]

    def compile(self) -> None:
        """Both networks, for as many threads as they gain from."""
        threads = min(torch.get_num_threads(), MOST_CLICK_THREADS)
        self._decoder.compile(threads)
        if compiling_pays(self._device, self.dtype):
            self._closeup = or_eager(lambda: _compiled(self._eager_closeup, threads), self._closeup)

    @property
    def needed_side(self) -> int:
        """The input's, or the kept copy's, whichever is longer."""
        return max(self.input_size, PICTURE_SIDE)

    def _prepared(
        self, image: RgbImage, frame: Frame
    ) -> Generator[float, None, tuple[Tensor, RgbImage]]:
        resized, _ = yield from super()._prepared(image, frame)
        return resized, (yield from self._resizer.run(_shrunk, image, _picture_size(frame)))

    def _embedding(self, stored: Stored, picture: RgbImage, frame: Frame) -> Embedding:
        nbytes = sum(part.nbytes for part in stored) + picture.nbytes
        return Embedding(_Features(stored, picture), frame.width, frame.height, nbytes)

    def _row(self, embedding: Embedding, request: DecodeRequest) -> Row:
        frame = self._frame(embedding)
        drawn = painted(request, frame, self.logits_size)
        return _features(embedding).stored, frame, drawn

    @translating
    @on_one_thread()
    def decode(self, batch: Sequence[tuple[Embedding, DecodeRequest]]) -> list[Decoded]:
        """Decode prompts of different images in one call, then look closely at every mask.

        Raises:
            ArithmeticError: an answer holds NaN or infinity; decoded alone, the others do not.
        """
        tokens = [tokens_of(request.prompt, self._frame(image)) for image, request in batch]
        answers = [
            replace(answer, logits=fit_to_box(answer.logits, marks))
            for answer, marks in zip(super().decode(batch), tokens, strict=True)
        ]
        looks = [
            _look_at(_features(image), request, marks, plane, float(score))
            for (image, request), marks, answer in zip(batch, tokens, answers, strict=True)
            for plane, score in zip(answer.logits, answer.scores, strict=True)
        ]
        closeups, scores = self._second_looks(looks)
        ends = accumulate((len(answer.logits) for answer in answers), initial=0)
        return [
            _ranked(request, marks, answer, scores[start:end], closeups[start:end])
            for (_, request), marks, answer, (start, end) in zip(
                batch, tokens, answers, pairwise(ends), strict=True
            )
        ]

    def _second_looks(self, looks: list[_Look]) -> tuple[list[CloseUpLogits], NDArray[np.float32]]:
        """Of each look the close-up's logits and the IoU that is now predicted."""
        planes = [enlarge(one.logits, one.window) for one in looks]
        scores = np.array([one.score for one in looks], np.float32)
        taken = [at for at, one in enumerate(looks) if one.weight > 0 or one.compared]
        if taken:
            second, judged = self._run_closeup([looks[at] for at in taken])
            scores[taken] = judged
            for at, logits in zip(taken, second, strict=True):
                planes[at] = blend(planes[at], logits, looks[at].weight)
        scores *= np.array([score_factor(one.tokens) for one in looks], np.float32)
        answered = [one.answered(plane) for one, plane in zip(looks, planes, strict=True)]
        return answered, scores

    @torch.inference_mode()
    def _run_closeup(self, looks: list[_Look]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The second network's logits, one plane a look, and its predicted IoUs."""
        seen = np.stack(
            [closeup_planes(one.pixels, one.window, one.logits, one.tokens) for one in looks]
        )
        around = torch.stack([self._context(one) for one in looks])
        shown = torch.from_numpy(seen).to(around.device, around.dtype)
        first = torch.tensor([one.score for one in looks]).to(shown)
        answers = self._closeup(shown, around, first)
        logits, scores = (answer.to("cpu", torch.float32).numpy() for answer in answers)
        if not (np.isfinite(logits.sum()) and np.isfinite(scores.sum())):
            raise ArithmeticError("the close-ups answered NaN or infinity")
        return logits, scores

    def _context(self, one: _Look) -> Tensor:
        """Cx8x8 of the stored embedding around the window."""
        keys, window = one.features.stored[0], one.window
        down, across = (
            torch.from_numpy(resampling(start, window.side, self._grid, CONTEXT_CELLS)).to(keys)
            for start in (window.y, window.x)
        )
        rows = (down @ keys.view(self._grid, -1)).view(CONTEXT_CELLS, self._grid, -1)
        return (across @ rows).permute(2, 0, 1)


def _compiled(closeup: CloseUp, threads: int) -> Compiled:
    example = {
        "seen": torch.zeros(EXAMPLE_ROWS, PLANES, CELLS, CELLS),
        "around": torch.zeros(EXAMPLE_ROWS, EMBED_DIM, CONTEXT_CELLS, CONTEXT_CELLS),
        "scores": torch.zeros(EXAMPLE_ROWS),
    }
    return Compiled(closeup, example, threads)


def _features(embedding: Embedding) -> _Features:
    if not isinstance(embedding.features, _Features):
        raise TypeError("expected an embedding that this model made")
    return embedding.features


def _look_at(
    features: _Features,
    request: DecodeRequest,
    tokens: list[Token],
    logits: NDArray[np.float32],
    score: float,
) -> _Look:
    window = window_around(logits, tokens, max(features.picture.shape[:2]))
    pixels = crop(features.picture, window)
    weight = second_look_weight(window, tokens)
    compared = request.want == "all" and len(tokens) == 1
    return _Look(features, window, pixels, tokens, logits, score, weight, compared)


def _ranked(
    request: DecodeRequest,
    tokens: list[Token],
    first: Decoded,
    scores: NDArray[np.float32],
    closeups: list[CloseUpLogits],
) -> Decoded:
    """Best first: by the second look's verdict, where it has learnt to judge candidates."""
    if request.want == "all" and len(tokens) > 1:
        return Decoded(first.logits, first.scores, tuple(closeups))
    order = np.argsort(-scores, kind="stable")
    return Decoded(first.logits[order], scores[order], tuple(closeups[at] for at in order))


def _picture_size(frame: Frame) -> Size:
    """Width and height of the copy, its longest side no longer than `PICTURE_SIDE`."""
    scale = min(1.0, PICTURE_SIDE / max(frame.height, frame.width))
    return max(1, round(frame.width * scale)), max(1, round(frame.height * scale))


def _shrunk(image: RgbImage, size: Size) -> RgbImage:
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
