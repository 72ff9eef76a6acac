"""Unanswered requests. A terminal reply settles its request.

A reply to a hover also settles every earlier hover, with None: a newer one took their place.
"""

import asyncio
from dataclasses import dataclass

from client_demo.errors import SamwireError, Superseded, error_of
from server.protocol import Done, Error, MaskReply
from server.protocol import Superseded as SupersededMessage

__all__ = ["Answer", "Requests", "TerminalReply"]

TerminalReply = MaskReply | Done | SupersededMessage | Error
Answer = MaskReply | Done | None


@dataclass(frozen=True, slots=True)
class _Asked:
    future: asyncio.Future[Answer]
    object: int | None
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
        self, request_id: int, *, number: int | None = None, is_hover: bool = False
    ) -> asyncio.Future[Answer]:
        """Expect an answer; `number` is the object it is about."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = _Asked(future, number, is_hover)
        return future

    def settle(self, reply: TerminalReply) -> None:
        """Take a terminal reply; one to nothing we wait for is no matter."""
        asked = self._asked.get(reply.id or 0)
        if asked is None or reply.id is None:
            return
        if asked.is_hover:
            for earlier, other in list(self._asked.items()):
                if other.is_hover and earlier < reply.id:
                    self._end(earlier, None)
        if isinstance(reply, SupersededMessage):
            self._end(reply.id, None if asked.is_hover else Superseded(reply.by))
        else:
            self._end(reply.id, error_of(reply) if isinstance(reply, Error) else reply)

    def abandon(self, request_id: int) -> None:
        """Nobody waits for it any more."""
        self._asked.pop(request_id, None)

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

    def _end(self, request_id: int, outcome: Answer | SamwireError) -> None:
        future = self._asked.pop(request_id).future
        if future.done():
            return
        if isinstance(outcome, SamwireError):
            future.set_exception(outcome)
            future.exception()  # whoever asked may be gone; then nobody needs to be told
        else:
            future.set_result(outcome)
