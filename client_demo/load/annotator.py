"""One simulated annotator: plays a schedule over one connection, as bare frames.

Not the Python client: that would wait, retry and reconnect, which is what must not happen here.
"""

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections.abc import Iterable
from typing import TypeGuard

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from client_demo.errors import ConnectionLost
from client_demo.load.ledger import Kind, Ledger
from client_demo.load.pictures import Pictures
from client_demo.load.scenarios import ChangeImage, Click, Event, Hover
from server.protocol import (
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    SUBPROTOCOL,
    ClientMessage,
    Data,
    Error,
    Hello,
    Open,
    Opened,
    Segment,
    Send,
    ServerMessage,
    Superseded,
    pack,
    unpack_server,
)

__all__ = ["Annotator"]

_MAX_POINTS = 16  # nobody clicks more often on one object
_PointsOfPrompt = tuple[tuple[float, float, int], ...]


class Annotator:
    """Connects, opens an image, and then acts when it is due."""

    def __init__(self, url: str, token: str | None, pictures: Pictures) -> None:
        self._url = url
        self._token = token
        self._pictures = pictures
        self._ids = itertools.count(1)
        self._objects = itertools.count(1)
        self._object = 0
        self._points: _PointsOfPrompt = ()
        self._open_id = 0
        self._size = (1, 1)
        self._news: asyncio.Queue[Send | Opened | Error | Superseded | None] = asyncio.Queue()
        self._lost = "there is no connection"
        self._ledger: Ledger | None = None
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def connect(self, photo: bytes) -> None:
        """Connect and open a first image.

        Raises:
            ConnectionLost: the server refused or went away.
        """
        self._socket = await open_socket(
            self._url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            max_size=MAX_FRAME_BYTES,
        )
        await self._send(Hello(token=self._token, client="samwire-load-test"))
        self._reader = asyncio.create_task(self._read(self._socket))
        await self._open_image(photo, time.perf_counter())

    async def play(
        self, events: Iterable[Event], ledger: Ledger, *, start_s: float, end_s: float
    ) -> None:
        """Do everything that is due before `end_s`. While an image is being opened nothing is."""
        self._ledger = ledger
        waited_s = 0.0
        for event in events:
            due_s = start_s + event.at_s + waited_s
            if due_s >= end_s:
                return
            await asyncio.sleep(due_s - time.perf_counter())
            try:
                if isinstance(event, ChangeImage):
                    await self._open_image(self._pictures.next(), due_s)
                    waited_s += time.perf_counter() - due_s
                else:
                    await self._point(event, due_s)
            except ConnectionLost as lost:
                ledger.lose(lost.message)
                return

    async def disconnect(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _point(self, event: Click | Hover, due_s: float) -> None:
        x, y = event.x * self._size[0], event.y * self._size[1]
        if isinstance(event, Hover):
            await self._ask("hover", (*self._points, (x, y, 1)), due_s)
            return
        if event.starts or not 0 < len(self._points) < _MAX_POINTS:
            self._object = next(self._objects)
            self._points = ()
        self._points = (*self._points, (x, y, event.label if self._points else 1))
        await self._ask("refine" if len(self._points) > 1 else "click", self._points, due_s)

    async def _ask(self, kind: Kind, points: _PointsOfPrompt, due_s: float) -> None:
        segment = Segment(
            id=next(self._ids),
            object=self._object,
            points=points,
            kind="hover" if kind == "hover" else "click",
        )
        if self._ledger is not None:
            now_s = time.perf_counter()
            self._ledger.ask(segment.id, kind, self._object, due_s=due_s, sent_s=now_s)
        await self._send(segment)

    async def _open_image(self, photo: bytes, due_s: float) -> None:
        open_id = self._open_id = next(self._ids)
        self._points = ()
        if self._ledger is not None:
            now_s = time.perf_counter()
            self._ledger.ask(open_id, "open", -1, due_s=due_s, sent_s=now_s)
        self._news = asyncio.Queue()
        digest = hashlib.sha256(photo).hexdigest()
        await self._send(Open(id=open_id, size=len(photo), sha256=digest))
        while True:
            match await self._news.get():
                case Send():
                    await self._upload(open_id, photo)
                case Opened() as opened:
                    self._size = (opened.width, opened.height)
                    return
                case Error() | Superseded():
                    return  # the ledger knows; what follows will be `not_open`
                case None:
                    raise ConnectionLost(self._lost)

    async def _upload(self, open_id: int, photo: bytes) -> None:
        for start in range(0, len(photo), MAX_DATA_BYTES):
            await self._send(Data(id=open_id, bytes=photo[start : start + MAX_DATA_BYTES]))

    async def _send(self, message: ClientMessage) -> None:
        if self._socket is None:
            raise ConnectionLost(self._lost)
        try:
            await self._socket.send(pack(message))
        except ConnectionClosed:
            raise ConnectionLost(self._lost) from None

    async def _read(self, socket: ClientConnection) -> None:
        """Time stamps come first: what is done with a message must not count."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await socket.recv(decode=False)
                now_s = time.perf_counter()
                message = unpack_server(frame)
                if self._ledger is not None:
                    self._ledger.hear(message, now_s)
                if isinstance(message, Send | Opened) or self._ends_open(message):
                    self._news.put_nowait(message)
        self._lost = f"closed with {socket.close_code}"
        self._news.put_nowait(None)

    def _ends_open(self, message: ServerMessage) -> TypeGuard[Error | Superseded]:
        return isinstance(message, Error | Superseded) and message.id == self._open_id
