"""A connection that asks for nothing does not stay; see tests/e2e/test_floods.py for the rest."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from server import guards
from server.guards import REQUEST_WITHIN_S, GuardedHttp


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
    """What a connection writes to; ends when it is aborted."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_extra_info(self, _name: str) -> None:
        return None


class World:
    """One server's connections."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._config = uvicorn.Config(lambda: None, log_config=None)
        self._config.load()
        self._state = ServerState()

    def connect(self) -> tuple[GuardedHttp, Transport]:
        http = GuardedHttp(self._config, self._state, {}, cast("Any", self.loop))
        transport = Transport()
        http.connection_made(cast("Any", transport))
        return http, transport


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


def test_who_has_asked_is_left_alone_until_the_answer_and_so_long_after_it(world: World) -> None:
    http, transport = world.connect()
    http.data_received(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
    world.loop.pass_time(10 * REQUEST_WITHIN_S)
    assert not transport.aborted
    http._wait()  # as at the end of a response
    world.loop.pass_time(REQUEST_WITHIN_S)
    assert transport.aborted


def test_who_has_left_is_waited_for_no_more(world: World) -> None:
    http, _ = world.connect()
    http.connection_lost(ConnectionResetError())
    assert not any(timer.is_set for timer in world.loop.timers)


def test_of_too_many_that_wait_the_oldest_makes_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_WAITING", 2)
    first, second, third = [_connect_later(world) for _ in range(3)]
    assert (first.aborted, second.aborted, third.aborted) == (True, False, False)
    _connect_later(world)
    assert (second.aborted, third.aborted) == (True, False)


def _connect_later(world: World) -> Transport:
    world.loop.now += 1.0
    return world.connect()[1]
