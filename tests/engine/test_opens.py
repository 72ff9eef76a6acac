import asyncio
import hashlib

import pytest

from server import rle
from server.engine import images
from server.errors import WireError
from tests.support.engines import (
    EMBEDDING_BYTES,
    GatedModel,
    Progress,
    SeeingModel,
    ask,
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
from tests.support.pictures import jpeg, scene


async def test_an_image_is_opened_with_its_size_and_digest() -> None:
    async with running(GatedModel()) as engine:
        data = picture(width=160, height=120)
        image = await opened(engine, data)

        assert (image.width, image.height, image.cached) == (160, 120, False)
        assert image.sha256 == hashlib.sha256(data).hexdigest()
        assert (len(engine.cache), image.entry.pins) == (1, 1)


async def test_an_image_opened_again_costs_no_encode() -> None:
    model = GatedModel()
    async with running(model) as engine:
        first = await opened(engine)
        engine.release(first)
        again = await opened(engine)

        assert again.cached
        assert again.entry is first.entry
        assert model.encodes_begun == 1


async def test_an_image_is_opened_by_its_digest_alone() -> None:
    async with running(GatedModel()) as engine:
        assert await joined(engine, picture()) is None
        image = await opened(engine)

        again = await joined(engine, picture())

        assert again is not None
        assert again.entry is image.entry
        assert image.entry.pins == 2


async def test_an_image_is_walked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[bytes] = []
    monkeypatch.setattr(images, "excess", walked.append)
    async with running(GatedModel()) as engine:
        await opened(engine)

    assert walked == [picture()]


async def test_nobody_opens_anothers_image_by_its_digest() -> None:
    async with running(GatedModel()) as engine:
        await opened(engine, principal="anna")

        assert await joined(engine, picture(), principal="bob") is None


async def test_the_same_bytes_of_two_principals_are_encoded_twice() -> None:
    model = GatedModel()
    async with running(model) as engine:
        images = await asyncio.gather(
            opened(engine, principal="anna"), opened(engine, principal="bob")
        )

        assert model.encodes_begun == 2
        assert images[0].entry is not images[1].entry


async def test_a_wrong_digest_is_refused() -> None:
    model = GatedModel()
    async with running(model) as engine:
        with pytest.raises(WireError) as refused:
            await engine.open("anna", picture(), "0" * 64, prefetch=False, listener=Progress())

        assert (refused.value.code, refused.value.field) == ("sha256_mismatch", "sha256")
        assert model.encodes_begun == 0


@pytest.mark.parametrize(
    ("data", "code"), [(b"no image", "bad_image"), (picture(width=2000), "too_many_pixels")]
)
async def test_a_bad_image_is_refused_before_it_queues(data: bytes, code: str) -> None:
    async with running(GatedModel(), max_image_pixels=100_000) as engine:
        assert await refusal(opening(engine, data)) == code
        assert idle(engine)


async def test_an_image_broken_behind_its_header_fails_and_lets_the_next_go_on() -> None:
    async with running(GatedModel()) as engine:
        broken, whole = opening(engine, picture(1)[:5000]), opening(engine, picture(2))

        assert await refusal(broken) == "bad_image"
        assert (await whole).width == 160


async def test_a_jpeg_read_at_a_reduced_scale_is_opened_and_clicked_at_its_own_size() -> None:
    model, data = SeeingModel(), jpeg(scene(2000, 1500)[0])
    async with running(model, reduced_jpeg=True, max_image_pixels=3_000_000) as engine:
        image = await opened(engine, data)
        result = await ask(engine, image, (1900.0, 1400.0)).result()

    assert model.seen == [(750, 1000, 3)]  # 375 x 500 would be less than the fake's 512
    assert (image.width, image.height) == (2000, 1500)
    assert result.masks[0].size == (1500, 2000)
    mask = rle.decode(rle.Rle(size=(1500, 2000), counts=result.masks[0].counts))
    assert mask[1400, 1900]
    assert not mask[700, 950]


async def test_pixels_are_limited_whatever_scale_they_are_read_at() -> None:
    data = jpeg(scene(2000, 1500)[0])
    async with running(GatedModel(), reduced_jpeg=True, max_image_pixels=2_999_999) as engine:
        assert await refusal(opening(engine, data)) == "too_many_pixels"


async def test_embeddings_of_images_read_differently_have_different_names() -> None:
    data, names = jpeg(scene(160, 120)[0]), set()
    for reduced in (False, True):
        async with running(GatedModel(), reduced_jpeg=reduced) as engine:
            image = await opened(engine, data)
            names.add(image.entry.key.fingerprint)
            assert await joined(engine, data) is not None

    assert names == {"fake-1", "fake-1-reduced"}


async def test_progress_runs_from_waiting_to_encode() -> None:
    async with running(GatedModel(encode_steps=4)) as engine:
        progress = Progress()
        await opened(engine, listener=progress)

        assert progress.heard == [
            ("waiting", 0.0, 0),
            ("decode", 0.0, None),
            *[("encode", step / 4, None) for step in range(4)],
        ]


async def test_who_waits_is_told_its_place_once_each_time_it_changes() -> None:
    model = GatedModel()
    async with running(model) as engine:
        model.encoding.shut()
        first = opening(engine, picture(1))
        await model.encoding.reached()
        second, third = Progress(), Progress()
        others = [opening(engine, picture(2), listener=second)]
        await until(lambda: bool(second.heard))
        others.append(opening(engine, picture(3), listener=third))
        await until(lambda: bool(third.heard))
        model.encoding.open()
        await asyncio.gather(first, *others)

        waits = [heard for heard in third.heard if heard[0] == "waiting"]
        assert waits == [("waiting", 0.0, 2), ("waiting", 0.0, 1)]
        assert [ahead for stage, _, ahead in second.heard if stage == "waiting"] == [1]


async def test_pixels_are_read_only_when_it_is_their_turn() -> None:
    model = GatedModel()
    async with running(model) as engine:
        model.encoding.shut()
        waiting = [Progress() for _ in range(4)]
        tasks = [opening(engine, picture(i), listener=each) for i, each in enumerate(waiting)]
        await model.encoding.reached()
        await until(lambda: all(progress.heard for progress in waiting))

        assert sum("decode" in progress.stages() for progress in waiting) == 1

        model.encoding.open()
        await asyncio.gather(*tasks)


async def test_a_prefetch_waits_behind_every_open_until_somebody_opens_it() -> None:
    model = GatedModel()
    async with running(model) as engine:
        model.encoding.shut()
        first = opening(engine, picture(1))
        await model.encoding.reached()
        prefetched = Progress()
        order: list[int] = []
        tasks = [opening(engine, picture(2), prefetch=True, listener=prefetched)]
        await until(lambda: bool(prefetched.heard))
        other = Progress()
        tasks.append(opening(engine, picture(3), listener=other))
        await until(lambda: bool(other.heard))
        assert prefetched.heard[-1] == ("waiting", 0.0, 2)

        opener, last = Progress(), Progress()
        promoted = opening(engine, picture(2), listener=opener)
        await until(lambda: bool(opener.heard))
        tasks += [promoted, opening(engine, picture(4), listener=last)]
        await until(lambda: bool(last.heard))
        assert last.heard[0] == ("waiting", 0.0, 3)  # the prefetch is in the line before it now

        for index, task in enumerate([first, *tasks]):
            task.add_done_callback(lambda _, index=index: order.append(index))  # type: ignore[misc]
        model.encoding.open()
        await asyncio.gather(first, *tasks)

        assert sorted(order) == [0, 1, 2, 3, 4]
        assert order.index(4) == 4
        assert model.encodes_begun == 4


async def test_a_prefetch_is_in_the_cache_when_it_is_done() -> None:
    async with running(GatedModel()) as engine:
        engine.release(await opened(engine, prefetch=True))

        assert (await opened(engine)).cached


async def test_images_beyond_the_budget_are_kept_while_open_and_no_longer() -> None:
    async with running(GatedModel(), cache_bytes=2 * EMBEDDING_BYTES) as engine:
        images = [await opened(engine, picture(seed)) for seed in range(4)]
        assert engine.cache.nbytes == 4 * EMBEDDING_BYTES

        for image in images:
            engine.release(image)
        assert engine.cache.nbytes == 2 * EMBEDDING_BYTES
        assert await joined(engine, picture(0)) is None
        assert await joined(engine, picture(3)) is not None


async def test_an_open_that_takes_too_long_is_told_so_and_leaves() -> None:
    model = GatedModel()
    async with running(model, open_timeout_s=0.05) as engine:
        model.encoding.shut()

        assert await refusal(opening(engine)) == "timeout"
        assert idle(engine)


async def test_joining_an_encode_that_takes_too_long_is_told_so_too() -> None:
    model = GatedModel()
    async with running(model, open_timeout_s=0.2) as engine:
        model.encoding.shut()
        first = opening(engine)
        await model.encoding.reached()

        assert await refusal(asyncio.create_task(joined(engine, picture()))) == "timeout"
        assert await refusal(first) == "timeout"


async def test_a_listener_that_fails_harms_nobody() -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    async with running(GatedModel()) as engine:
        assert (await opened(engine, listener=broken)).width == 160
        assert not engine.lost.is_set()
        assert idle(engine)


async def test_an_open_after_the_stop_is_told_to_come_back() -> None:
    async with running(GatedModel()) as engine:
        await opened(engine)
        await engine.stop()

        assert await refusal(opening(engine)) == "restarting"
        assert await refusal(asyncio.create_task(joined(engine, picture()))) == "restarting"


async def test_images_that_wait_have_their_room_also_when_those_who_sent_them_have_left() -> None:
    model = GatedModel()
    files = [picture(0), picture(1), picture(2)]
    async with running(model, max_waiting_bytes=len(files[0]) + len(files[1])) as engine:
        model.encoding.shut()
        first = opening(engine, files[0])
        await model.encoding.reached()
        heir = asyncio.create_task(joined(engine, files[0]))
        second = opening(engine, files[1])
        await turns()
        first.cancel()
        assert await refusal(opening(engine, files[2])) == "overload"
        model.encoding.open()
        for image in (await heir, await second):
            assert image is not None
        assert not (await opened(engine, files[2])).cached
