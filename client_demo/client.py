"""samwire's Python client: open an image, then ask for masks by points, boxes and hovers.

    async with connect("ws://localhost:8000/v1/ws") as sam:
        await sam.open("photo.jpg")
        mask = await sam.segment(points=[(320, 240)])
        pixels = mask.mask()

It hides lost connections: it reconnects by the close-code rules, reopens the image by digest (no
upload if the server still has it), and sends along the mask that the server would have refined. A
request that was under way raises `ConnectionLost`; just make it again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, cast

from client_demo.errors import CallbackError, ConnectionLost, SamwireError, Superseded, local_error
from client_demo.link import Link, socket_url
from client_demo.opening import OnProgress, Opening
from client_demo.pictures import Source, picture_of
from client_demo.prompts import Box, Memory, Point, Prior, prior_field, segment_of
from client_demo.requests import Reply, Requests
from client_demo.results import Mask, mask_of
from server.protocol import (
    Cancel,
    ClientMessage,
    Close,
    Draining,
    Error,
    Hello,
    MaskReply,
    Opened,
    Progress,
    Release,
    Segment,
    ServerMessage,
    Welcome,
)

__all__ = [
    "Client",
    "ConnectionLost",
    "Mask",
    "Opened",
    "Progress",
    "SamwireError",
    "Superseded",
    "connect",
]

_log = logging.getLogger(__name__)
DEFAULT_URL = "ws://localhost:8000/v1/ws"


def connect(
    url: str = DEFAULT_URL,
    *,
    token: str | None = None,
    name: str = "samwire-python",
    patience_s: float = 30.0,
) -> "Client":
    """Make a client; `async with` makes it connect.

    Args:
        url: of the server's socket; `http://host:8000` will do.
        token: if the server requires one.
        name: for the server's log.
        patience_s: seconds to retry the first connection while the server is full or starting.
    """
    return Client(url, Hello(token=token, client=name), patience_s)


class Client:
    """One annotator's session, whatever happens to its connections.

    A call waits for as long as its answer takes; `asyncio.timeout` around it sets a limit. What is
    cut off that way, or cancelled, is given up on the server too, and leaves nothing behind.

    Entering it raises `SamwireError` when the server cannot be reached or does not want us.
    """

    def __init__(self, url: str, hello: Hello, patience_s: float) -> None:
        self._requests = Requests()
        self._memory = Memory()
        self._image: Opening | None = None
        self._prefetches: set[Opening] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._patience_s = patience_s
        self._link = Link(socket_url(url), hello, self)

    async def __aenter__(self) -> Self:
        await self._link.start(self._patience_s)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.gather(*self._background)
        await self._link.stop()

    @property
    def welcome(self) -> Welcome:
        """What the server said of itself: model, limits, features."""
        if self._link.welcome is None:
            raise ConnectionLost("there was no connection yet")
        return self._link.welcome

    async def open(self, source: Source, *, on_progress: OnProgress | None = None) -> Opened:
        """Open an image in place of the last one, sending its bytes only if they are not known.

        Args:
            source: a path, the bytes of a file, or an RGB or grey array.
            on_progress: called with each `Progress`; what it raises ends the open, which raises it.

        Raises:
            SamwireError: among others `bad_image`, `image_too_large`, `too_many_pixels`.
        """
        picture = await asyncio.to_thread(picture_of, source)
        self._leave_image()
        opening = self._image = Opening(self._link, picture, on_progress=on_progress)
        try:
            await self._start(opening)
            # Shielded: the clicks that wait for it are not cancelled with who opened it.
            opened = await asyncio.shield(opening.result)
            return cast("Opened", opened)  # only a prefetch ends without
        except BaseException as ended:
            self._give_up(opening)
            if not isinstance(ended, CallbackError):
                raise
            theirs = ended.theirs
        raise theirs  # out here, where it keeps the context it was raised in

    async def prefetch(self, source: Source) -> None:
        """Have the server encode an image before it is opened; a no-op without that feature."""
        await self._link.online()
        if "prefetch" not in self.welcome.features:
            return
        picture = await asyncio.to_thread(picture_of, source)
        opening = Opening(self._link, picture, prefetch=True)
        self._prefetches.add(opening)
        try:
            await self._start(opening)
            await opening.result
        except asyncio.CancelledError:
            opening.pause()
            self._withdraw(opening.id)
            raise
        finally:
            self._prefetches.discard(opening)

    async def segment(
        self,
        *,
        points: Sequence[Point] = (),
        box: Box | None = None,
        object: int = 0,  # noqa: A002 - the protocol's word
        candidates: bool = False,
        prior: Prior = "auto",
    ) -> Mask:
        """The mask of one object, from everything said about it so far.

        Args:
            points: (x, y) or (x, y, label) in pixels; label 1 = include, 0 = exclude.
            box: x0, y0, x1, y1 in pixels; what leaves the picture is clipped.
            object: your number for the object.
            candidates: also return the three candidates, best first.
            prior: what to refine. By default the newest mask of fewer of these points; or a mask or
                candidate of this client's, any boolean array of the image's size, or None.

        Raises:
            Superseded: a newer prompt of this object overtook it.
            ConnectionLost: the connection ended first; ask again.
            SamwireError: anything else, by `code`.
        """
        try:
            return await self._click(points, box, object, candidates, prior)
        except SamwireError as error:
            if error.code != "prior_gone" or not isinstance(prior, Mask):
                raise
        # The server keeps few logits; the mask itself is the next best thing to refine.
        unknown = replace(prior, connection=0)
        return await self._click(points, box, object, candidates, unknown)

    async def hover(
        self,
        *,
        points: Sequence[Point] = (),
        box: Box | None = None,
        object: int = 0,  # noqa: A002 - the protocol's word
        prior: Prior = "auto",
    ) -> Mask | None:
        """What a click would give; None when a newer hover took its place, or nobody answers."""
        asked, size = await self._segment_message(points, box, object, prior, kind="hover")
        try:
            return await self._ask(asked, size)
        except ConnectionLost:
            return None

    async def cancel(self, object: int = 0) -> None:  # noqa: A002 - the protocol's word
        """Give up what is unanswered of an object: it raises `Superseded`, hovers return None."""
        about = self._requests.about(object)
        self._requests.drop_hovers(object)
        for target in about:
            await self._notify(Cancel(target=target))

    async def release(self, object: int = 0) -> None:  # noqa: A002 - the protocol's word
        """Forget an object, here and on the server."""
        self._memory.forget(object)
        await self._notify(Release(object=object))

    async def close(self) -> None:
        """Free the image on the server. The connection stays; it ends with the `async with`."""
        self._leave_image()
        close = Close(id=self._requests.next_id())
        answer = self._requests.ask(close.id)
        try:
            with contextlib.suppress(ConnectionLost):  # then it is free already
                await self._link.send(close)
                await answer
        finally:
            self._requests.abandon(close.id)

    # What the link tells us.

    async def on_online(self) -> None:
        """See `Listener`."""
        for opening in self._openings():
            await opening.start(self._requests.next_id())

    def on_message(self, message: ServerMessage) -> None:
        """See `Listener`."""
        match message:
            case Welcome():
                pass  # the link has taken it
            case Draining():
                _log.info("the server stops within %g s", message.deadline_s)
                self._link.expect_end(message.deadline_s)
            case Error(id=None):
                _log.warning("the server refused a frame: %s %s", message.code, message.message)
            case _:
                self._on_reply(message)

    def on_lost(self) -> bool:
        """See `Listener`."""
        self._requests.fail(ConnectionLost("the connection ended before the answer came"))
        for opening in self._openings():
            opening.pause()
        return any(not opening.result.done() for opening in self._openings())

    def on_stopped(self, error: SamwireError) -> None:
        """See `Listener`."""
        self._requests.fail(error)
        for opening in self._openings():
            opening.fail(error)

    # The pieces.

    async def _click(
        self, points: Sequence[Point], box: Box | None, number: int, candidates: bool, prior: Prior
    ) -> Mask:
        asked, size = await self._segment_message(points, box, number, prior, candidates=candidates)
        mask = cast("Mask", await self._ask(asked, size))  # only a hover ends without
        self._memory.add(asked, mask)
        return mask

    async def _segment_message(
        self,
        points: Sequence[Point],
        box: Box | None,
        number: int,
        prior: Prior,
        **fields: object,
    ) -> tuple[Segment, tuple[int, int]]:
        """The message, as the connection that stands now needs it, and the size of its image."""
        connection = await self._link.online()
        opened = await self._opened()
        size = opened.width, opened.height
        request_id = self._requests.next_id()
        segment = segment_of(
            size,
            points=points,
            box=box,
            id=request_id,
            object=number,
            **fields,
        )
        if isinstance(prior, str):
            earlier = self._memory.automatic(segment)
            if earlier is None or earlier.connection == connection:
                return segment, size  # the server finds it, or that there is none
            prior = earlier if "prior_rle" in self.welcome.features else None
        most = self.welcome.limits.max_prior_bytes
        known = None if prior is None else prior_field(prior, connection, most)
        return segment.model_copy(update={"prior": known}), size

    async def _opened(self) -> Opened:
        """The open image; while it is being opened, wait."""
        if self._image is None:
            raise local_error("not_open", "open an image first")
        opened = await asyncio.shield(self._image.result)
        return cast("Opened", opened)  # only a prefetch ends without

    async def _ask(self, asked: Segment, size: tuple[int, int]) -> Mask | None:
        connection = self._link.number
        is_hover = asked.kind == "hover"
        answer = self._requests.ask(asked.id, number=asked.object, size=size, is_hover=is_hover)
        try:
            await self._link.send(asked)
            reply = await answer
        except asyncio.CancelledError:
            self._withdraw(asked.id)
            raise
        finally:
            self._requests.abandon(asked.id)
        return mask_of(reply, connection) if isinstance(reply, MaskReply) else None

    async def _notify(self, message: ClientMessage) -> None:
        with contextlib.suppress(ConnectionLost):  # then there is nothing to give up
            await self._link.send(message)

    def _withdraw(self, target: int) -> None:
        """Have the server give it up, without waiting; an id of 0 was never sent."""
        if not target:
            return
        task = asyncio.create_task(self._notify(Cancel(target=target)))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _start(self, opening: Opening) -> None:
        """Start it now, or when the connection is back."""
        await self._link.online()
        if not opening.id:
            with contextlib.suppress(ConnectionLost):
                await opening.start(self._requests.next_id())

    def _give_up(self, opening: Opening) -> None:
        if opening is self._image:
            self._leave_image()
            self._withdraw(opening.id)

    def _openings(self) -> list[Opening]:
        return [*([] if self._image is None else [self._image]), *self._prefetches]

    def _opening(self, open_id: int | None) -> Opening | None:
        return next((opening for opening in self._openings() if opening.id == open_id), None)

    def _on_reply(self, message: Reply) -> None:
        opening = self._opening(message.id)
        if opening is None:
            self._requests.settle(message)
            return
        error = opening.take(message)
        if error is not None and opening is self._image:
            _log.info("no image is open: %s", error)
            self._leave_image()

    def _leave_image(self) -> None:
        if self._image is not None:
            self._image.fail(Superseded())
        self._image = None
        self._memory.clear()


if __name__ == "__main__":
    from client_demo.demo import main

    main()
