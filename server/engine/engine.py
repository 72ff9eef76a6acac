"""The engine's face: open an image, ask for a mask, let go. Everything here is on the event loop.

`start` loads and warms the model before the engine is ready; `stop` finishes what runs within a
deadline. Health is told, not acted on: whoever runs the engine decides what a lost device means.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import TypeVar

from server.engine import masks
from server.engine.cache import Cache
from server.engine.jobs import CacheKey, DecodeJob, EncodeJob, OpenImage, ProgressListener
from server.engine.models.base import Model
from server.engine.observer import Observer, SilentObserver
from server.engine.opens import Opens, stopping
from server.engine.queue import DecodeKind, Queue
from server.engine.threads import Threads
from server.engine.types import DecodeRequest, Logits, MaskResult, Prompt, Want
from server.engine.worker import Worker
from server.errors import WireError
from server.geometry import Frame
from server.rle import Rle

__all__ = ["Engine", "EngineSettings"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The engine's bounds."""

    cache_bytes: int
    max_image_pixels: int
    max_waiting_bytes: int
    """Of compressed images that wait for the encoder."""
    reduced_jpeg: bool
    """Of a JPEG no more pixels are read than the model needs."""
    request_timeout_s: float
    open_timeout_s: float
    device_timeout_s: float
    max_decode_ms: float
    """A batch takes at most so long, and is made where warm-up saw it save time."""


class Engine:
    """Serves one model to all sessions of the process.

    Args:
        load: makes the model; called on a thread, so that the loop stays responsive.
        settings: the bounds.
        observer: told what took how long.
        spare_sessions: called when the device's memory is short and no unused embedding is left:
            ends a session that can be spared, which lets go of its image before this returns, and
            says whether there was one.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        settings: EngineSettings,
        *,
        observer: Observer | None = None,
        spare_sessions: Callable[[], bool] = lambda: False,
    ) -> None:
        self._load = load
        self._settings = settings
        self._observer = observer or SilentObserver()
        self._spare_sessions = spare_sessions
        self._queue: Queue[DecodeJob, EncodeJob] = Queue()
        self._live: set[DecodeJob] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: _Running | None = None
        self._stopped = False
        self.cache: Cache[CacheKey] = Cache(settings.cache_bytes)
        self.lost = asyncio.Event()
        """Set when the device is gone for good."""

    @property
    def model(self) -> Model:
        """The model served; only after `start`."""
        return self._parts.model

    @property
    def ready(self) -> bool:
        """Whether opens and decodes will be answered: warm, and the device answers."""
        return self._running is not None and not self._stopped and self.device_answers

    @property
    def device_answers(self) -> bool:
        """Whether the device is there, and its piece of work, if any, has not taken too long."""
        if self._running is None:
            return not self.lost.is_set()
        busy_s = max(self._running.worker.busy_s, self._running.opens.busy_s)
        return not self.lost.is_set() and busy_s < self._settings.device_timeout_s

    @property
    def decodes_waiting(self) -> int:
        """Clicks and hovers in the queue."""
        return self._queue.decodes_waiting

    async def start(self) -> None:
        """Load the model, run every shape once, start serving."""
        device = Threads("device")
        # On the thread that will use it: each thread that calls torch gets helpers of its own, and
        # with more helpers than cores they sleep at every meeting, which doubles a decode's time.
        model = await asyncio.get_running_loop().run_in_executor(device, self._load)
        wake = asyncio.Event()
        opens = Opens(
            model,
            self.cache,
            self._queue,
            wake=wake,
            max_pixels=self._settings.max_image_pixels,
            max_waiting_bytes=self._settings.max_waiting_bytes,
            reduced_jpeg=self._settings.reduced_jpeg,
            observer=self._observer,
        )
        worker = Worker(
            model,
            self._queue,
            device=device,
            wake=wake,
            on_step=opens.on_step,
            free_memory=self._free_memory,
            on_lost=self.lost.set,
            observer=self._observer,
        )
        self._queue.max_batch = await worker.on_device(
            lambda: model.warm_up(self._settings.max_decode_ms)
        )
        self._running = _Running(model, worker, opens, Threads("priors"), wake)
        self._spawn(worker.run())
        self._spawn(self._expire_forever())

    async def open(
        self,
        principal: str,
        data: bytes,
        sha256: str | None,
        *,
        prefetch: bool,
        listener: ProgressListener,
    ) -> OpenImage:
        """Open an image: cached, joined or encoded. Cancelling leaves it.

        Raises:
            WireError: `bad_image`, `too_many_pixels`, `sha256_mismatch`, `overload`, `timeout`,
                `internal`.
        """
        opens = self._parts.opens
        return await self._in_time(
            opens.open(principal, data, sha256, prefetch=prefetch, listener=listener)
        )

    async def join(
        self, principal: str, sha256: str, *, prefetch: bool, listener: ProgressListener
    ) -> OpenImage | None:
        """Open by digest; None when the bytes are needed.

        Raises:
            WireError: as `open`.
        """
        opens = self._parts.opens
        return await self._in_time(
            opens.join(principal, sha256, prefetch=prefetch, listener=listener)
        )

    def release(self, image: OpenImage) -> None:
        """Let go of an open image; it may be evicted from now on."""
        self.cache.unpin(image.entry)

    def submit(
        self,
        session: Hashable,
        kind: DecodeKind,
        image: OpenImage,
        prompt: Prompt,
        want: Want,
        prior: Logits | Rle | None,
        on_started: Callable[[], None],
        on_done: Callable[[MaskResult | WireError], None],
    ) -> DecodeJob:
        """Queue a decode; `on_started` and `on_done` come on the event loop."""
        ready = None if isinstance(prior, dict) else prior
        request = DecodeRequest(prompt, want, ready)
        now = time.monotonic()
        job = DecodeJob(session, kind, image, request, on_started, on_done, now, self._live)
        self._live.add(job)
        if self._stopped:
            asyncio.get_running_loop().call_soon(job.end, stopping())
        elif isinstance(prior, dict):
            self._spawn(self._push_with_mask(job, prior))
        else:
            self._push(job)
        return job

    def cancel(self, job: DecodeJob) -> None:
        """Nobody wants this any more: drop it from the queue, or drop its result."""
        job.drop()
        self._queue.cancel(job.session, job.kind, job)

    async def stop(self) -> None:
        """End; what is still owed is answered `restarting`."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._running is not None:
            await self._running.opens.stop()
            await self._running.worker.stop()
            self._running.priors.shutdown()
        for job in list(self._live):
            job.end(stopping())

    @property
    def _parts(self) -> "_Running":
        if self._running is None:
            raise WireError("overload", "the model is still loading", retry_after=1.0)
        return self._running

    def _push(self, job: DecodeJob) -> None:
        self._queue.push(job.session, job.kind, job)
        self._parts.wake.set()

    async def _push_with_mask(self, job: DecodeJob, mask: Rle) -> None:
        """Turn a given mask into logits first; that costs a resize, so not on the loop."""
        model, frame = self.model, self._frame(job.image)

        def read() -> Logits | None:
            # What was cancelled while it waited must not keep others waiting.
            return None if job.ended else masks.logits_of(mask, frame, model.logits_size)

        try:
            logits = await asyncio.get_running_loop().run_in_executor(self._parts.priors, read)
        except WireError as refused:
            job.end(refused)
            return
        # As for every other mask: a fault of ours ends one request.
        except Exception:  # noqa: BLE001
            _log.exception("a given mask could not be read")
            job.end(WireError("internal", "this prior could not be read"))
            return
        if not job.ended:
            job.request = DecodeRequest(job.request.prompt, job.request.want, logits)
            self._push(job)

    def _frame(self, image: OpenImage) -> Frame:
        return Frame(image.width, image.height, self.model.input_size)

    async def _in_time(self, opening: Coroutine[None, None, _T]) -> _T:
        try:
            async with asyncio.timeout(self._settings.open_timeout_s):
                return await opening
        except TimeoutError:
            text = f"the image was not encoded within {self._settings.open_timeout_s:g} s"
            raise WireError("timeout", text) from None

    def _free_memory(self) -> bool:
        """Evict what nobody uses; when there is nothing, end sessions until there is something."""
        # Who is spared next may have no image, or one that others have open too.
        while not self.cache.evict_unused():
            if not self._spare_sessions():
                return False
        return True

    async def _expire_forever(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.expire(time.monotonic())

    def expire(self, now: float) -> None:
        """Answer `timeout` to every decode that has waited too long."""
        limit_s = self._settings.request_timeout_s
        for job in [job for job in self._live if now - job.queued_at > limit_s]:
            self._queue.cancel(job.session, job.kind, job)
            job.end(WireError("timeout", f"no mask within {limit_s:g} s", retry_after=1.0))

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("an engine task ended", exc_info=task.exception())
            self.lost.set()


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists only once the model is loaded."""

    model: Model
    worker: Worker
    opens: Opens
    priors: Threads
    """For masks given as priors: those who give none do not wait for them."""
    wake: asyncio.Event
