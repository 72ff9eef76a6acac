"""Unanswered requests. A terminal reply settles its request.

A reply to a hover also settles every earlier hover, with None: a newer one took their place.
"""

import asyncio
from dataclasses import dataclass

from client_demo.errors import SamwireError, Superseded, error_of, local_error
from server.protocol import Done, Error, MaskReply, Opened, Progress, Send
from server.protocol import Superseded as SupersededMessage

__all__ = ["Answer", "Reply", "Requests"]

Reply = Send | Progress | Opened | MaskReply | Done | SupersededMessage | Error
"""What has the id of a request."""
Answer = MaskReply | Done | None


@dataclass(frozen=True, slots=True)
class _Asked:
    future: asyncio.Future[Answer]
    object: int | None
    size: tuple[int, int] | None
    is_hover: bool


class Requests:
    """Ids, which only grow, and the futures of the answers."""

    def __init__(self) -> None:
        self._last_id = 0
        self._asked: dict[int, _Asked] = {}

    def next_id(self) -> int:
        """An id that was never used."""
        self._last_id += 1
        return self._last_id

    def ask(
        self,
        request_id: int,
        *,
        number: int | None = None,
        size: tuple[int, int] | None = None,
        is_hover: bool = False,
    ) -> asyncio.Future[Answer]:
        """Expect an answer.

        Args:
            request_id: of the request.
            number: the object it is about.
            size: width and height of the mask that answers it; without, `done` does.
            is_hover: it may be answered by the reply to a newer one.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = _Asked(future, number, size, is_hover)
        return future

    def settle(self, reply: Reply) -> None:
        """Take a reply; one to nothing we wait for is no matter."""
        asked = self._asked.get(reply.id or 0)
        if asked is None or reply.id is None or isinstance(reply, Send | Progress):
            return
        if asked.is_hover:
            self._drop_hovers_before(reply.id)
        self._end(reply.id, _outcome(asked, reply))

    def abandon(self, request_id: int) -> None:
        """Nobody waits for it any more."""
        asked = self._asked.pop(request_id, None)
        if asked is not None and asked.is_hover:
            # The reply to it, which would have settled them, is not waited for either.
            self._drop_hovers_before(request_id)

    def about(self, number: int) -> list[int]:
        """The unanswered requests about an object."""
        return [key for key, asked in self._asked.items() if asked.object == number]

    def drop_hovers(self, number: int | None = None) -> None:
        """Settle every hover, or every hover over one object, with None."""
        for request_id, asked in list(self._asked.items()):
            if asked.is_hover and number in {None, asked.object}:
                self._end(request_id, None)

    def fail(self, error: SamwireError) -> None:
        """The connection is gone, and with it every answer."""
        self.drop_hovers()
        for request_id in list(self._asked):
            self._end(request_id, error)

    def _drop_hovers_before(self, request_id: int) -> None:
        for earlier, asked in list(self._asked.items()):
            if asked.is_hover and earlier < request_id:
                self._end(earlier, None)

    def _end(self, request_id: int, outcome: Answer | SamwireError) -> None:
        future = self._asked.pop(request_id).future
        if future.done():
            return
        if isinstance(outcome, SamwireError):
            future.set_exception(outcome)
            future.exception()  # whoever asked may be gone; then nobody needs to be told
        else:
            future.set_result(outcome)


def _outcome(
    asked: _Asked, reply: Opened | MaskReply | Done | SupersededMessage | Error
) -> Answer | SamwireError:
    match reply:
        case Error():
            return error_of(reply)
        case SupersededMessage():
            return None if asked.is_hover else Superseded(reply.by)
        case MaskReply() if asked.size is not None:
            return _sized(reply, *asked.size)
        case Done() if asked.size is None:
            return reply
        case _:
            return local_error("internal", f"the server's answer is of another kind: {reply.type}")


def _sized(reply: MaskReply, width: int, height: int) -> MaskReply | SamwireError:
    """Whoever expands a mask trusts its size: a few bytes can stand for gigabytes."""
    for body in (reply, *(reply.candidates or ())):
        if body.rle.size != (height, width):
            tall, wide = body.rle.size
            text = f"the server's mask is {wide} x {tall}, the image {width} x {height}"
            return local_error("internal", text)
    return reply
