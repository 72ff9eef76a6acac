"""Many sessions on one server: apart, bounded, freed."""

import asyncio
import contextlib
import hashlib
from itertools import pairwise

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from server import rle
from server.protocol import (
    Close,
    Data,
    Done,
    Error,
    Hello,
    MaskReply,
    Open,
    Opened,
    Release,
    RleBody,
    Segment,
    Send,
    Superseded,
    pack,
)
from tests.support.figures import figure, resident_bytes, until
from tests.support.pictures import jpeg, noise
from tests.support.running_server import RunningServer, running_server
from tests.support.wire import Wire, wire

PHOTO = jpeg(noise(320, 240))


async def test_two_sessions_never_see_each_others_image(fake: RunningServer) -> None:
    black, white = noise(200, 200) // 255, 255 - noise(200, 200) // 255
    async with wire(fake.url) as one, wire(fake.url) as two:
        await asyncio.gather(one.open(jpeg(black)), two.open(jpeg(white)))
        dark = await one.click((100, 100, 1))
        bright = await two.click((100, 100, 1))
        assert bright.area > dark.area  # the fake model's masks grow with brightness
        both = [await asyncio.gather(one.click((100, 100, 1)), two.click((100, 100, 1)))]
        for again in both:
            assert [mask.area for mask in again] == [dark.area, bright.area]


async def test_an_image_seen_before_opens_without_its_bytes(fake: RunningServer) -> None:
    digest = hashlib.sha256(PHOTO).hexdigest()
    async with wire(fake.url) as first:
        await first.open(PHOTO)
    async with wire(fake.url) as second:
        await second.send(Open(id=1, size=len(PHOTO), sha256=digest))
        opened = await second.expect(Opened)
        assert opened.cached


async def test_another_token_does_not_share_the_cache() -> None:
    digest = hashlib.sha256(PHOTO).hexdigest()
    with running_server(tokens="alice,bob") as server:
        async with wire(server.url, greet=False) as alice, wire(server.url, greet=False) as bob:
            await alice.greet("alice")
            await alice.open(PHOTO)
            await bob.greet("bob")
            await bob.send(Open(id=1, size=len(PHOTO), sha256=digest))
            await bob.expect(Send)
        for token in ("mallory", None, ""):
            async with wire(server.url, greet=False) as mallory:
                await mallory.send(Hello(token=token))
                with pytest.raises(ConnectionClosed) as closed:
                    await mallory.socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4001


async def test_prefetching_changes_neither_the_image_nor_its_objects(fake: RunningServer) -> None:
    other = jpeg(noise(300, 200, seed=5))
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        before = await client.click((100, 100, 1))
        prefetch = client.next_id()
        digest = hashlib.sha256(other).hexdigest()
        await client.send(Open(id=prefetch, size=len(other), sha256=digest, prefetch=True))
        await client.expect(Send)
        await client.socket.send(_data(prefetch, other))
        assert (await client.expect(Done)).id == prefetch
        after = await client.click((100, 100, 1), (120, 100, 1))
        assert after.prior == before.id
        await client.send(Open(id=client.next_id(), size=len(other), sha256=digest))
        assert (await client.expect(Opened)).cached


def _data(open_id: int, data: bytes) -> bytes:
    return pack(Data(id=open_id, bytes=data))


async def test_a_storm_of_hovers_answers_the_last_and_never_a_stale_one_after_it(
    fake: RunningServer,
) -> None:
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        last = 0
        for step in range(300):
            last = client.next_id()
            await client.send(Segment(id=last, points=((step, 100, 1),), kind="hover"))
        answered = [(await client.expect(MaskReply)).id]
        while answered[-1] != last:
            answered.append((await client.expect(MaskReply)).id)
        assert all(earlier < later for earlier, later in pairwise(answered))


async def test_every_click_of_a_burst_gets_exactly_one_reply(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        sent = [client.next_id() for _ in range(60)]
        for number, request in enumerate(sent):
            await client.send(Segment(id=request, points=((50, 50, 1),), object=number % 3))
        replies = {}
        for _ in sent:
            reply = await client.receive()
            assert isinstance(reply, MaskReply | Superseded | Error)
            replies[reply.id] = reply
        assert set(replies) == set(sent)
        assert all(isinstance(replies[newest], MaskReply) for newest in sent[-3:])


async def test_a_mask_given_as_rle_is_a_prior(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        mask = await client.click((100, 100, 1))
        again = await client.click(
            object=7, prior=RleBody(size=mask.rle.size, counts=mask.rle.counts)
        )
        first, second = (
            rle.decode(rle.Rle(size=body.rle.size, counts=body.rle.counts))
            for body in (mask, again)
        )
        assert again.prior is None
        assert (first & second).sum() > 0.5 * first.sum()


async def test_closing_frees_the_image_and_keeps_the_connection(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        await client.send(Close(id=client.next_id()))
        await client.expect(Done)
        await client.send(Segment(id=client.next_id(), points=((5, 5, 1),)))
        assert (await client.error()).code == "not_open"
        await client.open(PHOTO)


async def test_a_released_object_forgets_its_masks(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        mask = await client.click((100, 100, 1))
        await client.send(Release(object=0))
        assert (await client.click((100, 100, 1), (90, 90, 1))).prior is None
        await client.send(Segment(id=client.next_id(), points=((5, 5, 1),), prior=(mask.id, 0)))
        assert (await client.error()).code == "prior_gone"


@pytest.mark.parametrize("stage", ["before hello", "upload", "encode", "decode", "open"])
async def test_a_connection_that_vanishes_leaves_nothing(stage: str) -> None:
    with running_server(cache_bytes=0) as server:
        for seed in range(5):
            await _vanish(server, stage, jpeg(noise(640, 480, seed)))
        await until(server, "samwire_sessions_active", 0)
        await until(server, "samwire_cache_bytes", 0)
        assert await figure(server, "samwire_uploads_bytes") == 0
        assert await figure(server, "samwire_decodes_waiting") == 0


async def _vanish(server: RunningServer, stage: str, data: bytes) -> None:
    """Break off without a close frame."""
    client = Wire(await connect(server.url, max_size=1 << 20))
    if stage != "before hello":
        await client.greet()
    if stage == "upload":
        await client.send(Open(id=1, size=len(data)))
        await client.socket.send(_data(1, data[:1000]))
    if stage == "encode":
        await client.upload(data)
    if stage in {"decode", "open"}:
        await client.open(data)
    if stage == "decode":
        for _ in range(20):
            await client.send(Segment(id=client.next_id(), points=((5, 5, 1),)))
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def test_when_full_the_newcomer_is_told_to_come_again() -> None:
    with running_server(max_sessions=2) as server:
        async with wire(server.url), wire(server.url):
            async with wire(server.url, greet=False) as third:
                await third.send(Hello())
                with pytest.raises(ConnectionClosed) as closed:
                    await third.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013


async def test_connections_that_never_say_hello_take_no_place_from_those_that_did() -> None:
    with running_server(max_sessions=1, spare_after_s=1e-6) as server:
        async with wire(server.url) as client, contextlib.AsyncExitStack() as silent:
            for _ in range(40):
                await silent.enter_async_context(wire(server.url, greet=False))
            assert (await client.open(PHOTO)).width == 320


async def test_one_address_may_hold_no_more_places_than_it_is_allowed() -> None:
    with running_server(max_sessions=9, max_sessions_per_address=1) as server:
        async with wire(server.url), wire(server.url, greet=False) as second:
            with pytest.raises(ConnectionClosed) as closed:
                await second.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013


async def test_when_full_the_session_idle_longest_makes_room() -> None:
    with running_server(max_sessions=2, spare_after_s=1e-6) as server:
        async with wire(server.url) as oldest, wire(server.url) as newer, wire(server.url) as third:
            with pytest.raises(ConnectionClosed) as closed:
                await oldest.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4204
            await newer.open(PHOTO)
            await third.open(PHOTO)


async def test_a_silent_session_is_closed_as_idle() -> None:
    with running_server(idle_timeout_s=0.5) as server:
        async with wire(server.url) as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4204


async def test_who_never_says_hello_is_closed() -> None:
    with running_server(hello_timeout_s=0.5) as server:
        async with wire(server.url, greet=False) as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1002


async def test_who_does_not_read_is_closed_and_others_are_served() -> None:
    with running_server(max_outbox_bytes=20_000, send_timeout_s=1.0) as server:
        deaf = await connect(server.url, max_size=1 << 20, max_queue=1)
        client = Wire(deaf)
        await client.greet()
        await client.open(jpeg(noise(2000, 1500)))
        deaf.transport.pause_reading()
        async with wire(server.url) as polite:
            await polite.open(PHOTO)
            with contextlib.suppress(ConnectionClosed):
                for number in range(4000):
                    asked = Segment(id=client.next_id(), points=((900, 700, 1),), object=number)
                    await client.send(asked)
            await polite.click((5, 5, 1))
            await until(server, 'samwire_refusals_total{code="slow_reader"}', 1)
            await polite.click((5, 5, 1))
        deaf.transport.abort()


async def test_memory_stays_flat_over_hundreds_of_sessions() -> None:
    with running_server(cache_bytes=1 << 20) as server:
        await _many_sessions(server, 100)
        before = resident_bytes(server)
        await _many_sessions(server, 300)
        assert resident_bytes(server) - before < 8 << 20
        await until(server, "samwire_sessions_active", 0)


async def _many_sessions(server: RunningServer, count: int) -> None:
    for seed in range(count):
        async with wire(server.url) as client:
            await client.open(jpeg(noise(96, 64, seed)))
            await client.click((50, 30, 1), candidates=True)
