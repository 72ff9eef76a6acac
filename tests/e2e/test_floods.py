"""Floods of what is no message: whoever sends them is cut off, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import ConnectionClosed

from server.protocol import Hello, pack
from tests.support.pictures import jpeg, noise
from tests.support.running_server import RunningServer
from tests.support.wire import wire

PHOTO = jpeg(noise(320, 240))
NO_MASK = bytes(4)
"""What a client's frames are masked with: a key that changes nothing."""


@pytest.mark.parametrize(
    ("name", "flood"),
    [
        ("pings", b"\x89\x80" + NO_MASK),
        ("pongs", b"\x8a\x80" + NO_MASK),
        ("fragments of nothing", b"\x00\x80" + NO_MASK),
    ],
)
async def test_frames_that_are_no_messages_are_counted(
    fake: RunningServer, name: str, flood: bytes
) -> None:
    async with wire(fake.url) as polite, wire(fake.url) as rude:
        await polite.open(PHOTO)
        begin = b"\x02\x80" + NO_MASK if "fragments" in name else b""
        rude.socket.transport.write(begin + flood * 2000)
        with pytest.raises(ConnectionClosed) as ended:
            await rude.socket.recv()
        assert ended.value.rcvd is None  # cut off, without a word
        assert (await polite.click((160.0, 120.0, 1))).area > 0


async def test_a_ping_now_and_then_is_answered_and_a_message_may_come_in_fragments(
    fake: RunningServer,
) -> None:
    async with wire(fake.url) as client:
        for _ in range(50):
            await (await client.socket.ping())
        assert (await client.open(PHOTO)).width == 320


@pytest.mark.parametrize("piece", [1, 100_000])
async def test_fragments_make_a_message(fake: RunningServer, piece: int) -> None:
    async with wire(fake.url, greet=False) as client:

        async def pieces() -> AsyncIterator[bytes]:
            frame = pack(Hello(client="in pieces"))
            for start in range(0, len(frame), piece):
                yield frame[start : start + piece]

        await client.socket.send(pieces())
        assert (await client.receive()).type == "welcome"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"a" * 200_000,
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000,
        b"GET /v1/ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        + b"X: a\r\n" * 500
        + b"\r\n",
    ],
    ids=["header", "address", "headers", "upgrade with 500 headers"],
)
async def test_a_request_without_measure_is_answered_with_an_end(
    fake: RunningServer, request_: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(request_)
    async with asyncio.timeout(5):
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
    writer.close()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("asked", "more", "answer"),
    [
        ("", b"Cookie: " + b"a" * 60_000 + b"\r\n", b"HTTP/1.1 4"),
        ("?" + "a" * 9000, b"", b"HTTP/1.1 4"),
        ("", b"Content-Length: 5\r\n", b"HTTP/1.1 400 "),
        ("", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 400 "),
    ],
    ids=["cookie", "address", "body", "chunks"],
)
async def test_an_upgrade_that_is_refused_is_told_so(
    fake: RunningServer, asked: str, more: bytes, answer: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(
        f"GET /v1/ws{asked} HTTP/1.1\r\nHost: here\r\n".encode()
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        + more
        + b"\r\n"
    )
    async with asyncio.timeout(5):
        told = await reader.read()
    writer.close()
    assert told.startswith(answer)
    assert b"\r\nconnection: close\r\n" in told.lower()
