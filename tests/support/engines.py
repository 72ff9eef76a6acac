"""A real engine on a real loop, with models that stop where a test wants them, or misbehave."""

import asyncio
import contextlib
import hashlib
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import pytest

from server.engine.engine import Engine, EngineSettings
from server.engine.fake import FakeModel
from server.engine.jobs import DecodeJob, OpenImage, ProgressListener
from server.engine.models.base import (
    Decoded,
    DeviceLostError,
    Embedding,
    Model,
    OutOfMemoryError,
)
from server.engine.observer import Observer
from server.engine.queue import DecodeKind
from server.engine.types import DecodeRequest, Logits, MaskResult, Prompt, RgbImage, Size, Want
from server.errors import WireError
from server.rle import Rle

EMBEDDING_BYTES = 128 * 128 * 4
SETTINGS = EngineSettings(
    cache_bytes=8 * EMBEDDING_BYTES,
    max_image_pixels=1_000_000,
    max_waiting_bytes=10_000_000,
    reduced_jpeg=False,
    request_timeout_s=20.0,
    open_timeout_s=30.0,
    device_timeout_s=30.0,
    max_decode_ms=30.0,
)
_PATIENCE_S = 20.0  # a test that waits longer has failed

Batch = Sequence[tuple[Embedding, DecodeRequest]]


class Gate:
    """Passed at once while open; while shut, one at a time as the test lets them."""

    def __init__(self) -> None:
        self._is_open = True
        self._arrived = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)

    def shut(self) -> None:
        """Whoever comes from now on waits."""
        self._is_open = False

    def open(self) -> None:
        """Let everybody through."""
        self._is_open = True
        self._permits.release(1000)

    def let(self, count: int = 1) -> None:
        """Let so many through."""
        self._permits.release(count)

    async def reached(self) -> None:
        """Wait until somebody stands at the shut gate."""
        assert await asyncio.to_thread(self._arrived.acquire, timeout=_PATIENCE_S)

    def go_through(self) -> None:
        """On the device thread."""
        if not self._is_open:
            self._arrived.release()
            assert self._permits.acquire(timeout=_PATIENCE_S)


class GatedModel(FakeModel):
    """A gate before each step of an encode and before each batch; remembers what it was given."""

    def __init__(self, *, encode_steps: int = 4, max_batch: int = 8) -> None:
        super().__init__(encode_steps=encode_steps, max_batch=max_batch)
        self.encoding = Gate()
        self.decoding = Gate()
        self.encodes_begun = 0
        self.encodes_ended = 0
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def encode(
        self, image: RgbImage, size: Size | None = None
    ) -> Generator[float, None, Embedding]:
        self.encodes_begun += 1
        steps = super().encode(image, size)
        while True:
            self.threads.add(threading.get_ident())
            self.encoding.go_through()
            self.before_step()
            try:
                fraction = next(steps)
            except StopIteration as end:
                self.encodes_ended += 1
                embedding: Embedding = end.value
                return embedding
            yield fraction

    def decode(self, batch: Batch) -> list[Decoded]:
        self.threads.add(threading.get_ident())
        self.batches.append(len(batch))
        self.decoding.go_through()
        return self.answer(batch)

    def before_step(self) -> None:
        """For models that fail in an encode."""

    def answer(self, batch: Batch) -> list[Decoded]:
        """For models that fail in a decode."""
        return super().decode(batch)


class SeeingModel(FakeModel):
    """Remembers the shapes of the pixels it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def encode(
        self, image: RgbImage, size: Size | None = None
    ) -> Generator[float, None, Embedding]:
        self.seen.append(image.shape)
        return super().encode(image, size)


class SmallMemory(GatedModel):
    """Fails beyond `fits` prompts at once, and at the encode steps named; counts leaked arrays."""

    def __init__(self, fits: int = 1000, bad_steps: Sequence[int] = ()) -> None:
        super().__init__()
        self.fits = fits
        self.bad_steps = set(bad_steps)
        self.steps = 0
        self.scratch: list[weakref.ref[Any]] = []
        self.leaked = 0

    def _allocate(self, *, fails: bool) -> None:
        self.leaked += sum(ref() is not None for ref in self.scratch)
        scratch = np.zeros(1 << 20, np.uint8)
        self.scratch.append(weakref.ref(scratch))
        if fails:
            raise OutOfMemoryError("out of memory")

    def before_step(self) -> None:
        self.steps += 1
        self._allocate(fails=self.steps in self.bad_steps)

    def answer(self, batch: Batch) -> list[Decoded]:
        self._allocate(fails=len(batch) > self.fits)
        return super().answer(batch)


class PoisonedPrompts(GatedModel):
    """Raises, or answers nonsense, for prompts whose first point lies at y = 13."""

    def __init__(self, poison: Callable[[list[Decoded]], list[Decoded]]) -> None:
        super().__init__()
        self._poison = poison

    def answer(self, batch: Batch) -> list[Decoded]:
        answers = super().answer(batch)
        bad = any(request.prompt.points[0][1] == 13 for _, request in batch)
        return self._poison(answers) if bad else answers


class LostDevice(GatedModel):
    """Gone for good as soon as `lost` is set."""

    lost = False

    def before_step(self) -> None:
        if self.lost:
            raise DeviceLostError("CUDA error: an illegal memory access")

    def answer(self, batch: Batch) -> list[Decoded]:
        self.before_step()
        return super().answer(batch)


@dataclass
class Ask:
    """A decode asked for, and what came of it."""

    job: DecodeJob
    started: asyncio.Event
    outcome: "asyncio.Future[MaskResult | WireError]"

    async def result(self) -> MaskResult:
        found = await asyncio.wait_for(self.outcome, _PATIENCE_S)
        assert isinstance(found, MaskResult), found
        return found

    async def error(self) -> str:
        found = await asyncio.wait_for(self.outcome, _PATIENCE_S)
        assert isinstance(found, WireError)
        return found.code


@dataclass
class Progress:
    """A listener that remembers."""

    heard: list[tuple[str, float, int | None]] = field(default_factory=list)

    def __call__(self, stage: str, fraction: float, ahead: int | None = None) -> None:
        self.heard.append((stage, fraction, ahead))

    def stages(self) -> list[str]:
        return [stage for stage, _, _ in self.heard]


@contextlib.asynccontextmanager
async def running(
    model: Model,
    *,
    observer: Observer | None = None,
    spare_sessions: Callable[[], bool] = lambda: False,
    **settings: float,
) -> AsyncIterator[Engine]:
    """A started engine; stopped, with all gates open, at the end."""
    engine = Engine(
        lambda: model,
        replace(SETTINGS, **settings),  # type: ignore[arg-type] # floats and ints alike
        observer=observer,
        spare_sessions=spare_sessions,
    )
    await engine.start()
    try:
        yield engine
    finally:
        if isinstance(model, GatedModel):
            model.encoding.open()
            model.decoding.open()
        await engine.stop()


def picture(seed: int = 0, width: int = 160, height: int = 120) -> bytes:
    """A PNG unlike those of other seeds."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


async def opened(
    engine: Engine,
    data: bytes | None = None,
    *,
    principal: str = "anna",
    prefetch: bool = False,
    listener: ProgressListener | None = None,
) -> OpenImage:
    return await engine.open(
        principal, data or picture(), None, prefetch=prefetch, listener=listener or Progress()
    )


def opening(engine: Engine, data: bytes | None = None, **kwargs: Any) -> "asyncio.Task[OpenImage]":
    return asyncio.create_task(opened(engine, data, **kwargs))


def ask(
    engine: Engine,
    image: OpenImage,
    point: tuple[float, float] = (80.0, 60.0),
    *,
    session: str = "s",
    kind: DecodeKind = "click",
    want: Want = "best",
    prior: Logits | Rle | None = None,
) -> Ask:
    outcome: asyncio.Future[MaskResult | WireError] = asyncio.get_running_loop().create_future()
    started = asyncio.Event()
    prompt = Prompt(((*point, 1),))
    job = engine.submit(session, kind, image, prompt, want, prior, started.set, outcome.set_result)
    return Ask(job, started, outcome)


async def joined(engine: Engine, data: bytes, principal: str = "anna") -> OpenImage | None:
    """Open without the bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return await engine.join(principal, digest, prefetch=False, listener=Progress())


async def refusal(task: "asyncio.Task[Any]") -> str:
    """The code of the error it ends with."""
    with pytest.raises(WireError) as refused:
        await task
    return refused.value.code


async def turns(count: int = 20) -> None:
    """Let loop and threads run for a while."""
    for _ in range(count):
        await asyncio.to_thread(lambda: None)


def idle(engine: Engine) -> bool:
    """Whether no open and no decode is owed an answer."""
    return not engine._live and (engine._running is None or not engine._running.opens._jobs)


async def until(condition: Callable[[], bool]) -> None:
    """Let loop and threads run until it holds."""
    while not condition():
        await asyncio.to_thread(lambda: None)
