import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from server import rle
from server.engine import masks
from server.engine.models.base import Decoded, Embedding
from server.errors import WireError
from server.geometry import Frame
from tests.support.engines import (
    GatedModel,
    LostDevice,
    PoisonedPrompts,
    Progress,
    ask,
    idle,
    opened,
    opening,
    picture,
    running,
    turns,
)

POISON = (80.0, 13.0)
Poison = Callable[[list[Decoded]], list[Decoded]]


def no_numbers(answers: list[Decoded]) -> list[Decoded]:
    return [replace(answer, logits=answer.logits * np.float32("nan")) for answer in answers]


def no_scores(answers: list[Decoded]) -> list[Decoded]:
    return [replace(answer, scores=answer.scores * np.float32("inf")) for answer in answers]


def too_few_scores(answers: list[Decoded]) -> list[Decoded]:
    return [replace(answer, scores=answer.scores[:0]) for answer in answers]


def too_few_answers(answers: list[Decoded]) -> list[Decoded]:
    return answers[1:]


def too_many_answers(answers: list[Decoded]) -> list[Decoded]:
    return answers * 2


def raises(answers: list[Decoded]) -> list[Decoded]:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


async def test_everything_runs_on_one_thread() -> None:
    model = GatedModel()
    async with running(model) as engine:
        image = await opened(engine)
        await ask(engine, image).result()
        await opened(engine, picture(1))

        assert len(model.threads) == 1


async def test_a_mask_is_finished_even_while_the_event_loop_is_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished, finish = threading.Event(), masks.finish

    def finish_and_tell(decoded: Decoded, frame: Frame) -> Any:
        try:
            return finish(decoded, frame)
        finally:
            finished.set()

    monkeypatch.setattr(masks, "finish", finish_and_tell)
    model = GatedModel()
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        asked = ask(engine, image)
        await model.decoding.reached()
        model.decoding.open()

        assert finished.wait(30), "nothing but the two threads was needed for it"
        assert (await asked.result()).masks


async def test_what_arrives_while_the_device_is_busy_shares_the_next_batch() -> None:
    model = GatedModel(max_batch=8)
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image, session="0")
        await model.decoding.reached()
        others = [ask(engine, image, session=str(i)) for i in range(1, 5)]
        model.decoding.open()

        results = [await each.result() for each in (first, *others)]
        assert model.batches == [1, 4]
        assert [result.timings.batch for result in results] == [1, 4, 4, 4, 4]


async def test_a_batch_holds_no_more_than_warm_up_measured() -> None:
    model = GatedModel(max_batch=3)
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        others = [ask(engine, image, session=str(i)) for i in range(7)]
        model.decoding.open()

        for each in (first, *others):
            await each.result()
        assert model.batches == [1, 3, 3, 1]


async def test_different_images_share_a_batch_and_each_gets_its_own_mask() -> None:
    model = GatedModel()
    async with running(model) as engine:
        images = [await opened(engine, picture(i, width=100 + 10 * i)) for i in range(3)]
        alone = [await ask(engine, image).result() for image in images]
        model.decoding.shut()
        first = ask(engine, images[0])
        await model.decoding.reached()
        together = [ask(engine, image, session=str(i)) for i, image in enumerate(images)]
        model.decoding.open()
        await first.result()

        for expected, each, image in zip(alone, together, images, strict=True):
            result = await each.result()
            assert result.timings.batch == 3
            assert result.masks == expected.masks
            assert result.masks[0].size == (120, image.width)


async def test_clicks_are_answered_between_the_steps_of_an_encode() -> None:
    model = GatedModel(encode_steps=4)
    async with running(model) as engine:
        image = await opened(engine)
        model.encoding.shut()
        slow = opening(engine, picture(1))
        await model.encoding.reached()
        click = ask(engine, image)
        model.encoding.let()

        await click.result()
        assert not slow.done()
        model.encoding.open()
        await slow


async def test_opens_go_on_under_clicks_without_end() -> None:
    model = GatedModel(encode_steps=4, max_batch=1)
    async with running(model) as engine:
        image = await opened(engine)
        encode = opening(engine, picture(1))
        clicks = [ask(engine, image, session=str(i)) for i in range(3)]
        for turn in range(400):  # some always wait: the device is never free of clicks
            clicks.append(ask(engine, image, session=str(turn % 4)))
            await clicks.pop(0).result()
            if encode.done():
                break

        assert encode.done()
        assert (await encode).width == 160


@pytest.mark.parametrize("poison", [raises, too_few_answers, too_many_answers])
async def test_a_prompt_that_breaks_its_batch_fails_alone(
    poison: Poison, caplog: pytest.LogCaptureFixture
) -> None:
    model = PoisonedPrompts(poison)
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        good = [ask(engine, image, session=str(i)) for i in range(3)]
        bad = ask(engine, image, POISON, session="bad")
        model.decoding.open()

        assert await bad.error() == "internal"
        for each in (first, *good):
            assert (await each.result()).masks[0].area > 0
        assert model.batches == [1, 4, 1, 1, 1, 1]
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("poison", [no_numbers, no_scores, too_few_scores])
async def test_nonsense_for_one_prompt_is_no_mask_for_another(poison: Poison) -> None:
    model = PoisonedPrompts(poison)
    async with running(model) as engine:
        image = await opened(engine)

        assert await ask(engine, image, POISON).error() == "internal"
        assert (await ask(engine, image).result()).masks[0].area > 0
        assert engine.ready


async def test_a_lost_device_is_told_to_all_and_to_whoever_runs_the_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = LostDevice()
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        others = [ask(engine, image, session=str(i)) for i in range(3)]
        model.lost = True
        model.decoding.open()

        assert [await each.error() for each in (first, *others)] == ["restarting"] * 4
        assert engine.lost.is_set()
        assert not engine.ready
        assert await ask(engine, image).error() == "restarting"
        assert "the device was lost" in caplog.text
        assert "DeviceLostError" in caplog.text


async def test_a_device_lost_in_an_encode_is_told_too() -> None:
    model = LostDevice()
    async with running(model) as engine:
        model.lost = True
        with pytest.raises(WireError, match="restarting"):
            await opened(engine)

        assert engine.lost.is_set()
        assert len(engine.cache) == 0


async def test_a_failing_encode_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(GatedModel):
        def before_step(self) -> None:
            if self.encodes_begun == 1:
                raise RuntimeError("expected 3 channels")

    async with running(Broken()) as engine:
        with pytest.raises(WireError, match="internal"):
            await opened(engine)

        assert (await opened(engine)).width == 160
    assert "expected 3 channels" in caplog.text


async def test_what_is_cancelled_before_its_batch_never_reaches_the_device() -> None:
    model = GatedModel()
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        gone, stays = ask(engine, image, session="a"), ask(engine, image, session="b")
        engine.cancel(gone.job)
        model.decoding.open()

        await first.result()
        await stays.result()
        assert model.batches == [1, 1]
        assert not gone.started.is_set()
        assert not gone.outcome.done()


async def test_what_is_cancelled_in_its_batch_is_never_finished() -> None:
    model = GatedModel()
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        gone = ask(engine, image, session="a")
        await model.decoding.reached()
        engine.cancel(gone.job)
        model.decoding.open()
        await ask(engine, image).result()

        assert gone.started.is_set()
        assert not gone.outcome.done()
        assert idle(engine)


async def test_cancelling_what_was_answered_changes_nothing() -> None:
    async with running(GatedModel()) as engine:
        image = await opened(engine)
        click = ask(engine, image)
        await click.result()
        engine.cancel(click.job)

        assert idle(engine)
        await ask(engine, image).result()


async def test_cancelled_work_is_not_retried_one_by_one() -> None:
    model = PoisonedPrompts(raises)
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        bad = ask(engine, image, POISON, session="bad")
        gone = ask(engine, image, session="gone")
        model.decoding.let()
        await model.decoding.reached()
        engine.cancel(gone.job)
        model.decoding.open()

        await first.result()
        assert await bad.error() == "internal"
        assert model.batches == [1, 2, 1]


async def test_a_callback_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    async with running(GatedModel()) as engine:
        image = await opened(engine)
        click = ask(engine, image)
        click.job.on_started = click.job.on_done = broken

        await ask(engine, image, session="other").result()
        await turns()
        assert idle(engine)
        assert not engine.lost.is_set()
    assert "a fault of ours" in caplog.text


async def test_the_device_waits_when_masks_are_finished_more_slowly() -> None:
    model = GatedModel(max_batch=1)
    async with running(model) as engine:
        image = await opened(engine)
        release = threading.Event()
        engine._parts.worker._post.submit(release.wait)
        clicks = [ask(engine, image, session=str(i)) for i in range(6)]
        await clicks[1].started.wait()
        await turns(200)

        assert model.batches == [1, 1]
        release.set()
        for each in clicks:
            await each.result()
        assert len(model.batches) == 6


@pytest.mark.parametrize("on_cpu", [True, False])
async def test_an_encode_waits_for_masks_that_are_finished_on_its_cores(
    monkeypatch: pytest.MonkeyPatch, *, on_cpu: bool
) -> None:
    monkeypatch.setattr("server.engine.worker.MASKS_FIRST_S", 60.0)
    read = asyncio.Event()

    class Telling(GatedModel):
        def encode(self, *image: Any) -> Generator[float, None, Embedding]:
            read.set()
            return super().encode(*image)

    model = Telling()
    model.on_cpu = on_cpu
    async with running(model) as engine:
        image = await opened(engine)
        read.clear()
        release = threading.Event()
        engine._parts.worker._post.submit(release.wait)
        click = ask(engine, image)
        await click.started.wait()
        encode = opening(engine, picture(1))
        await read.wait()
        await turns(50) if on_cpu else await encode

        assert model.encodes_begun == (1 if on_cpu else 2)
        release.set()
        await click.result()
        await encode


async def test_an_encode_does_not_wait_for_masks_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.engine.worker.MASKS_FIRST_S", 0.001)
    async with running(GatedModel()) as engine:
        image = await opened(engine)
        release = threading.Event()
        engine._parts.worker._post.submit(release.wait)
        click = ask(engine, image)
        await click.started.wait()

        assert (await opening(engine, picture(1))).width == 160
        assert not click.outcome.done()
        release.set()
        await click.result()


async def test_an_encode_goes_on_while_too_many_masks_wait_for_more_decodes() -> None:
    model = GatedModel(max_batch=1)
    model.on_cpu = False
    async with running(model) as engine:
        image = await opened(engine)
        release = threading.Event()
        engine._parts.worker._post.submit(release.wait)
        clicks = [ask(engine, image, session=str(i)) for i in range(6)]

        assert (await opening(engine, picture(1))).width == 160
        assert model.batches == [1, 1]
        release.set()
        for each in clicks:
            await each.result()


async def test_nobody_waits_for_a_mask_that_another_gives() -> None:
    async with running(GatedModel()) as engine:
        image = await opened(engine)
        release = threading.Event()
        engine._parts.priors.submit(release.wait)
        given = ask(engine, image, prior=rle.encode(np.ones((120, 160), np.bool_)), session="giver")

        await ask(engine, image, session="other").result()
        assert not given.started.is_set()
        release.set()
        await given.result()


async def test_waits_and_times_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running(GatedModel()) as engine:
        image = await opened(engine, listener=Progress())
        timings = (await ask(engine, image).result()).timings

        assert image.encode_ms >= 0
        assert min(timings.queue_ms, timings.decode_ms, timings.post_ms) >= 0
        assert timings.batch == 1
    assert caplog.text == ""
