"""A client within the process; what it is for is in tests/test_rest.py."""

import asyncio
import logging
from typing import Any

import pytest
from starlette.websockets import WebSocket

from server.loopback import Loopback, ToldError
from server.protocol import (
    ClientMessage,
    Error,
    ServerMessage,
    Superseded,
    pack,
    unpack_client,
)
from tests.support.annotators import rules

SCOPE: dict[str, Any] = {
    "type": "http",
    "scheme": "https",
    "path": "/v1/sessions",
    "headers": [],
    "client": ("1.2.3.4", 5),
    "server": ("here", 443),
}


class Server:
    """Says what it is told to at the first frame, and closes."""

    def __init__(self, *says: ServerMessage, code: int = 1000, reason: str | None = None) -> None:
        self.socket: WebSocket | None = None
        self._says = says
        self._code, self._reason = code, reason

    async def serve(self, socket: WebSocket) -> None:
        self.socket = socket
        await socket.accept()
        await socket.receive()
        for message in self._says:
            await socket.send_bytes(pack(message))
        await socket.close(self._code, self._reason)


async def refusal(server: Server) -> tuple[str, str]:
    loopback = Loopback(server.serve, SCOPE)
    with pytest.raises(ToldError) as told:
        await loopback.greet(None)
    await loopback.gone.wait()
    return told.value.code, told.value.message


async def test_it_comes_from_where_its_request_came() -> None:
    server = Server()
    await refusal(server)
    assert server.socket is not None
    assert server.socket.client == ("1.2.3.4", 5)
    assert server.socket.url.scheme == "wss"


@pytest.mark.parametrize(
    ("reason", "code", "message"),
    [
        ("full: every place is taken", "full", "every place is taken"),
        ("idle: no message for 300 s", "not_open", "the session was closed: no message for 300 s"),
        ("something else", "internal", "the session ended"),
        (None, "internal", "the session ended"),
    ],
)
async def test_how_a_session_ended_is_an_error(reason: str | None, code: str, message: str) -> None:
    assert await refusal(Server(reason=reason)) == (code, message)


async def test_an_error_without_an_id_is_told_to_whoever_waits() -> None:
    error = Error(code="bad_frame", message="expected another", fault="client")
    assert await refusal(Server(error)) == ("bad_frame", "expected another")


async def test_what_nobody_waits_for_is_passed_over() -> None:
    assert (await refusal(Server(Superseded(id=7), reason="full: by now")))[0] == "full"


async def test_after_its_end_nothing_is_asked() -> None:
    loopback = Loopback(Server(reason="restarting: the server is stopping").serve, SCOPE)
    loopback.leave()
    await loopback.gone.wait()
    with pytest.raises(ToldError) as told:
        await loopback.click([(1.0, 1.0, 1)])
    assert told.value.code == "restarting"


async def test_the_end_is_told_to_who_asks_after_it() -> None:
    loopback = Loopback(Server().serve, SCOPE)
    loopback.leave()
    await loopback.gone.wait()
    told = asyncio.Event()
    loopback.when_gone(told.set)
    await told.wait()


class Host:
    """Welcomes who comes, and turns them out once they have said something so often."""

    def __init__(self, *, idle_timeout_s: float, bears: int) -> None:
        self.heard: list[ClientMessage] = []
        self.bore_it = asyncio.Event()
        self._rules = rules(idle_timeout_s=idle_timeout_s)
        self._bears = bears

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive()
        await socket.send_bytes(pack(self._rules.welcome("a")))
        while len(self.heard) < self._bears:
            self.heard.append(unpack_client((await socket.receive())["bytes"]))
        self.bore_it.set()
        await socket.close(1013, "full: the place was needed")


async def test_who_is_at_work_says_so_before_it_counts_as_idle() -> None:
    host = Host(idle_timeout_s=0.01, bears=3)
    loopback = Loopback(host.serve, SCOPE)
    await loopback.greet(None)
    assert await loopback.stay_for(host.bore_it.wait())
    assert {message.type for message in host.heard} == {"cancel"}


async def test_work_for_a_session_ends_with_it() -> None:
    loopback = Loopback(Host(idle_timeout_s=300, bears=1).serve, SCOPE)
    await loopback.greet(None)
    given_up = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    with pytest.raises(ToldError) as told:
        await loopback.stay_for(work())
    assert told.value.code == "full"
    assert given_up.is_set()


async def test_a_fault_of_who_serves_is_logged_and_ends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_socket: WebSocket) -> None:
        raise KeyError("a fault of ours")

    with caplog.at_level(logging.ERROR):
        loopback = Loopback(fail, SCOPE)
        await loopback.gone.wait()
    assert "a fault of ours" in caplog.text
