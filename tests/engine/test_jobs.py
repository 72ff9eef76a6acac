import asyncio

import pytest

from server.engine.cache import Cache
from server.engine.jobs import CacheKey, DecodeJob, EncodeJob, OpenImage, Waiter
from server.engine.models.base import Embedding
from server.engine.types import DecodeRequest, MaskResult, Prompt
from server.errors import WireError
from tests.support.engines import Progress

ERROR = WireError("internal", "for the test")


def open_image() -> OpenImage:
    cache: Cache[CacheKey] = Cache(100)
    entry = cache.put(CacheKey("anna", "ab" * 32, "fake"), Embedding(None, 4, 3, 10))
    return OpenImage(entry, cached=False)


def decode_job(told: list[object], live: set[DecodeJob]) -> DecodeJob:
    def done(outcome: MaskResult | WireError) -> None:
        told.append(outcome)

    request = DecodeRequest(Prompt(), "single")
    job = DecodeJob(
        "s", "click", open_image(), request, lambda: told.append("started"), done, 1.0, live
    )
    live.add(job)
    return job


def test_an_open_image_tells_size_and_digest() -> None:
    image = open_image()

    assert (image.width, image.height, image.sha256) == (4, 3, "ab" * 32)


def test_a_start_tells_the_wait() -> None:
    told: list[object] = []
    job = decode_job(told, set())
    job.start(now=1.5)

    assert (told, job.queue_ms) == (["started"], 500.0)


def test_the_outcome_is_told_once() -> None:
    told: list[object] = []
    live: set[DecodeJob] = set()
    job = decode_job(told, live)

    job.end(ERROR)
    job.end(WireError("timeout", "too late"))

    assert told == [ERROR]
    assert not live


def test_nothing_is_told_to_who_has_left() -> None:
    told: list[object] = []
    live: set[DecodeJob] = set()
    job = decode_job(told, live)

    job.drop()
    job.end(ERROR)

    assert (told, live, job.ended) == ([], set(), True)


def test_no_answer_is_owed_any_more_when_it_is_told() -> None:
    live: set[DecodeJob] = set()
    owed: list[int] = []
    job = decode_job([], live)
    job.on_done = lambda _: owed.append(len(live))

    job.end(ERROR)

    assert owed == [0]


def test_a_callback_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    job = decode_job([], set())

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    job.on_started = job.on_done = broken
    job.start(2.0)
    job.end(ERROR)

    assert caplog.text.count("RuntimeError: a fault of ours") == 2


async def test_every_waiter_hears_even_beside_one_that_raises() -> None:
    class Broken(Progress):
        def __call__(self, stage: str, fraction: float, ahead: int | None = None) -> None:
            super().__call__(stage, fraction, ahead)
            raise RuntimeError("a fault of ours")

    listeners = [Broken(), Progress()]
    job = EncodeJob(CacheKey("anna", "ab", "fake"), b"", 0.0)
    loop = asyncio.get_running_loop()
    job.waiters = [Waiter(loop.create_future(), listener) for listener in listeners]

    job.tell("encode", 0.5)

    assert [listener.heard for listener in listeners] == [[("encode", 0.5, None)]] * 2
