"""A click and an open, stage by stage, in this process and on one thread.

The server's own parts are called one after the other with a stopwatch between them: so the stages
add up to the total. Threads and socket are left out; what those add is in `roundtrip`. Two stages
happen inside the call of another and are measured again beside it: turning the prompt into tokens
(inside the decode) and writing the runs (inside the finishing of the mask).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from server import rle
from server.bench.figures import Figure, Laps, Samples, figure, time_ms
from server.bench.pictures import KINDS, Picture
from server.engine import images, masks
from server.engine.models.base import Embedding, Model
from server.engine.models.decoder.prompts import stack_prompts
from server.engine.queue import Queue
from server.engine.types import (
    DecodeRequest,
    Logits,
    Mask,
    MaskResult,
    ReadImage,
    RgbImage,
    Timings,
)
from server.geometry import Frame
from server.protocol import (
    FEATURES,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_POINTS,
    SUBPROTOCOL,
    Data,
    Hello,
    Limits,
    ModelInfo,
    Open,
    OpenTimings,
    Release,
    Segment,
    pack,
    unpack_client,
)
from server.sessions.effects import Effect, Reply, Submit
from server.sessions.session import Session, SessionRules
from server.sessions.uploads import UploadBudget

__all__ = [
    "CLICK_STAGES",
    "OPEN_STAGES",
    "Annotator",
    "OpenReport",
    "SessionBytes",
    "click_stages",
    "open_stages",
    "session_bytes",
]

CLICK_STAGES = ("unpack", "session", "queue", "prompt", "decode", "resize", "rle", "pack")
OPEN_STAGES = ("digest", "header", "pixels", "resize", "encode")

Tick = Callable[[], None]
_E = TypeVar("_E", bound=Effect)
_NEVER = 1e9  # seconds, or as many a second: no limit is to be met here


class Annotator:
    """One open image and its session, without threads or a socket between them."""

    def __init__(self, model: Model, embedding: Embedding, *, kept_logits: int = 4) -> None:
        self._model = model
        self._embedding = embedding
        self._frame = Frame(embedding.width, embedding.height, model.input_size)
        self._queue: Queue[int, int] = Queue()
        self._last_id = 1
        self.session = Session("bench", _rules(model, kept_logits), UploadBudget(1), 0.0)
        self.session.receive(Hello(), 0.0)
        self.session.receive(Open(id=1, size=1), 0.0)
        self.session.receive(Data(id=1, bytes=b"x"), 0.0)
        timings = OpenTimings(wait_ms=0.0, decode_ms=0.0, encode_ms=0.0)
        self.session.on_opened(1, embedding, sha256="0" * 64, cached=True, timings=timings)

    def next_id(self) -> int:
        """For the next request."""
        self._last_id += 1
        return self._last_id

    def ask(self, segment: Segment) -> dict[str, float]:
        """Take a request from its frame to the reply's; milliseconds by stage."""
        frame = pack(segment)
        laps = Laps()
        message = unpack_client(frame)
        laps.end("unpack")
        submit = _only(Submit, self.session.receive(message, 0.0))
        laps.end("session")
        self._queue.push(self.session.id, submit.kind, submit.ticket)
        self._queue.next()
        laps.end("queue")
        self.session.on_started(submit.ticket)
        prior = cast("Logits | None", submit.prior)
        request = DecodeRequest(submit.prompt, submit.want, prior)
        laps.end("session")
        (decoded,) = self._model.decode([(self._embedding, request)])
        laps.end("decode")
        found, logits = masks.finish(decoded, self._frame)
        laps.end("resize")
        result = MaskResult(found, logits, Timings(0.0, 0.0, 0.0, 1))
        reply = _only(Reply, self.session.on_result(submit.ticket, result))
        laps.end("session")
        pack(reply.message)
        laps.end("pack")
        prompt = (self._frame, submit.prompt)
        laps.split("decode", "prompt", time_ms(lambda: stack_prompts([prompt])))
        laps.split("resize", "rle", _rle_ms(found))
        return laps.ms

    def forget(self) -> None:
        """Release the objects of a round."""
        for number in range(3):
            self.session.receive(Release(object=number), 0.0)


def click_stages(
    model: Model,
    embedding: Embedding,
    picture: Picture,
    *,
    warm_up: int,
    count: int,
    tick: Tick,
) -> dict[str, dict[str, Figure]]:
    """Milliseconds by kind of click, then by stage, `total` last."""
    annotator = Annotator(model, embedding)
    samples = {kind: Samples() for kind in KINDS}
    for number, prompts in enumerate(islice(cycle(picture.rounds()), warm_up + count)):
        for kind in KINDS:
            taken_ms = annotator.ask(prompts.segment(kind, annotator.next_id()))
            if number >= warm_up:
                samples[kind].add({stage: taken_ms[stage] for stage in CLICK_STAGES})
        annotator.forget()
        tick()
    return {kind: samples[kind].figures(total="total") for kind in KINDS}


@dataclass(frozen=True, slots=True)
class OpenReport:
    """Where an open's time goes, and how finely its encode is cut."""

    stages_ms: dict[str, Figure]
    """By stage, `total` last."""
    encode_steps: int
    longest_step_ms: Figure


def open_stages(
    model: Model,
    picture: Picture,
    *,
    resize: Callable[[RgbImage], object] | None,
    synchronize: Callable[[], None],
    count: int,
    tick: Tick,
    side: int | None = None,
) -> tuple[OpenReport, Embedding]:
    """Open the picture `count` times, once more to warm up.

    `resize` is what the model does to the pixels first, if that can be done apart; `synchronize`
    waits until the device has done what it was given; a longest side of `side` pixels is enough.
    """
    samples, steps_ms = Samples(), [0.0]
    longest: list[float] = []
    for number in range(1 + count):
        laps = Laps()
        hashlib.sha256(picture.data)
        laps.end("digest")
        images.check(picture.data, images.MAX_PIXELS)
        laps.end("header")
        image = images.read(picture.data, images.MAX_PIXELS, side=side)
        laps.end("pixels")
        embedding, steps_ms = _encode(model, image, synchronize)
        laps.end("encode")
        if resize is not None:
            laps.split("encode", "resize", _resize_ms(resize, image.rgb, synchronize))
        if number:
            samples.add({stage: laps.ms.get(stage, 0.0) for stage in OPEN_STAGES})
            longest.append(max(steps_ms))
        tick()
    figures = samples.figures(total="total")
    return OpenReport(figures, len(steps_ms), figure(longest)), embedding


def _resize_ms(
    resize: Callable[[RgbImage], object], pixels: RgbImage, synchronize: Callable[[], None]
) -> float:
    def resize_to_the_end() -> None:
        resize(pixels)
        synchronize()

    return time_ms(resize_to_the_end)


def _encode(
    model: Model, image: ReadImage, synchronize: Callable[[], None]
) -> tuple[Embedding, list[float]]:
    """The embedding, and the milliseconds of each step."""
    steps = model.encode(image.rgb, image.size)
    steps_ms: list[float] = []
    while True:
        laps = Laps()
        try:
            next(steps)
        except StopIteration as end:
            synchronize()
            laps.end("step")
            embedding: Embedding = end.value
            return embedding, [*steps_ms, laps.ms["step"]]
        laps.end("step")
        steps_ms.append(laps.ms["step"])


@dataclass(frozen=True, slots=True)
class SessionBytes:
    """What one session keeps in memory at most."""

    embedding: int
    logits: int

    @property
    def total(self) -> int:
        """Both."""
        return self.embedding + self.logits


def session_bytes(
    model: Model, embedding: Embedding, picture: Picture, *, kept_logits: int
) -> SessionBytes:
    """Click until the session remembers as many logits as it ever does."""
    annotator = Annotator(model, embedding, kept_logits=kept_logits)
    for number, prompts in enumerate(islice(cycle(picture.rounds()), kept_logits)):
        segment = prompts.segment("first", annotator.next_id())
        annotator.ask(segment.model_copy(update={"object": number}))
    return SessionBytes(embedding.nbytes, annotator.session.remembered_bytes)


def _only(kind: type[_E], effects: Sequence[Effect]) -> _E:
    (found,) = (effect for effect in effects if isinstance(effect, kind))
    return found


def _rle_ms(found: Sequence[Mask]) -> float:
    """How long it takes to write these masks' runs, and to read bbox and area off them."""
    changes = [_changes(mask.size, mask.counts) for mask in found]

    def write() -> None:
        for mask, places in zip(found, changes, strict=True):
            written = rle.from_changes(mask.size, places)
            rle.bbox(written)
            rle.area(written)

    return time_ms(write)


@lru_cache(maxsize=256)
def _changes(size: tuple[int, int], counts: bytes) -> NDArray[np.int64]:
    """Where a mask turns on or off, down the columns. Prompts come again and again: so do masks."""
    columns = rle.decode(rle.Rle(size=size, counts=counts)).ravel(order="F")
    return np.flatnonzero(np.diff(columns, prepend=False)).astype(np.int64)


def _rules(model: Model, kept_logits: int) -> SessionRules:
    """The server's, without its rates."""
    return SessionRules(
        protocol=SUBPROTOCOL,
        server="samwire/bench",
        model=ModelInfo(name=model.name, input_size=model.input_size),
        limits=Limits(
            max_frame_bytes=MAX_FRAME_BYTES,
            max_data_bytes=MAX_DATA_BYTES,
            max_image_bytes=1,
            max_image_pixels=images.MAX_PIXELS,
            max_points=MAX_POINTS,
            max_waiting_clicks=16,
            idle_timeout_s=_NEVER,
            segments_per_s=_NEVER,
        ),
        features=FEATURES,
        tokens=(),
        hello_timeout_s=_NEVER,
        upload_timeout_s=_NEVER,
        min_upload_bytes_per_s=1.0,
        segment_burst=_NEVER,
        messages_per_s=_NEVER,
        max_errors_per_min=1.0,
        kept_logits=kept_logits,
    )
