"""Several opens of the same bytes: one encode for all, until the last has left."""

import asyncio
from typing import Any

import pytest

from tests.support.engines import (
    GatedModel,
    Progress,
    SmallMemory,
    idle,
    joined,
    opened,
    opening,
    picture,
    refusal,
    running,
    turns,
    until,
)


async def test_two_opens_of_the_same_bytes_share_one_encode() -> None:
    model = GatedModel()
    async with running(model) as engine:
        first, second = await asyncio.gather(opened(engine), opened(engine))

        assert model.encodes_begun == 1
        assert first.entry is second.entry
        assert first.entry.pins == 2


async def test_an_open_joins_an_encode_under_way() -> None:
    model = GatedModel()
    async with running(model) as engine:
        model.encoding.shut()
        first = opening(engine)
        await model.encoding.reached()
        model.encoding.let(2)
        await model.encoding.reached()
        second = opening(engine)
        third = asyncio.create_task(joined(engine, picture()))
        await turns()
        model.encoding.open()

        image, *_ = await asyncio.gather(first, second, third)
        assert model.encodes_begun == 1
        assert image.entry.pins == 3


async def test_the_first_may_leave_and_the_second_is_served() -> None:
    model = GatedModel()
    async with running(model) as engine:
        model.encoding.shut()
        first = opening(engine)
        await model.encoding.reached()
        second = asyncio.create_task(joined(engine, picture()))
        await turns()

        first.cancel()
        await turns()
        model.encoding.open()

        image = await second
        assert image is not None
        assert image.entry.pins == 1
        assert model.encodes_begun == 1


async def test_when_the_last_leaves_the_encode_stops_and_is_not_cached() -> None:
    model = GatedModel()
    async with running(model) as engine:
        model.encoding.shut()
        both = opening(engine), opening(engine)
        await model.encoding.reached()

        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        assert idle(engine)
        model.encoding.open()

        assert (await opened(engine, picture(1))).width == 160
        assert (model.encodes_begun, model.encodes_ended) == (2, 1)
        assert await joined(engine, picture()) is None


async def test_leaving_in_the_very_last_step_leaves_nothing_either() -> None:
    model = GatedModel(encode_steps=4)
    async with running(model) as engine:
        model.encoding.shut()
        task = opening(engine)
        for _ in range(4):
            await model.encoding.reached()
            model.encoding.let()
        await model.encoding.reached()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        model.encoding.open()
        await until(lambda: model.encodes_ended == 1)

        assert (await opened(engine, picture(1))).width == 160
        assert await joined(engine, picture()) is None
        assert not engine.lost.is_set()


async def test_leaving_while_it_waits_takes_it_out_of_the_line() -> None:
    model = GatedModel()
    async with running(model) as engine:
        model.encoding.shut()
        first = opening(engine, picture(1))
        await model.encoding.reached()
        leaver, stayer = Progress(), Progress()
        second = opening(engine, picture(2), listener=leaver)
        await until(lambda: bool(leaver.heard))
        third = opening(engine, picture(3), listener=stayer)
        await until(lambda: bool(stayer.heard))

        second.cancel()
        await until(lambda: ("waiting", 0.0, 1) in stayer.heard)
        model.encoding.open()

        await asyncio.gather(first, third)
        assert model.encodes_begun == 2


async def test_a_leave_in_the_same_turn_as_the_success_leaks_no_use() -> None:
    model = GatedModel()
    async with running(model, cache_bytes=0) as engine:
        model.encoding.shut()
        task = opening(engine)
        await model.encoding.reached()
        on_step = engine._parts.worker._on_step

        def leave_right_after(*step: Any) -> None:
            on_step(*step)
            if idle(engine):
                task.cancel()

        engine._parts.worker._on_step = leave_right_after
        model.encoding.open()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert (len(engine.cache), engine.cache.nbytes) == (0, 0)


async def test_a_failed_encode_is_told_to_all_and_not_cached() -> None:
    model = SmallMemory(bad_steps=range(1000))
    async with running(model) as engine:
        both = opening(engine), opening(engine)

        assert [await refusal(task) for task in both] == ["overload", "overload"]
        assert len(engine.cache) == 0
        assert await joined(engine, picture()) is None

        model.bad_steps.clear()
        assert (await opened(engine)).cached is False
