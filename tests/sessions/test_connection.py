"""What a connection does when its session fails, or its peer reads in drops; see tests/e2e too."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.websockets import WebSocket

from server.engine.engine import Engine
from server.engine.fake import FakeModel
from server.engine.jobs import CacheKey, OpenImage
from server.engine.models.base import Embedding
from server.metrics import Metrics
from server.protocol import Cancel, ClientMessage, Hello, Open, Superseded, pack, unpack_server
from server.sessions.connection import Connection
from server.sessions.effects import Abandon, Effect, Fetch, Reply
from server.sessions.outbox import Outbox
from server.sessions.session import Session
from server.sessions.uploads import UploadBudget
from tests.support.annotators import TIMINGS, rules
from tests.support.engines import SETTINGS, until


class FaultySession(Session):
    """Fails at `cancel`, at its second tick, and when it is told to end."""

    def __init__(self) -> None:
        super().__init__("s-1", rules(), UploadBudget(10_000), 0.0)
        self.ends_well = True
        self._ticks = 0

    def receive(self, message: ClientMessage, now: float) -> list[Effect]:
        if isinstance(message, Cancel):
            raise KeyError("a fault of ours")
        return super().receive(message, now)

    def tick(self, now: float) -> list[Effect]:
        del now
        self._ticks += 1
        if self._ticks > 1:
            raise KeyError("a fault of ours")
        return []

    def end(self) -> list[Effect]:
        if not self.ends_well:
            raise KeyError("a fault of ours")
        return super().end()


class TalkativeSession(Session):
    """Has much to say before it is told to end."""

    def tick(self, now: float) -> list[Effect]:
        del now
        words: Sequence[Effect] = [Reply(Superseded(id=number)) for number in range(1, 101)]
        return [*words, *self.hang_up("idle", "the place was needed")]


class BusySession(Session):
    """Has more to say than anyone reads, and begins an open in the same breath."""

    def tick(self, now: float) -> list[Effect]:
        del now
        words: Sequence[Effect] = [Reply(Superseded(id=number)) for number in range(1, 101)]
        return [*words, Fetch(1, "0" * 64, prefetch=False)]

    def end(self) -> list[Effect]:
        return [Abandon(1), *super().end()]


class Peer:
    """A client on an in-memory socket, at which every frame takes so long to leave."""

    def __init__(self, *, frame_takes_s: float = 0.0) -> None:
        self.frames: list[bytes] = []
        self.close_code: int | None = None
        self.says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.says.put_nowait({"type": "websocket.connect"})
        self._frame_takes_s = frame_takes_s

    def sends(self, message: ClientMessage) -> None:
        self.says.put_nowait({"type": "websocket.receive", "bytes": pack(message)})

    async def take(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            await asyncio.sleep(self._frame_takes_s)
            self.frames.append(message["bytes"])
        if message["type"] == "websocket.close":
            self.close_code = message["code"]

    async def connect(
        self, session: Session, *, send_timeout_s: float = 20.0, outbox_bytes: int = 1 << 20
    ) -> Connection:
        scope = {"type": "websocket", "headers": [], "subprotocols": []}
        socket = WebSocket(scope, self.says.get, self.take)
        await socket.accept()
        return Connection(
            socket,
            session,
            Engine(FakeModel, SETTINGS),
            Metrics(),
            outbox=Outbox(outbox_bytes),
            send_timeout_s=send_timeout_s,
        )


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_fault_in_what_a_message_does_ends_its_connection_and_is_logged(
    caplog: pytest.LogCaptureFixture, *, ends_well: bool
) -> None:
    peer, session = Peer(), FaultySession()
    session.ends_well = ends_well
    connection = await peer.connect(session)
    peer.sends(Hello())
    peer.sends(Cancel(target=1))
    with caplog.at_level(logging.ERROR):
        await connection.run()
    assert peer.close_code == 1011
    assert len(peer.frames) == 1  # the welcome that was owed
    assert "a session failed: session=s-1" in caplog.text
    assert "a fault of ours" in caplog.text


async def test_a_fault_at_a_tick_ends_its_connection_and_not_the_clock_of_all() -> None:
    peer = Peer()
    connection = await peer.connect(FaultySession())
    running = asyncio.create_task(connection.run())
    connection.tick()
    connection.tick()
    await running
    assert peer.close_code == 1011


async def test_who_reads_in_drops_is_not_sent_the_rest_for_ever_after_a_hang_up() -> None:
    peer = Peer(frame_takes_s=0.05)
    session = TalkativeSession("s-1", rules(), UploadBudget(10_000), 0.0)
    connection = await peer.connect(session, send_timeout_s=0.25)
    connection.tick()
    await connection.run()
    assert len(peer.frames) < 50
    assert peer.close_code == 4204


async def test_what_began_in_the_breath_that_was_one_too_much_is_let_go_of() -> None:
    peer = Peer()
    session = BusySession("s-1", rules(), UploadBudget(10_000), 0.0)
    connection = await peer.connect(session, outbox_bytes=1000)
    connection.tick()
    assert connection._opens == {}
    await connection.run()
    assert peer.close_code == 4102


async def test_a_hang_up_lets_go_of_the_image_before_it_returns() -> None:
    peer, session = Peer(), Session("s-1", rules(), UploadBudget(10_000), 0.0)
    connection = await peer.connect(session)
    cache = connection._engine.cache
    entry = cache.put(CacheKey("anna", "0" * 64, "fake"), Embedding(None, 100, 50, nbytes=1))
    session.receive(Hello(), 0.0)
    session.receive(Open(id=1, size=1), 0.0)
    session.on_opened(1, OpenImage(entry, True), sha256="", cached=True, timings=TIMINGS)
    connection.hang_up("idle", "its memory was needed")
    assert cache.evict_unused() == 1
    await connection.run()
    assert peer.close_code == 4204


async def test_who_was_told_that_the_server_stops_begins_nothing_new() -> None:
    peer, session = Peer(), Session("s-1", rules(), UploadBudget(10_000), 0.0)
    connection = await peer.connect(session)
    peer.sends(Hello())
    running = asyncio.create_task(connection.run())
    await until(lambda: bool(peer.frames))
    connection.announce_drain(10.0)
    peer.sends(Open(id=1, size=1, sha256="0" * 64))
    peer.says.put_nowait({"type": "websocket.disconnect"})
    await running
    told = [unpack_server(frame) for frame in peer.frames[1:]]
    assert [(m.type, getattr(m, "code", None)) for m in told] == [
        ("draining", None),
        ("error", "restarting"),
    ]


async def test_the_log_says_who_came(caplog: pytest.LogCaptureFixture) -> None:
    peer, session = Peer(), Session("s-1", rules(), UploadBudget(10_000), 0.0)
    connection = await peer.connect(session)
    for _ in range(2):  # the second is an error, and said to its sender alone
        peer.sends(Hello(client="browser 1.0\nx session=s-2"))
    peer.says.put_nowait({"type": "websocket.disconnect"})
    with caplog.at_level(logging.INFO, "server.sessions"):
        await connection.run()
    assert [line for line in caplog.messages if line.startswith(">")] == [
        r"> session=s-1 client='browser 1.0\nx session=s-2'"
    ]
