"""Calls that are cut off, by `asyncio.timeout` or a cancelled task, leave nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from client_demo.client import Client, Superseded, connect
from server.protocol import Cancel, Close, Data, Open, Segment, Send
from server.protocol import Superseded as SupersededMessage
from tests.support.scripted_server import Peer, mask_reply, opened, scripted_server
from tests.support.scripts import answers, then, until

PHOTO = b"not really a photo"
POINT = (1.5, 1.5)


async def cut_off_by_a_timeout(call: Awaitable[Any], heard: asyncio.Event) -> None:
    async def within(limit: asyncio.Timeout) -> None:
        async with limit:
            await call

    limit = asyncio.timeout(None)
    limited = asyncio.create_task(within(limit))
    await heard.wait()
    limit.reschedule(0.0)
    with pytest.raises(TimeoutError):
        await limited


async def cut_off_by_its_task(call: Coroutine[Any, Any, Any], heard: asyncio.Event) -> None:
    task = asyncio.create_task(call)
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


CUTS = [cut_off_by_a_timeout, cut_off_by_its_task]


@pytest.mark.parametrize("cut_off", CUTS)
@pytest.mark.parametrize(
    ("call", "kind", "image_stays"),
    [
        (lambda sam: sam.segment(points=[POINT]), Segment, True),
        (lambda sam: sam.hover(points=[POINT]), Segment, True),
        (lambda sam: sam.prefetch(PHOTO), Open, True),
        (lambda sam: sam.open(PHOTO), Open, False),
    ],
)
async def test_a_request_that_is_cut_off_is_given_up_on_the_server_and_forgotten_here(
    cut_off: Callable[..., Awaitable[None]],
    call: Callable[[Client], Coroutine[Any, Any, Any]],
    kind: type[Segment | Open],
    image_stays: bool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        asked = await peer.hears(kind)
        heard.set()
        assert (await peer.hears(Cancel)).target == asked.id
        await peer.says(SupersededMessage(id=asked.id))
        cancelled.set()

    heard, cancelled = asyncio.Event(), asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        tasks = asyncio.all_tasks()
        await cut_off(call(sam), heard)
        await cancelled.wait()
        await until(lambda: nothing_is_left(sam))
        assert (sam._image is not None) == image_stays
        await until(lambda: asyncio.all_tasks() <= tasks)


@pytest.mark.parametrize("cut_off", CUTS)
async def test_a_close_that_is_cut_off_is_forgotten(
    cut_off: Callable[..., Awaitable[None]],
) -> None:
    async def never_answers(peer: Peer) -> None:
        await peer.hears(Close)
        heard.set()

    heard = asyncio.Event()
    async with scripted_server(then(never_answers)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await cut_off(sam.close(), heard)
        await until(lambda: nothing_is_left(sam))


async def test_a_prefetch_that_is_cut_off_sends_no_more_bytes() -> None:
    async def script(peer: Peer) -> None:
        prefetch = await peer.hears(Open)
        await peer.says(Send(id=prefetch.id))
        await peer.hears(Data)
        heard.set()
        message: Data | Cancel = await peer.hears(Data | Cancel)  # type: ignore[arg-type] # either
        while isinstance(message, Data):
            message = await peer.hears(Data | Cancel)  # type: ignore[arg-type] # either
        assert message.target == prefetch.id

    heard = asyncio.Event()
    async with scripted_server(then(script, answers)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await cut_off_by_its_task(sam.prefetch(bytes(30_000_000)), heard)
        assert (await sam.segment(points=[POINT])).area == 2


async def test_hovers_before_one_that_is_cut_off_are_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.hears(Segment)
        overtaking = await peer.hears(Segment)
        heard.set()
        await peer.hears(Cancel)
        await peer.says(SupersededMessage(id=overtaking.id))  # the reply to both

    heard = asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        earlier = asyncio.create_task(sam.hover(points=[POINT]))
        await until(lambda: len(sam._requests.about(0)) == 1)
        await cut_off_by_its_task(sam.hover(points=[POINT]), heard)
        assert await earlier is None


async def test_a_click_that_waits_for_an_open_that_is_cut_off_is_superseded() -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        await peer.hears(Open)
        heard.set()
        await peer.hears(Cancel)

    heard = asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        opening = asyncio.create_task(cut_off_by_its_task(sam.open(PHOTO), heard))
        await until(lambda: sam._image is not None)
        with pytest.raises(Superseded):
            await sam.segment(points=[POINT])
        await opening


async def test_a_click_that_is_cut_off_while_it_waits_for_an_open_leaves_that_alone() -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        message = await peer.hears(Open)
        waits.set()
        await gone.wait()
        await peer.says(opened(message.id))
        await peer.says(mask_reply(await peer.hears(Segment)))

    waits, gone = asyncio.Event(), asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        opening = asyncio.create_task(sam.open(PHOTO))
        await until(lambda: sam._image is not None)
        await cut_off_by_its_task(sam.segment(points=[POINT]), waits)
        gone.set()
        await opening
        assert (await sam.segment(points=[POINT])).area == 2


def nothing_is_left(sam: Client) -> bool:
    return not (sam._requests._asked or sam._prefetches or sam._background)
