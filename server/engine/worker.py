"""The loop that owns the device: one thread runs the model, a coroutine feeds it from the queue.

The device is reserved first and the batch closed last: only when the thread is free does the queue
say what goes next, so whatever arrived meanwhile shares the batch. Masks are finished on a second
thread while the device goes on; but an encode that runs on the same cores first waits for them a
moment, which is sooner for both. Nothing here decides who goes first (`queue.py`) or what an open
means (`opens.py`); what it owns is failure: a batch that fails is retried one by one, so that one
bad prompt fails alone; out of memory is answered with freed memory and half the batch; a lost
device ends the engine. When masks are finished more slowly than decoded, no decode is begun.
"""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from server.engine import masks
from server.engine.jobs import DecodeJob, EncodeJob
from server.engine.models.base import (
    Decoded,
    DeviceLostError,
    Embedding,
    Model,
    OutOfMemoryError,
)
from server.engine.observer import Observer
from server.engine.queue import Batch, EncodeStep, Queue
from server.engine.threads import Threads
from server.engine.types import MaskResult, Timings
from server.errors import WireError
from server.geometry import Frame

__all__ = ["MASKS_FIRST_S", "Worker"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

MASKS_FIRST_S = 0.025
"""So long an encode waits, on a CPU, while masks are finished: as long as the dearest takes."""

_TRIES = 3  # of one piece of work: as it is, with the cache emptied, with sessions ended


@dataclass(frozen=True, slots=True)
class _DecodedBatch:
    """Decoded together; their masks are being finished."""

    decode_ms: float
    results: list[Future[MaskResult | None]]


class Worker:
    """Runs what the queue says on one device thread, until stopped.

    Args:
        model: used on the device thread only.
        queue: used on the event loop only.
        device: the thread that loaded the model.
        wake: set by whoever queues something or makes it ready.
        on_step: told after each encode step: the job, and its embedding, an error or the fraction.
        free_memory: frees the next thing that can be spared; whether anything came free.
        on_lost: the device is gone for good.
    """

    def __init__(
        self,
        model: Model,
        queue: Queue[DecodeJob, EncodeJob],
        *,
        device: Threads,
        wake: asyncio.Event,
        on_step: Callable[[EncodeJob, Embedding | WireError | float], None],
        free_memory: Callable[[], bool],
        on_lost: Callable[[], None],
        observer: Observer,
    ) -> None:
        self._model = model
        self._queue = queue
        self._on_step = on_step
        self._free_memory = free_memory
        self._on_lost = on_lost
        self._observer = observer
        self._device = device
        self._post = Threads("masks")
        self._wake = wake
        self._finishing: set[asyncio.Task[None]] = set()
        self._stood_s = 0.0
        """How long an encode has waited for these; 0 when there are none."""
        self._stopping = False

    @property
    def busy_s(self) -> float:
        """How long the device, or the masks' thread, has been at its present piece of work."""
        return max(self._device.busy_s, self._post.busy_s)

    async def on_device(self, work: Callable[[], _T]) -> _T:
        """Run `work` on the device thread."""
        return await asyncio.get_running_loop().run_in_executor(self._device, work)

    async def run(self) -> None:
        """Feed the device until `stop`."""
        while not self._stopping:
            self._wake.clear()
            work = self._queue.next(
                encode_ready=self._encode_is_ready(),
                decodes=len(self._finishing) <= self._queue.max_batch,
            )
            if work is None:
                await self._wake.wait()
                continue
            if isinstance(work, EncodeStep) and self._masks_go_first():
                await self._stand_still()
                continue
            started_at = time.monotonic()
            if isinstance(work, Batch):
                await self._decode(work.jobs)
            else:
                await self._step(work.encode)
            self._queue.spent(work, time.monotonic() - started_at)

    async def stop(self) -> None:
        """Let the threads end; what still runs on them is not waited for."""
        self._stopping = True
        self._wake.set()
        self._device.shutdown()
        self._post.shutdown()
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)

    def _masks_go_first(self) -> bool:
        """Whether a step would slow the masks that clicks wait for, and they the step."""
        return self._model.on_cpu and bool(self._finishing) and self._stood_s < MASKS_FIRST_S

    async def _stand_still(self) -> None:
        """Until something happens, or the masks have gone first for long enough."""
        began_at = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MASKS_FIRST_S - self._stood_s):
                await self._wake.wait()
        stood_s = time.monotonic() - began_at
        if self._finishing:
            self._stood_s += stood_s
        self._queue.stood(stood_s)

    def _encode_is_ready(self) -> bool:
        return bool(self._queue.encodes) and self._queue.encodes[0].steps is not None

    async def _decode(self, jobs: Sequence[DecodeJob]) -> None:
        now = time.monotonic()
        jobs = [job for job in jobs if not job.ended]
        for job in jobs:
            job.start(now)
        await self._decode_or_split(jobs)

    async def _decode_or_split(self, jobs: Sequence[DecodeJob], tries: int = 1) -> None:
        """Decode as one batch; if that fails, find out who is to blame."""
        jobs = [job for job in jobs if not job.ended]
        if not jobs:
            return
        decoded = await self._attempt(lambda: self._decode_batch(jobs))
        if isinstance(decoded, OutOfMemoryError):
            await self._decode_with_less(jobs, tries)
        elif isinstance(decoded, DeviceLostError):
            self._fail(jobs, _restarting())
            self._lose(decoded)
        elif isinstance(decoded, Exception):
            await self._decode_one_by_one(jobs, decoded)
        else:
            self._observer.decoded([job.queue_ms for job in jobs], decoded.decode_ms)
            for job, result in zip(jobs, decoded.results, strict=True):
                self._see_to_end(job, result)

    def _decode_batch(self, jobs: Sequence[DecodeJob]) -> _DecodedBatch:
        """Decode, and hand over straight from the device thread: no mask waits for the loop."""
        started_at = time.monotonic()
        answers = self._model.decode([(job.image.entry.embedding, job.request) for job in jobs])
        if len(answers) != len(jobs):
            raise ValueError(f"the model gave {len(answers)} answers to {len(jobs)} prompts")
        decode_ms = (time.monotonic() - started_at) * 1e3
        finish = partial(self._finish, decode_ms=decode_ms, batch=len(jobs))
        pairs = zip(jobs, answers, strict=True)
        return _DecodedBatch(decode_ms, [self._post.submit(finish, *pair) for pair in pairs])

    def _finish(
        self, job: DecodeJob, decoded: Decoded, *, decode_ms: float, batch: int
    ) -> MaskResult | None:
        """On the post-processing thread: the masks; none for a client that left meanwhile."""
        if job.ended:
            return None
        started_at = time.monotonic()
        frame = Frame(job.image.width, job.image.height, self._model.input_size)
        found, logits = masks.finish(decoded, frame)
        post_ms = (time.monotonic() - started_at) * 1e3
        return MaskResult(found, logits, Timings(job.queue_ms, decode_ms, post_ms, batch))

    async def _decode_with_less(self, jobs: Sequence[DecodeJob], tries: int) -> None:
        """Out of memory: free something, halve; one prompt alone is tried while something frees."""
        if len(jobs) > 1:
            self._free_memory()
            half = (len(jobs) + 1) // 2
            await self._decode_or_split(jobs[:half])
            await self._decode_or_split(jobs[half:])
        elif tries < _TRIES and self._free_memory():
            await self._decode_or_split(jobs, tries + 1)
        else:
            self._fail(jobs, _overload())

    async def _decode_one_by_one(self, jobs: Sequence[DecodeJob], error: Exception) -> None:
        if len(jobs) > 1:
            _log.warning("a batch of %d failed, retrying one by one: %r", len(jobs), error)
            error.__traceback__ = None  # and with it the batch's tensors
            for job in jobs:
                await self._decode_or_split([job])
            return
        _log.error("a decode failed", exc_info=error)
        self._fail(jobs, WireError("internal", "this prompt could not be decoded"))

    async def _attempt(self, work: Callable[[], _T]) -> _T | Exception:
        """Run on the device; an exception is returned.

        A traceback keeps every frame's tensors alive, and with them the memory a retry needs.
        """
        try:
            return await self.on_device(work)
        except OutOfMemoryError as error:
            _log.warning("the device is out of memory: %s", error)
            failure = error.with_traceback(None)
        # Whatever a model raises must fail one request, not the loop that serves all.
        except Exception as error:  # noqa: BLE001
            return error
        failure.__context__ = failure.__cause__ = None
        gc.collect()
        return failure

    def _lose(self, error: DeviceLostError) -> None:
        _log.error("the device was lost", exc_info=error)
        self._on_lost()

    def _see_to_end(self, job: DecodeJob, result: Future[MaskResult | None]) -> None:
        task = asyncio.create_task(self._end(job, result))
        self._finishing.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        if not self._finishing:
            self._stood_s = 0.0
        self._wake.set()

    async def _end(self, job: DecodeJob, finished: Future[MaskResult | None]) -> None:
        """Tell the outcome when there is one."""
        try:
            result = await asyncio.wrap_future(finished)
        except WireError as refused:
            # Its traceback holds the frames that hold the job, and all the batch's logits.
            job.end(refused.with_traceback(None))
        # A fault of ours in one mask must not end the loop that serves all.
        except Exception:  # noqa: BLE001
            _log.exception("post-processing failed")
            job.end(WireError("internal", "this mask could not be finished"))
        else:
            if result is not None:
                self._observer.postprocessed(result.timings.post_ms)
                job.end(result)
        finally:
            del finished  # it holds the failure, whose traceback holds this frame

    async def _step(self, job: EncodeJob) -> None:
        started_at = time.monotonic()
        outcome = await self._attempt(lambda: self._advance(job))
        if isinstance(outcome, OutOfMemoryError):
            # The generator is spent; only a new one can try again, and only if memory came free.
            job.steps = None
            job.retries += 1
            retry = job.retries < _TRIES and self._free_memory()
            self._on_step(job, 0.0 if retry else _overload())
        elif isinstance(outcome, DeviceLostError):
            self._on_step(job, _restarting())
            self._lose(outcome)
        elif isinstance(outcome, Exception):
            _log.error("an encode failed", exc_info=outcome)
            self._on_step(job, WireError("internal", "this image could not be encoded"))
        else:
            job.encode_ms += (time.monotonic() - started_at) * 1e3
            self._on_step(job, outcome)

    @staticmethod
    def _advance(job: EncodeJob) -> Embedding | float:
        """One step: the fraction done, or the embedding."""
        steps = job.steps
        if steps is None:  # the last who waited for it left
            return 0.0
        try:
            return next(steps)
        except StopIteration as done:
            embedding: Embedding = done.value
            return embedding

    @staticmethod
    def _fail(jobs: Sequence[DecodeJob], error: WireError) -> None:
        for job in jobs:
            job.end(error)


def _overload() -> WireError:
    return WireError("overload", "the device has no memory for this now", retry_after=1.0)


def _restarting() -> WireError:
    return WireError("restarting", "the device was lost; the server restarts")
