"""Clients that go without a word, or stay and say nothing: all that was theirs comes back."""

import asyncio
import contextlib
import socket
import struct

from websockets.asyncio.client import connect

from server.protocol import Data, Open, Segment
from tests.support.figures import descriptors, figure, no_more_than, threads, until
from tests.support.pictures import jpeg, noise
from tests.support.running_server import RunningServer, running_server
from tests.support.wire import Wire, wire

PHOTO = jpeg(noise(320, 240))
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def all_returned(server: RunningServer) -> None:
    """Wait until the server holds nothing of anybody; the test's own timeout is the limit."""
    for name in ("sessions_active", "cache_bytes", "logits_bytes", "uploads_bytes"):
        await until(server, f"samwire_{name}", 0)
    assert await figure(server, "samwire_decodes_waiting") == 0


async def test_peers_that_read_and_answer_nothing_are_freed_and_others_are_served() -> None:
    """As behind a cable that was pulled: no end, no reset, and no answer to a close."""
    with running_server(
        cache_bytes=0,
        hello_timeout_s=0.3,
        upload_timeout_s=0.3,
        idle_timeout_s=0.6,
        send_timeout_s=0.3,
    ) as server:
        files = descriptors(server)
        dumb = [await _gone_silent(server, stage) for stage in STAGES]
        async with wire(server.url) as polite:
            await polite.open(PHOTO)
            assert await figure(server, "samwire_sessions_active") == 1 + len(STAGES)
            while await figure(server, "samwire_sessions_active") > 1:
                await polite.click((160, 120, 1))
        await all_returned(server)
        await no_more_than(server, files=files)
        for client in dumb:
            client.socket.transport.abort()


STAGES = ["hello", "upload", "open", "clicks"]


async def _gone_silent(server: RunningServer, stage: str) -> Wire:
    client = Wire(await connect(server.url, max_size=1 << 20))
    await _come_to(stage, client)
    client.socket.transport.pause_reading()
    return client


async def _come_to(stage: str, client: Wire) -> None:
    if stage == "hello":
        return
    await client.greet()
    if stage == "upload":
        await client.send(Open(id=client.next_id(), size=len(PHOTO)))
        await client.send(Data(id=1, bytes=PHOTO[:1000]))
    else:
        await client.open(PHOTO)
    if stage == "clicks":
        for number in range(8):
            click = Segment(id=client.next_id(), points=((9, 9, 1),), object=number)
            await client.send(click)


async def test_descriptors_threads_and_sessions_return_after_hundreds_that_vanish() -> None:
    with running_server(cache_bytes=0) as server:
        await _vanish(server, aborted=30, vanished=10)  # what starts once has started then
        await all_returned(server)
        files, tasks = descriptors(server), threads(server)
        await _vanish(server, aborted=300, vanished=100)
        await all_returned(server)
        await no_more_than(server, files=files, tasks=tasks)
        async with wire(server.url) as client:
            await client.open(PHOTO)
        server.stop()
        assert "Traceback" not in server.whole_log()


async def _vanish(server: RunningServer, *, aborted: int, vanished: int) -> None:
    for number in range(aborted):
        await asyncio.to_thread(_abort_handshake, server.port, number)
    for start in range(0, vanished, 10):
        async with asyncio.TaskGroup() as together:
            for seed in range(start, start + 10):
                together.create_task(_work_and_vanish(server, seed))


def _abort_handshake(port: int, number: int) -> None:
    """Reset the connection within the request, at its end, or once it has been answered."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        length = (number * 7) % len(UPGRADE) if number % 3 == 0 else len(UPGRADE)
        client.sendall(UPGRADE[:length])
        if number % 3 == 2:
            client.recv(1 << 12)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _work_and_vanish(server: RunningServer, seed: int) -> None:
    client = Wire(await connect(server.url, max_size=1 << 20))
    await client.greet()
    await client.open(jpeg(noise(96, 64, seed)))
    await client.click((50, 30, 1))
    await client.send(Segment(id=client.next_id(), points=((9, 9, 1),)))
    client.socket.transport.abort()
    with contextlib.suppress(ConnectionError):
        await client.socket.wait_closed()
