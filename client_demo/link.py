"""One WebSocket after another: connects, says hello, and reconnects by the close-code rules.

It knows nothing of images or masks, and queues nothing: sending without a connection fails, so that
a stale frame can never arrive ahead of the next `hello`.
"""

import asyncio
import contextlib
import logging
from random import random
from typing import Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from client_demo.errors import ConnectionLost, SamwireError
from client_demo.reconnect import ABNORMAL, RESTARTING, after_close, backoff_s, reason_of
from server.protocol import (
    MAX_FRAME_BYTES,
    SUBPROTOCOL,
    ClientMessage,
    FrameError,
    Hello,
    ServerMessage,
    Welcome,
    pack,
    unpack_server,
)

__all__ = ["Link", "Listener", "socket_url"]

_log = logging.getLogger(__name__)
_GOODBYE_S = 2.0
GRACE_S = 5.0  # for a server that said it ends the connection, on top of what it asked for
_UNREACHABLE = (OSError, InvalidHandshake, InvalidURI, TimeoutError)


def socket_url(url: str) -> str:
    """The server's socket, from its address as people write it: `http://host:8000` will do."""
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return parts._replace(scheme=scheme, path=parts.path.rstrip("/") or "/v1/ws").geturl()


class Listener(Protocol):
    """Who is told what happens on the link."""

    async def on_online(self) -> None:
        """A connection stands; what is sent here goes out before anything else."""

    def on_message(self, message: ServerMessage) -> None:
        """The server said something other than `welcome`."""

    def on_lost(self) -> bool:
        """The connection ended; whether another one is needed at once."""

    def on_stopped(self, error: SamwireError) -> None:
        """No further connection will come."""


class Link:
    """Keeps a connection to one server, while it makes sense.

    Args:
        url: like `ws://localhost:8000/v1/ws`.
        hello: what is said first.
        listener: who is told.
    """

    def __init__(self, url: str, hello: Hello, listener: Listener) -> None:
        self.number = 0
        """How many connections there have been."""
        self.welcome: Welcome | None = None
        self._url = url
        self._hello = hello
        self._listener = listener
        self._socket: ClientConnection | None = None
        self._error: SamwireError | None = None
        self._last_error: SamwireError = ConnectionLost(f"no answer from {url}")
        self._changed = asyncio.Condition()
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._attempt = 0
        self._limit = asyncio.timeout(None)

    async def start(self, patience_s: float) -> None:
        """Make the first connection; a server that is full or starting is asked again for a while.

        Raises:
            SamwireError: the server cannot be reached, or does not want us.
        """
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(patience_s):
                await self.online()
        except TimeoutError:
            await self.stop()
            raise self._last_error from None
        except BaseException:
            await self.stop()
            raise

    async def online(self) -> int:
        """Wait for a connection, waking the link if it sleeps; the connection's number.

        Raises:
            SamwireError: there will be none.
        """
        self._awake.set()
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._socket is not None or self._error is not None
            )
        if self._error is not None:
            raise self._error
        return self.number

    async def send(self, message: ClientMessage) -> None:
        """Send now, waiting while the network is full.

        Raises:
            ConnectionLost: there is no connection.
        """
        if self._socket is None:
            raise ConnectionLost("there is no connection")
        try:
            await self._socket.send(pack(message))
        except ConnectionClosed:
            raise ConnectionLost("the connection ended") from None

    def expect_end(self, within_s: float = 0.0) -> None:
        """The server said that it ends this connection; if it does not, we do, and come back."""
        if self._limit.when() is None:
            deadline = asyncio.get_running_loop().time() + within_s + GRACE_S
            self._limit.reschedule(deadline)

    async def stop(self) -> None:
        """Close, for good."""
        await self._give_up(ConnectionLost("the client was closed"))
        if self._socket is not None:
            await self._socket.close()  # in good order; cancelled, it would say 1011
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._keep_connected()
        # Whatever it is, who waits must hear of it.
        except Exception as unforeseen:  # noqa: BLE001
            _log.exception("the client broke, and will not connect again")
            self._socket = None
            await self._give_up(SamwireError("broken", f"the client failed: {unforeseen!r}"))

    async def _keep_connected(self) -> None:
        while self._error is None:
            await self._awake.wait()
            code, reason = await self._live()
            needed = self._lose()
            error = self._last_error = reason_of(code, reason)
            _log.info("disconnected: %s", error)
            match after_close(code):
                case "stop":
                    await self._give_up(error)
                    return
                case "sleep" if not needed:
                    self._awake.clear()
                case _ if code == ABNORMAL and not self.number:  # it never answered
                    await self._give_up(error)
                    return
                case _:
                    await asyncio.sleep(backoff_s(self._attempt, random))
                    self._attempt += 1

    def _lose(self) -> bool:
        if self._socket is None:
            return False
        self._socket = None
        return self._listener.on_lost()

    async def _live(self) -> tuple[int, str]:
        """One connection, from its first to its last frame; its close code and reason."""
        try:
            async with open_socket(
                self._url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                max_size=MAX_FRAME_BYTES,
                close_timeout=_GOODBYE_S,
            ) as socket:
                return await self._converse(socket)
        except _UNREACHABLE as unreachable:
            return ABNORMAL, f"cannot reach {self._url}: {unreachable}"

    async def _converse(self, socket: ClientConnection) -> tuple[int, str]:
        self._limit = asyncio.timeout(None)
        try:
            async with self._limit:
                await socket.send(pack(self._hello))
                while True:
                    await self._take(socket, await socket.recv(decode=False))
        except TimeoutError:
            return RESTARTING, "restarting: the server did not end the connection as it had said"
        except ConnectionClosed:
            pass
        return socket.close_code or ABNORMAL, socket.close_reason or ""

    async def _take(self, socket: ClientConnection, frame: bytes) -> None:
        try:
            message = unpack_server(frame)
        except FrameError as refused:
            if refused.code == "unknown_type":  # a newer server's; not for us
                return
            _log.warning("a frame that is none: %s", refused)
            await socket.close(1002, "a frame that is none")
            return
        if isinstance(message, Welcome):
            await self._greet(socket, message)
        else:
            self._listener.on_message(message)

    async def _greet(self, socket: ClientConnection, welcome: Welcome) -> None:
        self.welcome = welcome
        self.number += 1
        self._attempt = 0
        self._socket = socket
        with contextlib.suppress(ConnectionLost):
            await self._listener.on_online()
        async with self._changed:
            self._changed.notify_all()

    async def _give_up(self, error: SamwireError) -> None:
        if self._error is None:
            self._error = error
            self._listener.on_stopped(error)
        async with self._changed:
            self._changed.notify_all()
