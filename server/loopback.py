"""A client of samwire.v1 within the process: what HTTP requests speak through.

It holds the other end of a WebSocket that is no socket, and sends and reads the very frames that a
client elsewhere would. So whoever serves sockets serves it too: places, rates, idle expiry, drains,
metrics and logs are theirs, and nothing of them is here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import count
from typing import TypeVar

from starlette.types import Message, Scope
from starlette.websockets import WebSocket

from server.errors import ERRORS, WireError
from server.protocol import (
    MAX_DATA_BYTES,
    Cancel,
    ClientMessage,
    Data,
    Draining,
    Error,
    Hello,
    MaskReply,
    Open,
    Opened,
    Progress,
    Segment,
    Send,
    ServerMessage,
    Superseded,
    Welcome,
    pack,
    unpack_server,
)

__all__ = ["Loopback", "ToldError"]

_log = logging.getLogger(__name__)
_GREETING = 0  # no id of a request
_SCHEMES = {"http": "ws", "https": "wss"}

_STAY_S = 5.0
"""Who is at work says something as often, or sooner where idleness ends sooner."""

_M = TypeVar("_M", bound=ServerMessage)
_T = TypeVar("_T")


class ToldError(WireError):
    """An error that the session's side told, and has counted."""


_Answer = asyncio.Future[ServerMessage | None]
"""None: there will be none, for the session has ended."""


class Loopback:
    """One session's client; its session ends when it leaves.

    Args:
        serve: serves a WebSocket, until either side ends it.
        scope: of the HTTP request that it comes by: its address, its headers.
    """

    def __init__(self, serve: Callable[[WebSocket], Awaitable[None]], scope: Scope) -> None:
        self.gone = asyncio.Event()
        """Set once nothing of the session is left."""
        self._ids = count(1)
        self._waiting: dict[int, _Answer] = {}
        self._stay_s = _STAY_S
        self._goodbye = ("not_open", "the session was closed")
        self._to_server: asyncio.Queue[Message] = asyncio.Queue()
        self._to_server.put_nowait({"type": "websocket.connect"})
        socket = WebSocket(_as_upgrade(scope), self._to_server.get, self._take)
        self._serving = asyncio.create_task(_serve(serve, socket))
        self._serving.add_done_callback(self._on_served)

    async def greet(self, token: str | None) -> None:
        """Say hello.

        Raises:
            ToldError: the server lets nobody in, or not this one.
        """
        self._begin(_GREETING, Hello(token=token, client="http"))
        welcome = await self._outcome(_GREETING, Welcome)
        self._stay_s = min(_STAY_S, welcome.limits.idle_timeout_s / 4)

    async def stay_for(self, work: Coroutine[None, None, _T]) -> _T:
        """What comes of work that the session's side hears nothing of, and must not call idle.

        Raises:
            ToldError: the session ended before.
        """
        working = asyncio.create_task(work)
        try:
            while not working.done():
                if self.gone.is_set():
                    raise self._told(None)
                self._send(Cancel(target=next(self._ids)))  # of nothing, which nobody minds
                await asyncio.wait(
                    {working, self._serving},
                    timeout=self._stay_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            return working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            # It holds its error, whose traceback holds this frame, and so all that came.
            del working

    async def send_image(self, data: bytes) -> Coroutine[None, None, Opened]:
        """Have an image opened; returns once its bytes are taken, with what waits for the rest.

        Raises:
            ToldError: the session ended; what is returned raises it too, or why there is no image.
        """
        open_id = next(self._ids)
        answer = self._begin(open_id, Open(id=open_id, size=len(data)))
        for start in range(0, len(data), MAX_DATA_BYTES):
            if answer.done():
                break
            self._send(Data(id=open_id, bytes=data[start : start + MAX_DATA_BYTES]))
            await asyncio.sleep(0)  # it is taken before more is copied
        return self._outcome(open_id, Opened)

    async def click(self, points: Sequence[tuple[float, float, int]]) -> MaskReply:
        """The mask of these points, in pixels.

        Raises:
            ToldError: there is none, or the session ended.
        """
        segment_id = next(self._ids)
        self._begin(segment_id, Segment(id=segment_id, points=tuple(points)))
        return await self._outcome(segment_id, MaskReply)

    def leave(self) -> None:
        """Hang up; harmless when repeated."""
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1000})

    def when_gone(self, tell: Callable[[], object]) -> None:
        """Have it told when nothing of the session is left."""
        self._serving.add_done_callback(lambda _: tell())

    def _begin(self, request_id: int, message: ClientMessage) -> _Answer:
        if self.gone.is_set():
            raise self._told(None)
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        self._send(message)
        return answer

    async def _outcome(self, request_id: int, kind: type[_M]) -> _M:
        try:
            reply = await self._waiting[request_id]
        finally:
            del self._waiting[request_id]
        if isinstance(reply, kind):
            return reply
        raise self._told(reply)

    def _told(self, reply: ServerMessage | None) -> WireError:
        """Anew each time: an error that is kept keeps, by its traceback, the image it came of."""
        if reply is None:
            return ToldError(*self._goodbye)
        if isinstance(reply, Error):
            return ToldError(
                reply.code, reply.message, field=reply.field, retry_after=reply.retry_after
            )
        return WireError("internal", "the request was given up")

    def _send(self, message: ClientMessage) -> None:
        self._to_server.put_nowait({"type": "websocket.receive", "bytes": pack(message)})

    async def _take(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            self._read(unpack_server(message["bytes"]))
        elif message["type"] == "websocket.close":
            self._goodbye = _error_of(message.get("reason") or "")

    def _read(self, message: ServerMessage) -> None:
        match message:
            case Send() | Progress() | Draining():
                return
            case Welcome():
                self._answer(_GREETING, message)
            case Opened() | MaskReply() | Superseded() | Error(id=int()):
                self._answer(message.id or _GREETING, message)
            case _:
                # Of a frame without a usable id, which none of ours is; if one is, nobody waits on.
                for request_id in list(self._waiting):
                    self._answer(request_id, message)

    def _answer(self, request_id: int, message: ServerMessage) -> None:
        waiting = self._waiting.get(request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _on_served(self, _serving: asyncio.Task[None]) -> None:
        self.gone.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)


async def _serve(serve: Callable[[WebSocket], Awaitable[None]], socket: WebSocket) -> None:
    try:
        await serve(socket)
    # A fault of ours ends this session; whoever waits for it is told that it is gone.
    except Exception:  # noqa: BLE001
        _log.exception("a session within failed")


def _as_upgrade(scope: Scope) -> Scope:
    """The request as it would be, had it asked for a WebSocket."""
    scheme = _SCHEMES[scope.get("scheme", "http")]
    return {**scope, "type": "websocket", "scheme": scheme, "subprotocols": []}


def _error_of(reason: str) -> tuple[str, str]:
    """The error that a close names - `code: sentence` - and what is said of it."""
    code, _, sentence = reason.partition(": ")
    if code == "idle":
        return "not_open", f"the session was closed: {sentence}"
    if code not in ERRORS:
        return "internal", "the session ended"
    return code, sentence
