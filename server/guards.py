"""What stands before the application: connections that ask for nothing, and floods below its sight.

uvicorn waits for ever for a request that does not come and for an answer that is not read, and
answers WebSocket pings and collects fragments as fast as they arrive, of which the application
never hears. So here a connection has a few seconds to ask for something and some more to take the
answer, those that dawdle make room for newer ones, first of all where one address has many, and
frames that are no messages are counted. Whoever goes beyond is cut off without a word.

Headers are bounded by h11 (64 KiB for a request's); uvicorn's other parser, httptools, bounds none.
"""

import asyncio
import dataclasses
import enum
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame

from server.protocol import MAX_FRAME_BYTES
from server.sessions.rate import TokenBucket

__all__ = ["GuardedHttp", "GuardedWebSocket"]

REQUEST_WITHIN_S = 10.0
"""From the connection, or the last answer, to a whole request."""
ANSWER_WITHIN_S = 30.0
"""From a request's headers to the end of its answer."""
MAX_ALIKE = 256
"""Connections at one stage: with one more, one of them makes room."""

MAX_HEAD_BYTES = 64 << 10
"""Of a request's line and headers."""

CLOSE_WITHIN_S = 2.0
"""For the answer to a close."""
REFUSED_WITHIN_S = 0.3
"""For what is no WebSocket's frame to stop coming, once its sender was told."""
LEAVE_WITHIN_S = 10.0
"""For what was written to leave, once a WebSocket is closed: who reads a few bytes a second could
hold its descriptor for hours."""
CONTROL_FRAMES_PER_S = 20.0
CONTROL_FRAME_BURST = 200.0
SMALL_FRAGMENT = 1024
"""Bytes. A shorter one that does not end its message counts as a control frame."""
BITE = 4096
"""Bytes looked at before what they held is counted."""
TOO_BIG = bytes(MAX_FRAME_BYTES + 1)
"""What the application gets for a frame of which nobody read more than its size."""
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Announced(h11.Connection):
    """HTTP/1.1 of bodies that say how long they are.

    Others come in chunks, each of which costs the same to take, be it one byte: a few hundred
    kilobytes of such would hold up everybody for most of a second.
    """

    def next_event(self) -> Any:  # noqa: ANN401 - h11's own, which has no other name
        """The next event; of a request whose body is in chunks an error."""
        event = super().next_event()
        if isinstance(event, h11.Request) and _is_chunked(event):
            raise h11.RemoteProtocolError("expected a Content-Length", error_status_hint=411)
        return event


def _is_chunked(request: h11.Request) -> bool:
    return any(name == b"transfer-encoding" for name, _ in request.headers)


class Stage(enum.Enum):
    """What a connection is at. No stage takes room from another.

    So who floods with bodies that do not come pushes out nobody who waits for our answer.
    """

    ASKING = enum.auto()
    SENDING = enum.auto()
    WAITING = enum.auto()
    TAKING = enum.auto()


class GuardedHttp(H11Protocol):
    """HTTP/1.1 that does not wait for ever."""

    deadline: asyncio.TimerHandle | None = None
    """Of what is waited for."""
    within_s = 0.0
    """How long that may take."""
    heard_at = 0.0
    """When it last came forward: by a connection, a request, a piece of a body, an answer taken."""
    seen_at = Stage.ASKING
    """The stage when it was last looked at."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        self.conn = _Announced(h11.SERVER, MAX_HEAD_BYTES)
        super().connection_made(transport)
        self._expect(REQUEST_WITHIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Once there is a request, it is waited for the end of its answer."""
        super().handle_events()
        if self.stage is Stage.ASKING or self.deadline is None:
            return
        # Not each time that bytes come: they would buy their sender more time.
        if self.within_s == REQUEST_WITHIN_S:
            self._expect(ANSWER_WITHIN_S)
        elif self.seen_at is Stage.SENDING:
            self.heard_at = self.loop.time()
            if self.stage is not Stage.SENDING:
                self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """A WebSocket has its own rules."""
        self._expect_nothing()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next."""
        self._expect(REQUEST_WITHIN_S)
        super().on_response_complete()

    @property
    def stage(self) -> Stage:
        """What it is at now."""
        if self.cycle is None or self.cycle.response_complete:
            return Stage.ASKING
        if self.cycle.response_started:
            return Stage.TAKING
        return Stage.SENDING if self.cycle.more_body else Stage.WAITING

    def _expect(self, within_s: float) -> None:
        self._expect_nothing()
        self.within_s = within_s
        self.deadline = self.loop.call_later(within_s, self.cut_off)
        self.heard_at = self.loop.time()
        self._look()

    def _look(self) -> None:
        self.seen_at = self.stage
        # At every stage: that an answer begins to be taken is noticed at somebody's next step.
        if len(self.connections) > MAX_ALIKE:
            _make_room([c for c in self.connections if isinstance(c, GuardedHttp) and c.deadline])

    def _expect_nothing(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def cut_off(self) -> None:
        """End it, whatever it was about to say."""
        self._expect_nothing()
        self.transport.abort()


def _make_room(connections: Sequence[GuardedHttp]) -> None:
    """At each stage no more than there may be."""
    stages: dict[Stage, list[GuardedHttp]] = defaultdict(list)
    for connection in connections:
        stages[connection.stage].append(connection)
    for alike in stages.values():
        while len(alike) > MAX_ALIKE:
            victim = _dispensable(alike)
            alike.remove(victim)
            victim.cut_off()


def _dispensable(alike: Sequence[GuardedHttp]) -> GuardedHttp:
    """Of the address that has most, who has not come forward for longest."""
    addresses = [connection.client and connection.client[0] for connection in alike]
    held = Counter(addresses)
    _, victim = max(
        zip(addresses, alike, strict=True), key=lambda one: (held[one[0]], -one[1].heard_at)
    )
    return victim


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose frames are counted, also those that are no messages."""

    leaving: asyncio.TimerHandle | None = None
    """Once it is closed, and something may still have to be written."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to count."""
        super().connection_made(transport)
        self.close_timeout = CLOSE_WITHIN_S
        self._frames_left = TokenBucket(CONTROL_FRAMES_PER_S, CONTROL_FRAME_BURST, time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to write."""
        super().connection_lost(exc)
        if self.leaving is not None:
            self.leaving.cancel()

    def data_received(self, data: bytes) -> None:
        """Take it in bites: a full read of pings would take half a second to go through."""
        for bite in _bites(data):
            if self.transport.is_closing() or self.conn.parser_exc is not None:
                return
            super().data_received(bite)
        # The first bytes are a whole request; where no answer was begun, none would ever come.
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()) or BAD_REQUEST)
            self.transport.close()
        if self.transport.is_closing():
            self._leave()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Once the application has ended, nothing that it said is waited for much longer."""
        super().on_task_complete(task)
        self._leave()

    def shutdown(self) -> None:
        """Stop; one that is not answered yet is cut off, for uvicorn cannot refuse it twice."""
        if self.handshake_complete:
            super().shutdown()
        else:
            self.transport.abort()

    def handle_text(self, event: Frame) -> None:
        """Never welcome: the application, which says so, gets it unread and at its beginning."""
        super().handle_text(dataclasses.replace(event, data=b"", fin=True))

    def handle_ping(self) -> None:
        """Answer it, within the rate."""
        if self._is_allowed():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Take it, within the rate."""
        if self._is_allowed():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment; small ones within the rate, and none of a text."""
        is_allowed = event.fin or len(event.data) >= SMALL_FRAGMENT or self._is_allowed()
        if is_allowed and self.curr_msg_data_type == "bytes":
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Let the client read why it is over; of a frame too big, the application has to be told.

        Were it closed at once, with bytes still coming in, the kernel would reset it, and what was
        written might be lost. So what comes is thrown away for a moment.
        """
        if isinstance(self.conn.parser_exc, PayloadTooBig):
            self.queue.put_nowait({"type": "websocket.receive", "bytes": TOO_BIG})
        code = self.conn.close_sent.code if self.conn.close_sent is not None else 1006
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(REFUSED_WITHIN_S, self.transport.close)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def _leave(self) -> None:
        if self.leaving is None and not self.disconnected:
            self.leaving = self.loop.call_later(LEAVE_WITHIN_S, self.transport.abort)

    def _is_allowed(self) -> bool:
        allowed = self._frames_left.take(time.monotonic())
        if not allowed:
            self.transport.abort()
        return allowed


def _bites(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), BITE):
        yield data[start : start + BITE]
