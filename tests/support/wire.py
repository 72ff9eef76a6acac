"""A client of bare frames, for tests that look at the wire itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect

from server.protocol import (
    MAX_DATA_BYTES,
    SUBPROTOCOL,
    ClientMessage,
    Data,
    Error,
    Hello,
    MaskReply,
    Open,
    Opened,
    Progress,
    Segment,
    ServerMessage,
    Superseded,
    Welcome,
    pack,
    unpack_server,
)

__all__ = ["Wire", "wire"]

_M = TypeVar("_M", bound=ServerMessage)


class Wire:
    """Sends and receives messages, one at a time, hiding nothing."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = count(1)

    def next_id(self) -> int:
        return next(self._ids)

    async def send(self, *messages: ClientMessage) -> None:
        for message in messages:
            await self.socket.send(pack(message))

    async def receive(self) -> ServerMessage:
        frame = await self.socket.recv(decode=False)
        return unpack_server(frame)

    async def expect(self, kind: type[_M]) -> _M:
        """The next message that is no progress; it must be of this kind."""
        message = await self.receive()
        while isinstance(message, Progress) and kind is not Progress:
            message = await self.receive()
        assert isinstance(message, kind), message
        return message

    async def greet(self, token: str | None = None) -> Welcome:
        await self.send(Hello(token=token))
        return await self.expect(Welcome)

    async def upload(self, data: bytes, *, sha256: str | None = None) -> int:
        """Send `open` and all the bytes; the id of the open."""
        open_id = self.next_id()
        await self.send(Open(id=open_id, size=len(data), sha256=sha256))
        for start in range(0, len(data), MAX_DATA_BYTES):
            await self.send(Data(id=open_id, bytes=data[start : start + MAX_DATA_BYTES]))
        return open_id

    async def open(self, data: bytes) -> Opened:
        await self.upload(data)
        return await self.expect(Opened)

    async def click(self, *points: tuple[float, float, int], **fields: object) -> MaskReply:
        segment = {"id": self.next_id(), "points": points, **fields}
        await self.send(Segment.model_validate(segment))
        return await self.expect(MaskReply)

    async def error(self) -> Error:
        return await self.expect(Error)

    async def superseded(self) -> Superseded:
        return await self.expect(Superseded)


@asynccontextmanager
async def wire(url: str, *, greet: bool = True, **options: object) -> AsyncIterator[Wire]:
    """Connect, and greet unless told otherwise."""
    options.setdefault("subprotocols", [SUBPROTOCOL])
    async with connect(url, compression=None, max_size=1 << 20, **options) as socket:  # type: ignore[arg-type] # passed through
        client = Wire(socket)
        if greet:
            await client.greet()
        yield client
