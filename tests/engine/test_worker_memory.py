"""The worker when memory is short."""

import pytest

from server.engine.jobs import OpenImage
from server.errors import WireError
from tests.support.engines import SmallMemory, ask, opened, picture, running


async def test_out_of_memory_halves_the_batch_until_it_fits() -> None:
    model = SmallMemory(fits=2)
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        others = [ask(engine, image, session=str(i)) for i in range(7)]
        model.decoding.open()

        for each in (first, *others):
            await each.result()
        assert model.batches == [1, 7, 4, 2, 2, 3, 2, 1]


async def test_the_failed_call_holds_no_memory_when_it_is_tried_again() -> None:
    model = SmallMemory(fits=1)
    async with running(model) as engine:
        image = await opened(engine)
        model.decoding.shut()
        first = ask(engine, image)
        await model.decoding.reached()
        others = [ask(engine, image, session=str(i)) for i in range(4)]
        model.decoding.open()
        for each in (first, *others):
            await each.result()

        assert len(model.scratch) > 5
        assert model.leaked == 0


async def test_out_of_memory_frees_first_what_nobody_uses_then_a_session_then_refuses() -> None:
    model = SmallMemory(fits=0)
    freed: list[str] = []

    def spare_sessions() -> bool:
        freed.append(f"session, {len(engine.cache)} left")
        engine.release(spared)
        return True

    async with running(model, spare_sessions=spare_sessions) as engine:
        spared = await opened(engine, picture(1))
        engine.release(await opened(engine, picture(2)))
        image = await opened(engine)
        assert len(engine.cache) == 3

        assert await ask(engine, image).error() == "overload"
        assert freed == ["session, 2 left"]
        assert len(engine.cache) == 1
        assert model.batches == [1, 1, 1]


async def test_sessions_are_spared_until_one_had_an_image_that_nobody_else_has_open() -> None:
    model = SmallMemory(fits=0)
    idle: list[OpenImage | None] = []

    def spare_sessions() -> bool:
        if not idle:
            return False
        image = idle.pop()
        if image is not None:
            engine.release(image)
        model.fits = 0 if idle else 1
        return True

    async with running(model, spare_sessions=spare_sessions) as engine:
        idle += [await opened(engine, picture(1)), await opened(engine, picture(1)), None, None]
        image = await opened(engine)

        await ask(engine, image).result()
        assert (idle, len(engine.cache)) == ([], 1)


async def test_a_prompt_that_fits_once_memory_is_free_is_answered() -> None:
    model = SmallMemory(fits=0)
    async with running(model) as engine:
        engine.release(await opened(engine, picture(2)))
        image = await opened(engine)
        model.decoding.shut()
        click = ask(engine, image)
        await model.decoding.reached()
        model.decoding.let()
        await model.decoding.reached()
        model.fits = 1
        model.decoding.open()

        await click.result()
        assert len(engine.cache) == 1


async def test_out_of_memory_with_nothing_to_free_is_overload_at_once() -> None:
    model = SmallMemory(fits=0)
    async with running(model) as engine:
        image = await opened(engine)
        click = ask(engine, image)

        found = await click.outcome
        assert isinstance(found, WireError)
        assert (found.code, found.retry_after) == ("overload", 1.0)
        assert model.batches == [1]
        model.fits = 1
        await ask(engine, image).result()


async def test_an_encode_out_of_memory_begins_again_when_memory_came_free() -> None:
    model = SmallMemory(bad_steps=[8])
    async with running(model) as engine:
        engine.release(await opened(engine, picture(1)))  # steps 1 to 5
        image = await opened(engine, picture(2))

        assert (image.width, model.encodes_begun, model.leaked) == (160, 3, 0)
        assert len(engine.cache) == 1


async def test_an_encode_out_of_memory_is_refused_when_nothing_came_free() -> None:
    model = SmallMemory(bad_steps=[2])
    async with running(model) as engine:
        with pytest.raises(WireError) as refused:
            await opened(engine)
        assert (refused.value.code, model.encodes_begun) == ("overload", 1)

        assert (await opened(engine)).width == 160


async def test_an_encode_that_never_fits_is_refused_and_ends_no_session_for_nothing() -> None:
    model = SmallMemory()
    spared: list[int] = []

    def spare_sessions() -> bool:
        spared.append(1)
        engine.release(idle)
        return True

    async with running(model, spare_sessions=spare_sessions) as engine:
        idle = await opened(engine, picture(1))
        engine.release(await opened(engine, picture(2)))
        model.bad_steps = set(range(1000))

        with pytest.raises(WireError, match="overload"):
            await opened(engine)
        assert (spared, model.encodes_begun) == ([1], 2 + 3)
