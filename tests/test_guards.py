"""A connection that asks for nothing does not stay; see tests/e2e/test_floods.py for the rest."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from server import guards
from server.errors import WireError
from server.guards import (
    ANSWER_WITHIN_S,
    LEAVE_WITHIN_S,
    REFUSED_WITHIN_S,
    REQUEST_WITHIN_S,
    GuardedHttp,
)
from server.guards import GuardedWebSocket as WebSocket
from server.protocol import MAX_FRAME_BYTES, unpack_client

ASK = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
UPLOAD = b"POST /v1/sessions HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n"
BODY = b"an image."
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Timer:
    """One that its test fires."""

    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at, self.ring, self.is_set = at, ring, True

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.is_set = False


class Task:
    """One that never ends."""

    def add_done_callback(self, _done: Callable[["Task"], None]) -> None:
        """Nobody will be told."""


class Loop:
    """A clock that stands still until it is told to go on, and does nothing by itself."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, ring: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, ring))
        return self.timers[-1]

    def create_task(self, work: Any) -> "Task":
        work.close()
        return Task()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for timer in self.timers:
            if timer.is_set and timer.at <= self.now:
                timer.is_set = False
                timer.ring()


class Transport:
    """What a connection writes to, of which nobody reads; ends only when it is aborted."""

    def __init__(self, address: str = "here") -> None:
        self.aborted = self.closed = False
        self._address = address

    def write(self, _data: bytes) -> None:
        """It stays here."""

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None:
        """What comes is the test's to say."""

    def resume_reading(self) -> None:
        """So is this."""

    def set_protocol(self, _protocol: object) -> None:
        """The test asks the new one itself."""

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return (self._address, 1) if name == "peername" else None


async def silent(_scope: object, _receive: object, _send: object) -> None:
    """An application that never answers."""
    await asyncio.Event().wait()


class World:
    """One server's connections."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._config = uvicorn.Config(
            silent, ws=WebSocket, ws_max_size=MAX_FRAME_BYTES, log_config=None
        )
        self._config.load()
        self._state = ServerState()

    def connect(self, address: str = "here") -> tuple[GuardedHttp, Transport]:
        http = GuardedHttp(self._config, self._state, {}, cast("Any", self.loop))
        transport = Transport(address)
        http.connection_made(cast("Any", transport))
        return http, transport

    def upgraded(self, request: bytes = UPGRADE) -> tuple[WebSocket, Transport]:
        socket = WebSocket(self._config, self._state, {}, cast("Any", self.loop))
        transport = Transport()
        socket.connection_made(cast("Any", transport))
        socket.data_received(request)
        return socket, transport

    def accepted(self) -> tuple[WebSocket, Transport]:
        """With nothing left that the application has not been told."""
        socket, transport = self.upgraded()
        asyncio.run(socket.send({"type": "websocket.accept"}))
        socket.queue.get_nowait()  # that it connects
        return socket, transport


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("sent", [b"GE", b"GET /livez HTTP/1.1\r\nHost: here\r\n"])
def test_who_asks_for_nothing_whole_is_cut_off_in_time(world: World, sent: bytes) -> None:
    http, transport = world.connect()
    world.loop.pass_time(REQUEST_WITHIN_S - 0.1)
    http.data_received(sent)  # a drop now and then keeps nothing alive
    assert not transport.aborted
    world.loop.pass_time(0.1)
    assert transport.aborted


def answer(http: GuardedHttp) -> None:
    async def send() -> None:
        await http.cycle.send({"type": "http.response.start", "status": 200})
        await http.cycle.send({"type": "http.response.body", "body": b"alive"})

    asyncio.run(send())


def test_who_has_asked_has_so_long_again_once_it_is_answered(world: World) -> None:
    http, transport = world.connect()
    http.data_received(ASK)
    world.loop.pass_time(ANSWER_WITHIN_S - 0.1)
    answer(http)
    world.loop.pass_time(REQUEST_WITHIN_S - 0.1)
    assert not transport.aborted
    world.loop.pass_time(0.1)
    assert transport.aborted


def test_who_does_not_read_the_answer_is_cut_off_in_time_whatever_else_it_asks(
    world: World,
) -> None:
    http, transport = world.connect()
    http.data_received(ASK)
    world.loop.pass_time(ANSWER_WITHIN_S - 0.1)
    http.data_received(ASK)
    assert not transport.aborted
    world.loop.pass_time(0.1)
    assert transport.aborted


def test_each_of_several_requests_in_a_row_has_its_own_time(world: World) -> None:
    http, transport = world.connect()
    http.data_received(2 * ASK)
    world.loop.pass_time(ANSWER_WITHIN_S - 0.1)
    answer(http)
    world.loop.pass_time(ANSWER_WITHIN_S - 0.1)
    assert not transport.aborted
    world.loop.pass_time(0.1)
    assert transport.aborted


async def test_a_websocket_is_no_answer_and_may_stay(world: World) -> None:
    http, transport = world.connect()
    http.data_received(UPGRADE)
    world.loop.pass_time(10 * ANSWER_WITHIN_S)
    assert not transport.aborted


def test_who_has_left_is_waited_for_no_more(world: World) -> None:
    http, _ = world.connect()
    http.connection_lost(ConnectionResetError())
    assert not any(timer.is_set for timer in world.loop.timers)


def test_of_too_many_that_wait_the_oldest_makes_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_ALIKE", 2)
    first, second, third = [_connect_later(world) for _ in range(3)]
    assert (first.aborted, second.aborted, third.aborted) == (True, False, False)
    _connect_later(world)
    assert (second.aborted, third.aborted) == (True, False)


def test_those_that_came_at_the_same_time_are_counted_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_ALIKE", 2)
    at_once = [world.connect()[1] for _ in range(5)]
    assert [transport.aborted for transport in at_once].count(True) == 3


def test_of_too_many_that_are_answered_the_oldest_makes_room_and_none_that_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_ALIKE", 2)
    waiting = _connect_later(world)
    first, second, third = [_ask_later(world) for _ in range(3)]
    assert (first.aborted, second.aborted, third.aborted) == (True, False, False)
    assert not waiting.aborted


def test_bodies_that_do_not_come_push_out_nobody_who_waits_for_an_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_ALIKE", 2)
    waiting = _ask_later(world, UPLOAD + BODY)
    first, second, third = [_ask_later(world, UPLOAD) for _ in range(3)]
    assert (first.aborted, second.aborted, third.aborted) == (True, False, False)
    assert not waiting.aborted


def test_a_body_that_comes_outlives_those_that_do_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_ALIKE", 2)
    http, transport = world.connect()
    http.data_received(UPLOAD)
    for piece in (BODY[:3], BODY[3:6], BODY[6:]):
        _ask_later(world, UPLOAD)
        world.loop.now += 0.5
        http.data_received(piece)
    _ask_later(world, UPLOAD)
    assert not transport.aborted


def test_answers_that_are_not_taken_push_out_nobody_who_waits_for_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_ALIKE", 2)
    waiting = _ask_later(world)
    takers = [_take_later(world) for _ in range(3)]
    world.connect()
    assert [taker.aborted for taker in takers] == [True, False, False]
    assert not waiting.aborted


def test_the_address_that_has_most_makes_room_for_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_ALIKE", 3)
    honest = _connect_later(world, "10.0.0.1")
    flood = [_connect_later(world, "10.0.0.2") for _ in range(9)]
    other = _connect_later(world, "10.0.0.3")
    assert not honest.aborted
    assert not other.aborted
    assert [transport.aborted for transport in flood] == [True] * 8 + [False]


def _ask_later(world: World, request: bytes = ASK) -> Transport:
    world.loop.now += 1.0
    http, transport = world.connect()
    http.data_received(request)
    return transport


def _take_later(world: World) -> Transport:
    world.loop.now += 1.0
    http, transport = world.connect()
    http.data_received(ASK)
    asyncio.run(http.cycle.send({"type": "http.response.start", "status": 200}))
    return transport


def test_what_a_websocket_has_left_to_write_is_not_waited_for_long_once_it_is_over(
    world: World,
) -> None:
    socket, transport = world.upgraded()
    world.loop.pass_time(10 * LEAVE_WITHIN_S)
    [task] = socket.tasks
    socket.on_task_complete(task)
    world.loop.pass_time(LEAVE_WITHIN_S - 0.1)
    assert not transport.aborted
    world.loop.pass_time(0.1)
    assert transport.aborted


def test_nor_is_what_a_refused_one_was_told(world: World) -> None:
    _, transport = world.upgraded(UPGRADE.replace(b"Version: 13", b"Version: 12"))
    assert transport.closed
    world.loop.pass_time(LEAVE_WITHIN_S)
    assert transport.aborted


def test_a_websocket_that_is_gone_is_waited_for_no_more(world: World) -> None:
    socket, _ = world.upgraded()
    [task] = socket.tasks
    socket.on_task_complete(task)
    socket.connection_lost(None)
    assert not any(timer.is_set for timer in world.loop.timers)
    socket.on_task_complete(task)
    assert not any(timer.is_set for timer in world.loop.timers)


@pytest.mark.parametrize("flags", [b"\x81", b"\x01"], ids=["whole", "fragment"])
def test_text_is_told_of_at_its_beginning_and_never_read(world: World, flags: bytes) -> None:
    socket, _ = world.upgraded()
    socket.queue.get_nowait()  # that it connects
    socket.data_received(flags + b"\x81\0\0\0\0\xff")
    assert socket.queue.get_nowait() == {"type": "websocket.receive", "text": ""}
    if flags == b"\x01":
        socket.data_received(b"\x80\x81\0\0\0\0\xff")
    assert socket.queue.empty()


def test_an_upgrade_that_a_stop_finds_unanswered_can_still_be_refused(world: World) -> None:
    socket, transport = world.upgraded()
    socket.shutdown()
    assert transport.is_closing()

    async def refuse() -> None:
        await socket.send({"type": "websocket.accept"})
        await socket.send({"type": "websocket.close", "code": 1012})

    asyncio.run(refuse())


def test_who_answers_no_ping_is_given_up(world: World) -> None:
    _, transport = world.accepted()
    world.loop.pass_time(20.0)
    assert not transport.is_closing()
    world.loop.pass_time(20.0)
    assert transport.closed


TWO_MEBIBYTES = b"\xff" + (2 << 20).to_bytes(8, "big") + bytes(4)


@pytest.mark.parametrize(
    "frames",
    [
        b"\x82" + TWO_MEBIBYTES,
        b"\x02\x81" + bytes(5) + b"\x80" + TWO_MEBIBYTES,
    ],
    ids=["whole", "fragments"],
)
def test_of_a_frame_too_big_the_application_is_told_by_one(world: World, frames: bytes) -> None:
    socket, _ = world.accepted()
    socket.data_received(frames)
    told: Any = socket.queue.get_nowait()
    with pytest.raises(WireError) as refused:
        unpack_client(told["bytes"])
    assert refused.value.code == "frame_too_big"
    ended: Any = socket.queue.get_nowait()
    assert (ended["type"], ended["code"]) == ("websocket.disconnect", 1009)


def test_who_sent_a_frame_too_big_has_time_to_read_why_and_is_heard_no_more(world: World) -> None:
    socket, transport = world.accepted()
    socket.data_received(b"\x82" + TWO_MEBIBYTES)
    told = socket.queue.qsize()
    for _ in range(3):
        socket.data_received(bytes(100_000))
    world.loop.pass_time(REFUSED_WITHIN_S - 0.1)
    assert socket.queue.qsize() == told
    assert not transport.is_closing()
    world.loop.pass_time(0.1)
    assert transport.closed


def test_of_frames_that_are_none_the_application_is_told_nothing_but_the_end(world: World) -> None:
    socket, _ = world.accepted()
    socket.data_received(b"\x87\x80\0\0\0\0")
    assert socket.queue.get_nowait()["type"] == "websocket.disconnect"
    assert socket.queue.empty()


def _connect_later(world: World, address: str = "here") -> Transport:
    world.loop.now += 1.0
    return world.connect(address)[1]
