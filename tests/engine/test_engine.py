import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

from server import rle
from server.engine import images, masks
from server.engine.engine import Engine
from server.engine.fake import FakeModel
from server.engine.jobs import CacheKey, OpenImage
from server.engine.models.base import Decoded, Embedding
from server.engine.types import Logits, Prompt
from server.errors import WireError
from server.rle import Rle
from tests.support.engines import (
    EMBEDDING_BYTES,
    SETTINGS,
    GatedModel,
    Progress,
    ask,
    idle,
    opened,
    opening,
    picture,
    running,
    turns,
    until,
)


def given_mask(height: int = 120, width: int = 160) -> Rle:
    mask = np.zeros((height, width), np.bool_)
    mask[20:90, 30:110] = True
    return rle.encode(mask)


async def test_it_is_not_ready_before_the_model_is_warm() -> None:
    engine = Engine(GatedModel, SETTINGS)
    assert not engine.ready
    assert idle(engine)

    for early in (
        engine.open("p", picture(), None, prefetch=False, listener=Progress()),
        engine.join("p", "0" * 64, prefetch=False, listener=Progress()),
    ):
        with pytest.raises(WireError) as refused:
            await early
        assert (refused.value.code, refused.value.retry_after) == ("overload", 1.0)

    await engine.start()
    assert engine.ready
    await engine.stop()
    assert not engine.ready


async def test_the_model_is_made_on_a_thread_and_warmed_on_the_devices() -> None:
    threads: list[int] = []

    class Warm(GatedModel):
        def __init__(self) -> None:
            super().__init__()
            threads.append(threading.get_ident())

        def warm_up(self, max_decode_ms: float) -> int:
            threads.append(threading.get_ident())
            return super().warm_up(max_decode_ms)

    engine = Engine(Warm, SETTINGS)
    await engine.start()
    image = await opened(engine)
    await ask(engine, image).result()
    model = engine.model
    await engine.stop()

    assert isinstance(model, Warm)
    assert threading.get_ident() not in threads
    assert model.threads == {threads[1]}


async def test_a_model_that_cannot_be_made_fails_the_start() -> None:
    def load() -> FakeModel:
        raise FileNotFoundError("no such checkpoint")

    engine = Engine(load, SETTINGS)
    with pytest.raises(FileNotFoundError):
        await engine.start()
    assert not engine.ready
    await engine.stop()


async def test_an_engine_that_was_never_started_stops() -> None:
    await Engine(GatedModel, SETTINGS).stop()


async def test_a_click_is_answered_with_mask_logits_and_timings() -> None:
    async with running(GatedModel()) as engine:
        image = await opened(engine)
        click = ask(engine, image)
        result = await click.result()

        assert click.started.is_set()
        assert [mask.size for mask in result.masks] == [(120, 160)]
        assert rle.decode(Rle(size=(120, 160), counts=result.masks[0].counts))[60, 80]
        assert [logits.dtype for logits in result.logits] == [np.float16]
        assert idle(engine)


async def test_candidates_come_best_first_each_with_its_logits() -> None:
    async with running(GatedModel()) as engine:
        result = await ask(engine, await opened(engine), want="all").result()

        scores = [mask.score for mask in result.masks]
        assert len(result.logits) == 3
        assert scores == sorted(scores, reverse=True)


async def test_earlier_logits_are_refined() -> None:
    async with running(GatedModel()) as engine:
        image = await opened(engine)
        first = await ask(engine, image).result()
        alone = await ask(engine, image, (20, 20)).result()
        refined = await ask(engine, image, (20, 20), prior=first.logits[0]).result()

        assert refined.masks != alone.masks


async def test_a_given_mask_is_refined() -> None:
    seen: list[Logits | None] = []

    class Seeing(GatedModel):
        def answer(self, batch: Any) -> Any:
            seen.extend(request.prior for _, request in batch)
            return super().answer(batch)

    async with running(Seeing()) as engine:
        await ask(engine, await opened(engine), prior=given_mask()).result()

    (prior,) = seen
    assert prior is not None
    assert prior.shape == (128, 128)
    assert prior[48, 64] == 10.0
    assert prior[4, 4] == -10.0


@pytest.mark.parametrize(
    ("mask", "field"),
    [
        (Rle(size=(120, 160), counts=b"garbage"), "prior.counts"),
        (Rle(size=(120, 160), counts=b""), "prior.counts"),
        (given_mask(160, 120), "prior.size"),
        (Rle(size=(0, 0), counts=b""), "prior.size"),
        (Rle(size=(2**31, 2**31), counts=b"0"), "prior.size"),
    ],
)
async def test_a_malformed_mask_is_refused_and_harms_nobody(mask: Rle, field: str) -> None:
    async with running(GatedModel()) as engine:
        image = await opened(engine)
        outcome = await ask(engine, image, prior=mask).outcome

        assert isinstance(outcome, WireError)
        assert (outcome.code, outcome.field) == ("bad_field", field)
        assert engine.ready
        await ask(engine, image).result()


async def test_a_given_mask_cancelled_meanwhile_is_not_decoded() -> None:
    model = GatedModel()
    async with running(model) as engine:
        image = await opened(engine)
        gone = ask(engine, image, prior=given_mask())
        engine.cancel(gone.job)
        await ask(engine, image).result()
        await turns()

        assert model.batches == [1]
        assert not gone.outcome.done()


async def test_a_fault_of_ours_in_a_given_mask_ends_that_request_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Odd(GatedModel):
        logits_size = 0

    async with running(Odd()) as engine:
        image = await _blank(engine)
        assert await ask(engine, image, prior=given_mask()).error() == "internal"
        assert engine.ready
    assert "Traceback" in caplog.text


async def _blank(engine: Engine) -> OpenImage:
    """An open image, made without the model."""
    embedding = Embedding(None, 160, 120, 1)
    return OpenImage(engine.cache.put(CacheKey("p", "d", "f"), embedding), cached=False)


async def test_what_waits_too_long_is_told_so_once() -> None:
    model = GatedModel()
    async with running(model, request_timeout_s=5.0) as engine:
        image = await opened(engine)
        model.decoding.shut()
        running_ = ask(engine, image, session="a")
        await model.decoding.reached()
        waiting = ask(engine, image, session="b")

        engine.expire(time.monotonic() + 4.0)
        assert not running_.outcome.done()
        engine.expire(time.monotonic() + 6.0)
        assert [await running_.error(), await waiting.error()] == ["timeout", "timeout"]
        assert idle(engine)

        model.decoding.open()
        await ask(engine, image).result()
        assert model.batches == [1, 1]


async def test_a_device_that_hangs_turns_readiness_off_and_answers_timeout() -> None:
    model = GatedModel()
    async with running(model, device_timeout_s=0.02, request_timeout_s=5.0) as engine:
        image = await opened(engine)
        assert engine.ready
        model.decoding.shut()
        stuck = ask(engine, image)
        await model.decoding.reached()
        await until(lambda: not engine.ready)

        behind = ask(engine, image, session="b")
        engine.expire(time.monotonic() + 6.0)
        assert [await stuck.error(), await behind.error()] == ["timeout", "timeout"]
        assert not engine.lost.is_set()

        model.decoding.open()
        await until(lambda: engine.ready)
        await ask(engine, image).result()


async def test_stopping_tells_everybody_to_come_back() -> None:
    model = GatedModel()
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        clicks = [ask(engine, image, session=str(i)) for i in range(3)]
        await model.decoding.reached()
        open_ = opening(engine, picture(1))
        await until(lambda: bool(engine._parts.opens._jobs))
        await engine.stop()

        assert [await click.error() for click in clicks] == ["restarting"] * 3
        with pytest.raises(WireError, match="restarting"):
            await open_
        assert idle(engine)


async def test_what_is_asked_after_the_stop_is_told_to_come_back() -> None:
    async with running(GatedModel()) as engine:
        image = await opened(engine)
        await engine.stop()
        late = ask(engine, image)
        assert not late.outcome.done()  # never before `submit` has returned

        assert await late.error() == "restarting"


async def test_stopping_twice_is_harmless() -> None:
    async with running(GatedModel()) as engine:
        await engine.stop()
        await engine.stop()


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_holds_an_embedding_once_its_image_is_let_go(fails: bool) -> None:
    refs: list[weakref.ref[Any]] = []

    class Watched(GatedModel):
        def answer(self, batch: Any) -> Any:
            refs.extend(weakref.ref(embedding.features) for embedding, _ in batch)
            answers = super().answer(batch)
            if fails:
                return [Decoded(np.full_like(one.logits, np.nan), one.scores) for one in answers]
            return answers

    async with running(Watched(), cache_bytes=0) as engine:
        gc.disable()  # it must go at once, not when cycles are collected
        try:
            image = await opened(engine)
            for asked in (
                ask(engine, image),
                ask(engine, image, prior=given_mask(), session="b"),
            ):
                assert await (asked.error() if fails else asked.result())
            del asked
            engine.release(image)
            del image

            assert len(refs) == 2
            async with asyncio.timeout(20):  # for the threads to let go of their last call
                await until(lambda: all(ref() is None for ref in refs))
        finally:
            gc.enable()


async def test_hundreds_of_opens_and_clicks_leave_nothing_behind() -> None:
    model = GatedModel(encode_steps=1)
    async with running(model) as engine:
        data = [picture(seed, 40, 30) for seed in range(12)]
        for index in range(300):
            image = await opened(engine, data[index % 12], principal=str(index % 2))
            await ask(engine, image, (20, 15), session=str(index)).result()
            engine.release(image)

        assert idle(engine)
        assert engine.decodes_waiting == 0
        assert engine.cache.nbytes <= 8 * EMBEDDING_BYTES
        assert all(entry.pins == 0 for entry in engine.cache._entries.values())
        assert not engine._live
        assert len(engine._tasks) == 2
        assert not engine._parts.worker._finishing
        assert not engine._parts.opens._readers


async def test_a_loop_of_ours_that_ends_is_as_bad_as_a_lost_device(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(GatedModel()) as engine:

        def broken(**_: object) -> None:
            raise KeyError("a fault of ours")

        engine._queue.next = broken  # type: ignore[method-assign]
        engine._parts.wake.set()
        await asyncio.wait_for(engine.lost.wait(), 10.0)

        assert not engine.ready
    assert "an engine task ended" in caplog.text


async def test_hovers_wait_for_clicks() -> None:
    model = GatedModel(max_batch=1)
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        order: list[str] = []
        hover = ask(engine, image, session="h", kind="hover")
        click = ask(engine, image, session="c")
        for name, each in (("hover", hover), ("click", click)):
            each.outcome.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
        assert engine.decodes_waiting == 2
        model.decoding.open()

        await asyncio.gather(first.result(), hover.result(), click.result())
        assert order == ["click", "hover"]


def test_a_prompt_extends_another_by_more_points_and_the_same_box() -> None:
    one, two = Prompt(((1, 2, 1),)), Prompt(((1, 2, 1), (3, 4, 0)))

    assert two.extends(one)
    assert not one.extends(two)
    assert not one.extends(one)
    assert not Prompt(two.points, (0, 0, 9, 9)).extends(one)


@pytest.mark.parametrize("stuck", ["masks", "images"])
async def test_a_thread_beside_the_device_that_hangs_makes_it_unready(
    monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    began, ends = threading.Event(), threading.Event()

    def hang(*_args: object, **_options: object) -> None:
        began.set()
        ends.wait(10)
        raise WireError("internal", "it was stuck")

    async with running(GatedModel(), device_timeout_s=0.02) as engine:
        image = await opened(engine)
        monkeypatch.setattr(*{"masks": (masks, "finish"), "images": (images, "check")}[stuck], hang)
        waiting = ask(engine, image).error() if stuck == "masks" else refused(engine)
        task = asyncio.create_task(waiting)
        await asyncio.to_thread(began.wait, 10)
        await until(lambda: not engine.ready)
        ends.set()
        assert await task == "internal"
        await until(lambda: engine.ready)


async def refused(engine: Engine) -> str:
    with pytest.raises(WireError) as error:
        await opened(engine, picture(9))
    return error.value.code
