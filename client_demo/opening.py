"""One image being opened: over as many connections as it takes, bytes only when asked for."""

import asyncio
import contextlib
from collections.abc import Callable

from client_demo.errors import (
    CallbackError,
    ConnectionLost,
    SamwireError,
    Superseded,
    error_of,
    local_error,
)
from client_demo.link import Link
from client_demo.pictures import Picture
from client_demo.requests import Reply
from server.protocol import Data, Done, Error, MaskReply, Open, Opened, Progress, Send
from server.protocol import Superseded as SupersededMessage

__all__ = ["OnProgress", "Opening"]

OnProgress = Callable[[Progress], None]


class Opening:
    """From `open` to its terminal reply, and again on each new connection.

    Args:
        link: to the server, whatever connection that is.
        picture: kept whole, because a server may ask for its bytes again.
        prefetch: only into the server's cache.
        on_progress: told how far it is.
    """

    def __init__(
        self,
        link: Link,
        picture: Picture,
        *,
        prefetch: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.id = 0
        """Of its last `open`; 0 until one was sent."""
        self.result: asyncio.Future[Opened | None] = asyncio.get_running_loop().create_future()
        self._picture = picture
        self._prefetch = prefetch
        self._on_progress = on_progress
        self._upload: asyncio.Task[None] | None = None
        self._link = link

    async def start(self, open_id: int) -> None:
        """Ask by digest, on a new connection or the first."""
        self.pause()
        self.id = open_id
        size, digest = len(self._picture.data), self._picture.sha256
        await self._link.send(Open(id=open_id, size=size, sha256=digest, prefetch=self._prefetch))

    def take(self, message: Reply) -> SamwireError | None:
        """Hear of it; returns what ended it, if it failed."""
        error: SamwireError | None = None
        match message:
            case Send():
                self._upload = asyncio.create_task(self._send_bytes())
            case Progress():
                self._tell(message)
            case Opened() if not self._prefetch:
                self._settle(message)
            case Done() if self._prefetch:
                self._settle(None)
            case Opened() | Done() | MaskReply():
                text = f"the server's answer is of another kind: {message.type}"
                error = local_error("internal", text)
            case SupersededMessage():
                error = Superseded(message.by)
            case Error(code="restarting"):
                self.pause()
                self._link.expect_end()  # on another connection it is asked for again
            case Error():
                error = error_of(message)
        if error is not None:
            self.fail(error)
        return error

    def fail(self, error: SamwireError) -> None:
        """It will not be opened."""
        self.pause()
        if not self.result.done():
            self.result.set_exception(error)
            self.result.exception()  # who opened it may have gone; then nobody needs to be told

    def pause(self) -> None:
        """Stop sending bytes."""
        if self._upload is not None:
            self._upload.cancel()
            self._upload = None

    def _tell(self, progress: Progress) -> None:
        if self._on_progress is None or self.result.done():
            return
        try:
            self._on_progress(progress)
        # Whatever the caller's code raises is the caller's; here it would end the connection.
        except (Exception, asyncio.CancelledError) as theirs:  # noqa: BLE001
            self.fail(CallbackError(theirs))

    def _settle(self, opened: Opened | None) -> None:
        self.pause()
        if not self.result.done():
            self.result.set_result(opened)

    async def _send_bytes(self) -> None:
        """Each `send` waits while the network is full, so that clicks can go in between."""
        with contextlib.suppress(ConnectionLost):
            for chunk in self._picture.chunks():
                await self._link.send(Data(id=self.id, bytes=chunk))
