"""A server that plays a script of real frames: one script a connection, in the order they come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from server.protocol import (
    FEATURES,
    SUBPROTOCOL,
    ClientMessage,
    Hello,
    Limits,
    MaskBody,
    MaskReply,
    ModelInfo,
    Open,
    Opened,
    OpenTimings,
    RleBody,
    Segment,
    SegmentTimings,
    ServerMessage,
    Welcome,
    pack,
    unpack_client,
)

__all__ = ["MASK", "WELCOME", "Peer", "Script", "mask_reply", "opened", "scripted_server"]

_M = TypeVar("_M", bound=ClientMessage)

WELCOME = Welcome(
    session="s-1",
    protocol=SUBPROTOCOL,
    server="samwire/test",
    model=ModelInfo(name="fake", input_size=512),
    limits=Limits(
        max_frame_bytes=1 << 20,
        max_data_bytes=256 << 10,
        max_image_bytes=32 << 20,
        max_image_pixels=40_000_000,
        max_points=64,
        max_waiting_clicks=16,
        idle_timeout_s=300.0,
        segments_per_s=200.0,
    ),
    features=FEATURES,
)
MASK = MaskBody(
    rle=RleBody(size=(3, 4), counts=b"426"), bbox=(1.0, 1.0, 1.0, 2.0), area=2, score=0.75
)
EMPTY = MaskBody(rle=RleBody(size=(3, 4), counts=b"<"), bbox=(0, 0, 0, 0), area=0, score=0.5)


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def hears(self, kind: type[_M]) -> _M:
        """The next message; it must be of this kind."""
        message = unpack_client(await self.socket.recv(decode=False))
        assert isinstance(message, kind), message
        return message

    async def says(self, *messages: ServerMessage) -> None:
        for message in messages:
            await self.socket.send(pack(message))

    async def greets(self, welcome: Welcome = WELCOME) -> Hello:
        hello = await self.hears(Hello)
        await self.says(welcome)
        return hello

    async def opens(self, *, width: int = 4, height: int = 3, welcome: Welcome = WELCOME) -> Open:
        """Welcome the client and open what it asks for, as if it were cached."""
        await self.greets(welcome)
        message = await self.hears(Open)
        await self.says(opened(message.id, width=width, height=height))
        return message

    async def answers(self) -> Segment:
        """Answer one click."""
        message = await self.hears(Segment)
        await self.says(mask_reply(message))
        return message

    async def hangs_up(self, code: int, reason: str = "") -> None:
        await self.socket.close(code, reason)


Script = Callable[[Peer], Awaitable[None]]


def opened(open_id: int, *, width: int = 4, height: int = 3, cached: bool = True) -> Opened:
    timings = OpenTimings(wait_ms=0.0, decode_ms=0.0, encode_ms=0.0)
    return Opened(
        id=open_id, width=width, height=height, sha256="ab" * 32, cached=cached, timings=timings
    )


def mask_reply(message: Segment) -> MaskReply:
    return MaskReply(
        **dict(MASK),
        id=message.id,
        object=message.object,
        prior=None,
        candidates=(MASK, EMPTY, EMPTY) if message.candidates else None,
        timings=SegmentTimings(queue_ms=0.0, decode_ms=1.0, post_ms=0.0, batch=1),
    )


@asynccontextmanager
async def scripted_server(*scripts: Script) -> AsyncIterator[str]:
    """Its URL; leaving checks that every script was played to its end."""
    waiting = list(scripts)
    played = [asyncio.get_running_loop().create_future() for _ in scripts]

    async def play(socket: ServerConnection) -> None:
        turn = len(scripts) - len(waiting)
        script = waiting.pop(0)
        try:
            await script(Peer(socket))
        # Whatever breaks a script fails the test, when it leaves; the client must not wait for it.
        except Exception as broken:  # noqa: BLE001
            played[turn].set_exception(broken)
            await socket.close(4000, "the script broke")
        else:
            played[turn].set_result(None)
        with suppress(ConnectionClosed):
            async for _ in socket:
                pass

    subprotocols = [Subprotocol(SUBPROTOCOL)]
    async with serve(play, "127.0.0.1", 0, subprotocols=subprotocols, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        try:
            yield f"ws://127.0.0.1:{port}"
        finally:
            await asyncio.wait(played, timeout=10)
            for broken in played:
                if broken.done():
                    broken.result()
        assert all(future.done() for future in played), "a script was not played to its end"
