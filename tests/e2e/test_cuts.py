"""A conversation cut anywhere: within a frame, between two, by an end or by a reset."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET, socket

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from server.protocol import Close, Done, Release, RleBody
from tests.support.cutting_proxy import cutting_proxy
from tests.support.figures import descriptors, figure, no_more_than, until
from tests.support.pictures import jpeg
from tests.support.running_server import RunningServer, running_server
from tests.support.wire import Wire, wire

STEP = 7
AT_ONCE = 20
PHOTO = jpeg(np.full((48, 64, 3), 128, np.uint8))
GAUGES = ["sessions_active", "cache_bytes", "logits_bytes", "uploads_bytes", "decodes_waiting"]


@asynccontextmanager
async def recorder(port: int, sent: bytearray, told: bytearray) -> AsyncIterator[str]:
    """A way to the server that keeps what both sides say, the handshake included."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pass_on(reader, their_writer, sent))
            both.create_task(_pass_on(their_reader, writer, told))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield f"ws://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/v1/ws"


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray
) -> None:
    while data := await reader.read(1 << 14):
        seen += data
        writer.write(data)
    writer.close()


async def a_bit_of_everything(client: Wire) -> None:
    await client.greet()
    await client.open(PHOTO)
    mask = await client.click((30, 20, 1))
    await client.click((30, 20, 1), (5, 5, 0), candidates=True)
    await client.click((31, 21, 1), kind="hover")
    await client.click(box=(3, 3, 40, 40), object=1)
    await client.click(object=2, prior=RleBody(size=mask.rle.size, counts=mask.rle.counts))
    await client.send(Release(object=1), Close(id=client.next_id()))
    await client.expect(Done)


async def recorded(server: RunningServer) -> tuple[bytes, bytes]:
    """All that was sent in a conversation, and all that was answered."""
    sent, told = bytearray(), bytearray()
    async with recorder(server.port, sent, told) as url, wire(url, greet=False) as client:
        await a_bit_of_everything(client)
    await all_is_zero(server)
    return bytes(sent), bytes(told)


async def test_what_is_said_at_once_and_cut_after_any_byte_leaves_the_server_as_it_was() -> None:
    with running_server(cache_bytes=0) as server:
        sent, _ = await recorded(server)
        files = descriptors(server)
        clicks = await figure(server, 'samwire_messages_total{type="segment"}')
        cuts = range(1, len(sent) + 1)

        for start in range(0, len(cuts), AT_ONCE):
            await _say_and_leave(server, sent, cuts[start : start + AT_ONCE])

        await all_is_zero(server)
        await no_more_than(server, files=files)
        # They were understood as far as they went.
        assert await figure(server, 'samwire_messages_total{type="segment"}') > clicks + 100
        await nothing_failed(server)


async def _say_and_leave(server: RunningServer, sent: bytes, cuts: Sequence[int]) -> None:
    await asyncio.gather(*(_leave_after(server, sent[:cut], cut) for cut in cuts))


async def _leave_after(server: RunningServer, said: bytes, cut: int) -> None:
    handshake, between, frames = said.partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with suppress(ConnectionError):
        writer.write(handshake + between)
        if between:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(frames)
        await writer.drain()
    if cut % 2:
        raw: socket = writer.get_extra_info("socket")
        raw.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def all_is_zero(server: RunningServer) -> None:
    for name in GAUGES:
        await until(server, f"samwire_{name}", 0)


async def nothing_failed(server: RunningServer) -> None:
    """Neither the next conversation nor, by the log, those before."""
    async with wire(server.url, greet=False) as client:
        await a_bit_of_everything(client)
    await asyncio.to_thread(server.stop)
    log = server.whole_log()
    assert " ERROR " not in log
    assert "Traceback" not in log


async def test_a_conversation_cut_in_its_midst_leaves_the_server_as_it_was() -> None:
    with running_server(cache_bytes=0) as server:
        sent, told = await recorded(server)
        files = descriptors(server)
        cuts = range(1, len(sent) + len(told), STEP)
        async with cutting_proxy(server.url, cuts) as url:
            for start in range(0, len(cuts), AT_ONCE):
                together = len(cuts[start : start + AT_ONCE])
                await asyncio.gather(*(_talk_until_cut_off(url) for _ in range(together)))
        await all_is_zero(server)
        await no_more_than(server, files=files)
        await nothing_failed(server)


async def _talk_until_cut_off(url: str) -> None:
    with suppress(OSError, EOFError, InvalidHandshake, ConnectionClosed):
        async with wire(url, greet=False) as client:
            await a_bit_of_everything(client)
