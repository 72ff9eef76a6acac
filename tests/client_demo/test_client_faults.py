"""Callbacks that raise, servers that answer nonsense, and what nobody foresaw: nothing hangs."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from client_demo.client import Client, Progress, SamwireError, connect
from server.protocol import (
    Cancel,
    Close,
    Done,
    MaskBody,
    Open,
    RleBody,
    Segment,
    ServerMessage,
)
from tests.support.scripted_server import MASK, Peer, mask_reply, opened, scripted_server
from tests.support.scripts import answers, then, until

PHOTO = b"not really a photo"
POINT = (1.5, 1.5)
HUGE = MaskBody(
    rle=RleBody(size=(65535, 65535), counts=b"1ooi0"), bbox=(0, 0, 0, 0), area=0, score=0.5
)


class Theirs(Exception):  # noqa: N818 - not ours to name
    """What a caller's own code raises."""


@pytest.mark.parametrize(
    ("theirs", "raised"),
    [
        (Theirs(), Theirs),
        (StopIteration(), RuntimeError),  # as out of any coroutine
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
async def test_what_on_progress_raises_comes_out_of_open_and_all_else_goes_on(
    theirs: BaseException, raised: type[BaseException]
) -> None:
    def on_progress(_progress: Progress) -> None:
        raise theirs

    async def script(peer: Peer) -> None:
        await peer.greets()
        first = await peer.hears(Open)
        waiting = await peer.hears(Open)
        assert waiting.prefetch
        await peer.says(Progress(id=first.id, stage="encode", fraction=0.5))
        assert (await peer.hears(Cancel)).target == first.id
        await peer.says(Done(id=waiting.id))
        second = await peer.hears(Open)
        await peer.says(opened(second.id))
        await peer.answers()

    async with scripted_server(script) as url, connect(url) as sam:
        opening = asyncio.create_task(sam.open(PHOTO, on_progress=on_progress))
        prefetch = asyncio.create_task(after_open(sam))
        with pytest.raises(raised) as failed:
            await opening
        assert failed.value is theirs or failed.value.__cause__ is theirs
        await prefetch
        await sam.open(PHOTO)
        assert (await sam.segment(points=[POINT])).area == 2
        assert sam._link.number == 1


async def test_a_click_that_waits_for_an_open_whose_on_progress_raises_is_told() -> None:
    def on_progress(_progress: Progress) -> None:
        raise Theirs

    async def script(peer: Peer) -> None:
        await peer.greets()
        message = await peer.hears(Open)
        await clicked.wait()
        await peer.says(Progress(id=message.id, stage="encode", fraction=0.5))
        await peer.hears(Cancel)

    clicked = asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        opening = asyncio.create_task(sam.open(PHOTO, on_progress=on_progress))
        await under_way(sam)
        click = asyncio.create_task(sam.segment(points=[POINT]))
        clicked.set()
        with pytest.raises(Theirs):
            await opening
        with pytest.raises(SamwireError, match=r"not_open: .*on_progress raised Theirs") as refused:
            await click

    assert isinstance(refused.value, SamwireError)


def huge(asked: Segment) -> ServerMessage:
    return mask_reply(asked).model_copy(update={"rle": HUGE.rle})


def with_a_huge_candidate(asked: Segment) -> ServerMessage:
    return mask_reply(asked).model_copy(update={"candidates": (MASK, MASK, HUGE)})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (huge, "mask is 65535 x 65535, the image 4 x 3"),
        (with_a_huge_candidate, "mask is 65535 x 65535, the image 4 x 3"),
        (lambda asked: Done(id=asked.id), "of another kind: done"),
        (lambda asked: opened(asked.id), "of another kind: opened"),
    ],
)
@pytest.mark.parametrize("kind", ["click", "hover"])
async def test_an_answer_that_is_none_fails_its_segment_alone(
    answer: Callable[[Segment], ServerMessage], said: str, kind: str
) -> None:
    async def nonsense(peer: Peer) -> None:
        await peer.says(answer(await peer.hears(Segment)))

    async with scripted_server(then(nonsense, answers)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        with pytest.raises(SamwireError, match=said) as refused:
            await (sam.segment if kind == "click" else sam.hover)(points=[POINT])
        assert (await sam.segment(points=[POINT])).area == 2

    assert (refused.value.code, refused.value.fault) == ("internal", "server")


def a_mask(request_id: int) -> ServerMessage:
    return mask_reply(Segment(id=request_id))


def done(request_id: int) -> ServerMessage:
    return Done(id=request_id)


@pytest.mark.parametrize("answer", [a_mask, done])
async def test_an_open_answered_with_something_else_fails(
    answer: Callable[[int], ServerMessage],
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        await peer.says(answer((await peer.hears(Open)).id))
        await peer.says(opened((await peer.hears(Open)).id))

    async with scripted_server(script) as url, connect(url) as sam:
        with pytest.raises(SamwireError, match="of another kind") as refused:
            await sam.open(PHOTO)
        await sam.open(PHOTO)

    assert (refused.value.code, refused.value.fault) == ("internal", "server")


@pytest.mark.parametrize("answer", [a_mask, opened])
async def test_a_prefetch_answered_with_something_else_fails_and_the_image_stays(
    answer: Callable[[int], ServerMessage],
) -> None:
    async def nonsense(peer: Peer) -> None:
        await peer.says(answer((await peer.hears(Open)).id))

    async with scripted_server(then(nonsense, answers)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        with pytest.raises(SamwireError, match="of another kind"):
            await sam.prefetch(PHOTO)
        assert (await sam.segment(points=[POINT])).area == 2


@pytest.mark.parametrize("answer", [a_mask, opened])
async def test_a_close_answered_with_something_else_fails(
    answer: Callable[[int], ServerMessage],
) -> None:
    async def nonsense(peer: Peer) -> None:
        await peer.says(answer((await peer.hears(Close)).id))

    async with scripted_server(then(nonsense)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        with pytest.raises(SamwireError, match="of another kind"):
            await sam.close()


async def test_progress_of_a_click_is_no_answer_to_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        asked = await peer.hears(Segment)
        await peer.says(Progress(id=asked.id, stage="encode", fraction=0.5), mask_reply(asked))

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        assert (await sam.segment(points=[POINT])).area == 2


async def test_what_nobody_foresaw_ends_every_wait_with_its_reason_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        for _ in range(3):
            asked = await peer.hears(Segment | Open)  # type: ignore[arg-type] # either will do
        await peer.says(Done(id=asked.id))

    def breaks(*_: Any) -> None:
        raise Theirs("unforeseen")

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        monkeypatch.setattr(sam, "on_message", breaks)
        waits = [sam.segment(points=[POINT]), sam.segment(points=[POINT]), sam.prefetch(PHOTO)]
        ended = await asyncio.gather(*waits, return_exceptions=True)
        later = await asyncio.gather(sam.open(PHOTO), sam.hover(), return_exceptions=True)
        await sam.close()

    said = "broken: the client failed: Theirs('unforeseen')"
    assert [str(error) for error in (*ended, *later)] == [said] * 5
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == 1
    assert logged[0].exc_info is not None
    assert logged[0].exc_info[0] is Theirs


async def test_an_address_that_is_none_is_said_at_once() -> None:
    with pytest.raises(SamwireError, match="0-65535"):
        await connect("ws://127.0.0.1:99999").__aenter__()


async def under_way(sam: Client) -> None:
    """Until the open has gone out."""
    await until(lambda: sam._image is not None and sam._image.id > 0)


async def after_open(sam: Client) -> None:
    await under_way(sam)
    await sam.prefetch(PHOTO)
