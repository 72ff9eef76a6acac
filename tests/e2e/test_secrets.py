"""The log of a server holds nobody's token, whatever way it came."""

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest
from websockets.exceptions import ConnectionClosed

from server.protocol import Hello
from tests.support.rest import MIDDLE, PHOTO, client, opened
from tests.support.running_server import RunningServer, running_server
from tests.support.wire import wire

RIGHT, WRONG = "right-4711", "wrong-0815"


async def test_no_token_is_logged_neither_a_right_one_nor_a_wrong_one() -> None:
    with running_server(tokens=RIGHT) as server:
        for token in (RIGHT, WRONG):
            await _by_socket(server.url, token)
            await _by_socket(f"{server.url}?token={token}", token)
            await _in_no_hello(server, token)
        await _by_rest(server)
        await asyncio.to_thread(server.stop)
        log = server.whole_log()
    assert "code=unauthorized" in log  # it does say what happened
    assert RIGHT not in log
    assert WRONG not in log


async def _by_socket(url: str, token: str) -> None:
    async with wire(url, greet=False) as samwire:
        if token == RIGHT:
            await samwire.greet(token)
            await samwire.open(PHOTO)
            return
        await samwire.send(Hello(token=token))
        with pytest.raises(ConnectionClosed):
            await samwire.socket.recv()


async def _in_no_hello(server: RunningServer, token: str) -> None:
    """In fields of wrong types, in what is no message, as a header and as a name."""
    frames = [
        b"\x82\xa4type\xa5hello\xa5token\x91\xaa" + token.encode(),
        b"\x82\xa4type\xa5hello\xaa" + token.encode() + b"\x01",
        b"\xaa" + token.encode(),
    ]
    headers = {"Authorization": f"Bearer {token}", "Origin": f"http://{token}"}
    for frame in frames:
        for given in ({}, headers):
            async with wire(server.url, greet=False, additional_headers=given) as samwire:
                with contextlib.suppress(ConnectionClosed):  # of a wrong origin at once
                    await samwire.socket.send(frame)
                await samwire.socket.wait_closed()


async def _by_rest(server: RunningServer) -> None:
    async with client(server, Authorization=f"Bearer {RIGHT}") as http:
        session = await opened(http)
        wrong = {"Authorization": f"Bearer {WRONG}"}
        assert (await http.post(f"{session}/point", json=MIDDLE, headers=wrong)).status_code == 401
        assert (await http.post(f"{session}/point", json=MIDDLE)).status_code == 200
    for token in (RIGHT, WRONG):
        async with client(server) as http:
            url = f"/v1/sessions?token={token}"
            assert (await http.post(url, files={"image": PHOTO})).status_code == 401
            assert (await http.get(f"/{token}")).status_code == 404
            await http.post(f"/v1/sessions/{token}/point", json=MIDDLE)


@pytest.mark.parametrize("wrong", [{"SAMWIRE_PORT": "no port"}, {"SAMWIRE_TOKENS": f"{RIGHT},"}])
def test_nor_is_one_told_when_a_bad_setting_stops_the_start(wrong: dict[str, str]) -> None:
    stopped = subprocess.run(
        [sys.executable, "-m", "server", "serve", "--model", "fake"],
        env={**os.environ, "SAMWIRE_TOKENS": RIGHT, **wrong},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert stopped.returncode == 2
    assert RIGHT not in stopped.stdout + stopped.stderr
