"""Opening images: from the cache, by joining an encode under way, or by a new encode.

Opens of the same bytes by the same principal share one encode (single flight); it stops when the
last of them leaves, and a failed one is not kept. Compressed bytes may wait for their turn, pixels
never do: an image is read when it is next on the device.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from server.engine import images
from server.engine.cache import Cache
from server.engine.jobs import CacheKey, DecodeJob, EncodeJob, OpenImage, ProgressListener, Waiter
from server.engine.models.base import Embedding, Model
from server.engine.observer import Observer
from server.engine.queue import Queue
from server.engine.threads import Threads
from server.engine.types import ReadImage
from server.errors import WireError

__all__ = ["Opens", "stopping"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Opens:
    """Every open that is under way.

    Args:
        model: makes the encode's steps; they run on the worker's thread.
        cache: where embeddings are kept.
        queue: where encodes wait.
        wake: set when an encode has become ready.
        max_pixels: the largest image, in pixels, refused by its header.
        max_waiting_bytes: of images that wait for the encoder, whoever sent them and has left.
        reduced_jpeg: read of a JPEG no more pixels than the model needs.
    """

    def __init__(
        self,
        model: Model,
        cache: Cache[CacheKey],
        queue: Queue[DecodeJob, EncodeJob],
        *,
        wake: asyncio.Event,
        max_pixels: int,
        max_waiting_bytes: int,
        reduced_jpeg: bool,
        observer: Observer,
    ) -> None:
        self._model = model
        self._cache = cache
        self._queue = queue
        self._wake = wake
        self._max_pixels = max_pixels
        self._max_waiting_bytes = max_waiting_bytes
        self._enough = model.needed_side if reduced_jpeg else None
        # How an image is read is preprocessing too: embeddings of equal keys are equal.
        self._made_by = model.fingerprint + ("-reduced" if reduced_jpeg else "")
        self._observer = observer
        self._stopped = False
        self._jobs: dict[CacheKey, EncodeJob] = {}
        self._threads = Threads("images", 2)
        self._readers: set[asyncio.Task[None]] = set()

    @property
    def busy_s(self) -> float:
        """How long the image that has been read the longest is being read; 0 when none is."""
        return self._threads.busy_s

    async def open(
        self,
        principal: str,
        data: bytes,
        sha256: str | None,
        *,
        prefetch: bool,
        listener: ProgressListener,
    ) -> OpenImage:
        """Open these bytes.

        Raises:
            WireError: `bad_image`, `too_many_pixels`, `sha256_mismatch`, `overload`, `internal`,
                `restarting`.
        """
        self._check_running()
        digest = await self._off_loop(lambda: self._inspect(data))
        if sha256 is not None and sha256 != digest:
            text = f"expected bytes of this SHA-256, got {digest}"
            raise WireError("sha256_mismatch", text, field="sha256")
        self._check_running()
        key = CacheKey(principal, digest, self._made_by)
        cached = self._cache.pin(key)
        if cached is not None:
            return OpenImage(cached, cached=True)
        job = self._jobs.get(key)
        if job is None:
            self._check_room(len(data))
            job = self._jobs[key] = EncodeJob(key, data, time.monotonic())
            self._queue.push_encode(job, prefetch=prefetch)
        return await self._wait_for(job, prefetch=prefetch, listener=listener)

    async def join(
        self, principal: str, sha256: str, *, prefetch: bool, listener: ProgressListener
    ) -> OpenImage | None:
        """Open without the bytes; None when they are needed.

        Raises:
            WireError: as `open`.
        """
        self._check_running()
        key = CacheKey(principal, sha256, self._made_by)
        cached = self._cache.pin(key)
        if cached is not None:
            return OpenImage(cached, cached=True)
        job = self._jobs.get(key)
        if job is None:
            return None
        return await self._wait_for(job, prefetch=prefetch, listener=listener)

    def on_step(self, job: EncodeJob, outcome: Embedding | WireError | float) -> None:
        """The worker ran one step of `job`."""
        if self._jobs.get(job.key) is not job:
            return  # the last waiter left meanwhile
        if isinstance(outcome, WireError):
            self._fail(job, outcome)
        elif isinstance(outcome, Embedding):
            self._succeed(job, outcome)
        else:
            job.tell("encode", outcome)
        self._read_next()

    async def stop(self) -> None:
        """Fail what is under way and let the threads end."""
        self._stopped = True
        for job in list(self._jobs.values()):
            self._fail(job, stopping())
        self._threads.shutdown()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def _check_running(self) -> None:
        if self._stopped:
            raise stopping()

    def _check_room(self, size: int) -> None:
        """A session's own budget ends with the session; an encode that another joined goes on."""
        if size + sum(len(job.data) for job in self._jobs.values()) > self._max_waiting_bytes:
            text = "too many images wait for the encoder"
            raise WireError("overload", text, retry_after=1.0)

    async def _wait_for(
        self, job: EncodeJob, *, prefetch: bool, listener: ProgressListener
    ) -> OpenImage:
        if not prefetch:
            self._queue.promote_encode(job)
        waiter = Waiter(asyncio.get_running_loop().create_future(), listener)
        job.waiters.append(waiter)
        job.ahead = self._queue.encodes_ahead(job)
        waiter.tell("waiting", 0.0, job.ahead)
        self._read_next()
        try:
            return await waiter.outcome
        except asyncio.CancelledError:
            self._leave(job, waiter)
            raise

    def _leave(self, job: EncodeJob, waiter: Waiter) -> None:
        outcome = waiter.outcome
        if outcome.done() and not outcome.cancelled() and outcome.exception() is None:
            # Opened and cancelled in the same turn of the loop: nobody else will let go of it.
            self._cache.unpin(outcome.result().entry)
        if waiter in job.waiters:
            job.waiters.remove(waiter)
        if not job.waiters and self._wanted(job):
            self._forget(job)
            self._read_next()

    def _succeed(self, job: EncodeJob, embedding: Embedding) -> None:
        self._observer.encoded(job.wait_ms, job.decode_ms, job.encode_ms)
        entry = self._cache.put(job.key, embedding)
        for waiter in self._forget(job):
            entry.pins += 1
            image = OpenImage(entry, False, job.wait_ms, job.decode_ms, job.encode_ms)
            waiter.outcome.set_result(image)
        self._cache.unpin(entry)

    def _fail(self, job: EncodeJob, error: WireError) -> None:
        for waiter in self._forget(job):
            waiter.outcome.set_exception(error)

    def _forget(self, job: EncodeJob) -> list[Waiter]:
        """The job is over; returns who still waits for it."""
        del self._jobs[job.key]
        self._queue.finish_encode(job)
        job.steps = None
        # An error of its reading, which they are told, knows the job: the file would stay too.
        waiters, job.waiters = job.waiters, []
        return [waiter for waiter in waiters if not waiter.outcome.done()]

    def _read_next(self) -> None:
        """Read the pixels of the encode whose turn it is."""
        for ahead, job in enumerate(self._queue.encodes):
            if ahead and ahead != job.ahead:
                job.tell("waiting", 0.0, ahead)
            job.ahead = ahead
            if not ahead and job.steps is None and not job.reading:
                job.reading = True
                task = asyncio.create_task(self._read(job))
                self._readers.add(task)
                task.add_done_callback(self._readers.discard)
        self._wake.set()

    async def _read(self, job: EncodeJob) -> None:
        started_at = time.monotonic()
        job.wait_ms = (started_at - job.queued_at) * 1e3
        job.tell("decode", 0.0)

        def read() -> ReadImage | None:
            # What was given up while it waited must not keep others waiting.
            if not self._wanted(job):
                return None
            return images.read(job.data, self._max_pixels, side=self._enough, checked=True)

        try:
            image = await self._off_loop(read)
        except WireError as refused:
            self._fail_reading(job, refused)
        # A fault of ours in one image must not keep those behind it waiting.
        except Exception:  # noqa: BLE001
            _log.exception("an image could not be read")
            self._fail_reading(job, WireError("internal", "this image could not be read"))
        else:
            job.decode_ms = (time.monotonic() - started_at) * 1e3
            if image is not None and self._wanted(job):
                job.steps = self._model.encode(image.rgb, image.size)
        job.reading = False
        self._read_next()

    def _fail_reading(self, job: EncodeJob, error: WireError) -> None:
        if self._wanted(job):
            self._fail(job, error)

    def _wanted(self, job: EncodeJob) -> bool:
        return self._jobs.get(job.key) is job

    def _inspect(self, data: bytes) -> str:
        images.check(data, self._max_pixels)
        return hashlib.sha256(data).hexdigest()

    async def _off_loop(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except asyncio.CancelledError:
            self._check_running()  # it was the stop that cancelled it, before it began
            raise


def stopping() -> WireError:
    """What is told to whoever is still owed something, or comes too late."""
    return WireError("restarting", "the server is stopping")
