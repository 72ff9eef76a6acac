"""What the client does when connections end, and when a server is newer, or broken."""

import asyncio

import numpy as np
import pytest

from client_demo import link
from client_demo.client import ConnectionLost, SamwireError, connect
from server.errors import WireError
from server.protocol import (
    Close,
    Data,
    Done,
    Draining,
    Error,
    Open,
    Segment,
    Send,
    pack,
)
from tests.support.scripted_server import (
    MASK,
    WELCOME,
    Peer,
    mask_reply,
    scripted_server,
)
from tests.support.scripts import (
    abort,
    answers,
    check,
    hangs_up,
    opens,
    then,
    until,
)

PHOTO = b"not really a photo"
POINT = (1.5, 1.5)
EXPECTED = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], np.bool_)


@pytest.mark.parametrize("code", [1006, 1011, 1012, 1013, 4102, 4204])
async def test_the_client_comes_back_and_reopens_by_digest(code: int) -> None:
    async def again(peer: Peer) -> None:
        asked.append(await peer.opens())
        await peer.answers()

    asked: list[Open] = []
    first = then(lambda peer: abort(peer) if code == 1006 else peer.hangs_up(code))

    async with scripted_server(first, again) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await until(lambda: sam._link._socket is None)
        assert np.array_equal((await sam.segment(points=[POINT])).mask(), EXPECTED)

    assert asked[0].sha256 is not None


@pytest.mark.parametrize(
    ("code", "reason", "known"),
    [
        (4008, "abuse: too many frames in error", "abuse"),
        (1009, "frame_too_big: expected at most 1048576 bytes", "frame_too_big"),
        (1002, "", "connection_lost"),
        (4099, "unheard of", "connection_lost"),
    ],
)
async def test_the_client_stays_away_when_it_is_told_to(code: int, reason: str, known: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.hears(Segment)
        await peer.hangs_up(code, reason)

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        for _ in range(2):  # what is under way fails, and everything after
            with pytest.raises(SamwireError) as refused:
                await sam.segment(points=[POINT])
        assert refused.value.code == known


async def test_an_open_after_the_last_connection_says_why_there_is_none() -> None:
    last = then(hangs_up(4008, "abuse: too many frames in error"))
    async with scripted_server(last) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await until(lambda: sam._link._socket is None)
        with pytest.raises(SamwireError) as refused:
            await sam.open(PHOTO)
        assert refused.value.code == "abuse"


async def test_an_open_that_waits_for_a_connection_can_be_cancelled() -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def never_greets(_peer: Peer) -> None:
        asked.set()
        await over.wait()

    idle = then(hangs_up(4204, "idle: no message for 300 s"))
    async with scripted_server(idle, never_greets) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await until(lambda: sam._link._socket is None)
        waiting = asyncio.create_task(sam.open(PHOTO))
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        over.set()


async def test_an_idle_client_comes_back_only_when_its_user_acts() -> None:
    acted = asyncio.Event()

    async def again(peer: Peer) -> None:
        assert acted.is_set()
        await peer.opens()
        await peer.answers()

    idle = then(hangs_up(4204, "idle: no message for 300 s"))
    async with scripted_server(idle, again) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await until(lambda: sam._link._socket is None)
        await a_round_trip()  # a client that does not wait would be back by now
        acted.set()
        await sam.segment(points=[POINT])


async def test_what_is_under_way_when_the_connection_ends_is_lost() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.hears(Segment)
        await peer.hears(Segment)
        await abort(peer)

    async with scripted_server(script, then(answers)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        click, hover = await asyncio.gather(
            sam.segment(points=[POINT]), sam.hover(points=[POINT]), return_exceptions=True
        )
        assert (await sam.segment(points=[POINT])).area == 2

    assert isinstance(click, ConnectionLost)
    assert hover is None


async def test_an_open_under_way_goes_on_over_the_next_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        await peer.says(Send(id=(await peer.hears(Open)).id))
        await peer.hears(Data)
        await peer.hangs_up(4204)  # even this one: somebody waits

    async with scripted_server(script, opens) as url, connect(url) as sam:
        assert (await sam.open(bytes(3 * 262_144))).cached


async def test_an_open_that_a_stopping_server_turns_away_is_asked_for_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        stopping = WireError("restarting", "the server is stopping")
        await peer.says(Error.of(stopping, (await peer.hears(Open)).id))
        await peer.hangs_up(1012)

    async with scripted_server(script, opens) as url, connect(url) as sam:
        assert (await sam.open(PHOTO)).cached


@pytest.mark.parametrize("announced", [(), (Draining(deadline_s=0.0),)])
async def test_a_stopping_server_that_does_not_hang_up_is_left(
    announced: tuple[Draining, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        stopping = WireError("restarting", "the server is stopping")
        await peer.says(*announced, Error.of(stopping, (await peer.hears(Open)).id))
        await peer.socket.wait_closed()

    monkeypatch.setattr(link, "GRACE_S", 0.0)
    async with scripted_server(script, opens) as url, connect(url) as sam:
        assert (await sam.open(PHOTO)).cached


async def test_a_stopping_server_has_the_time_it_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        click, prefetch = await peer.hears(Segment), await peer.hears(Open)
        stopping = WireError("restarting", "the server is stopping")
        await peer.says(Draining(deadline_s=60.0), Error.of(stopping, prefetch.id))
        await a_round_trip()  # a client that does not wait would be gone by now
        await peer.says(mask_reply(click))
        await peer.hangs_up(1012)

    async def again(peer: Peer) -> None:
        await peer.opens()
        await peer.says(Done(id=(await peer.hears(Open)).id))

    monkeypatch.setattr(link, "GRACE_S", 0.0)
    async with scripted_server(script, again) as url, connect(url) as sam:
        await sam.open(PHOTO)
        click = asyncio.create_task(sam.segment(points=[POINT]))
        await until(lambda: len(sam._requests.about(0)) == 1)
        await sam.prefetch(PHOTO)
        assert (await click).area == 2


async def test_after_a_reconnect_the_mask_to_refine_is_sent_along() -> None:
    heard: list[Segment] = []
    first = then(answers, lambda peer: peer.hangs_up(1012))
    second = then(*[check(heard)] * 3)

    async with scripted_server(first, second) as url, connect(url) as sam:
        await sam.open(PHOTO)
        mask = await sam.segment(points=[POINT])
        await until(lambda: sam._link._socket is None)
        await sam.segment(points=[POINT, (3, 1, 0)])
        await sam.segment(points=[POINT, (3, 1, 0), (2, 1)])
        await sam.segment(points=[POINT], prior=mask)

    assert heard[0].prior == MASK.rle
    assert heard[1].prior_is_automatic  # the server has seen the one before
    assert heard[2].prior == MASK.rle


async def test_after_a_reconnect_a_mask_longer_than_the_server_takes_is_not_sent_along() -> None:
    async def again(peer: Peer) -> None:
        limits = WELCOME.limits.model_copy(update={"max_prior_bytes": 2})
        await peer.opens(welcome=WELCOME.model_copy(update={"limits": limits}))
        heard.extend([await peer.answers(), await peer.answers()])

    heard: list[Segment] = []
    first = then(answers, lambda peer: peer.hangs_up(1012))

    async with scripted_server(first, again) as url, connect(url) as sam:
        await sam.open(PHOTO)
        mask = await sam.segment(points=[POINT])
        await until(lambda: sam._link._socket is None)
        await sam.segment(points=[POINT, (3, 1, 0)])
        await sam.segment(points=[POINT], prior=mask)

    assert [(asked.prior, asked.prior_is_automatic) for asked in heard] == [(None, False)] * 2


async def test_an_image_that_cannot_be_reopened_is_closed() -> None:
    async def again(peer: Peer) -> None:
        await peer.greets()
        message = await peer.hears(Open)
        await peer.says(Error(id=message.id, code="overload", message="", fault="overload"))
        await peer.says(Done(id=(await peer.hears(Close)).id))

    async with scripted_server(then(hangs_up(1012)), again) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await until(lambda: sam._link.number == 2)
        await sam.close()
        with pytest.raises(SamwireError, match="not_open"):
            await sam.segment(points=[POINT])


async def test_messages_of_a_newer_server_are_ignored() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.socket.send(b"\x81\xa4type\xa9something")
        await peer.says(Draining(deadline_s=5.0))
        await peer.says(Error(code="brand_new", message="?", fault="server"))
        await peer.answers()

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        assert (await sam.segment(points=[POINT])).area == 2


@pytest.mark.parametrize("frame", [b"\xc1", "text", pack(Send(id=1))[:-1]])
async def test_a_frame_that_is_none_ends_it(frame: str | bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.socket.send(frame)
        await peer.socket.wait_closed()
        assert peer.socket.close_code == 1002

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await until(lambda: sam._link._error is not None)
        with pytest.raises(ConnectionLost):
            await sam.segment(points=[POINT])


async def a_round_trip() -> None:
    async with scripted_server(opens) as url, connect(url) as other:
        await other.open(PHOTO)
