"""Starting, stopping, and who may connect."""

import asyncio
import hashlib
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from websockets.exceptions import ConnectionClosed

from server.protocol import Data, Draining, Error, Open, Opened, Send
from tests.support.pictures import jpeg, noise
from tests.support.running_server import RunningServer, running_server
from tests.support.wire import Wire, wire

PHOTO = jpeg(noise(320, 240))


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_health_and_metrics_answer(fake: RunningServer) -> None:
    assert get(f"{fake.http}/livez") == (200, "alive")
    assert get(f"{fake.http}/readyz") == (200, "ready")
    status, text = get(f"{fake.http}/metrics")
    assert status == 200
    assert "samwire_sessions_active" in text
    start_s = re.search(r"^samwire_start_seconds (\S+)$", text, re.MULTILINE)
    assert start_s is not None
    assert float(start_s[1]) > 0


async def stopped_while_it_waits_for_bytes(server: RunningServer, client: Wire) -> Draining:
    digest = hashlib.sha256(PHOTO).hexdigest()
    await client.send(Open(id=1, size=len(PHOTO), sha256=digest))
    await client.expect(Send)
    server.process.send_signal(signal.SIGTERM)
    return await client.expect(Draining)


async def test_sigterm_drains_closes_with_1012_and_exits_with_0() -> None:
    with running_server() as server:
        async with wire(server.url) as client:
            assert (await stopped_while_it_waits_for_bytes(server, client)).deadline_s > 0
            await client.send(Data(id=1, bytes=PHOTO))
            await client.expect(Opened)
            with pytest.raises(ConnectionClosed) as closed:
                await client.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert await asyncio.to_thread(server.process.wait, 20) == 0


async def test_a_second_sigterm_ends_the_drain_without_a_traceback() -> None:
    with running_server() as server:
        async with wire(server.url) as client:
            await stopped_while_it_waits_for_bytes(server, client)
            server.process.send_signal(signal.SIGTERM)
            assert (await client.expect(Error)).code == "restarting"
            with pytest.raises(ConnectionClosed) as closed:
                await client.receive()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        assert "Traceback" not in server.whole_log()


def test_an_idle_server_stops_at_once_with_0() -> None:
    with running_server() as server:
        assert server.stop(signal.SIGINT) == 0


def test_a_taken_port_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = _serve("--port", str(port), "--model", "fake")
    assert failed.returncode == 2
    assert f":{port}" in failed.stderr
    assert "--port" in failed.stderr


def test_a_bad_setting_stops_the_start_and_is_named() -> None:
    failed = _serve("--model", "vit_z")
    assert failed.returncode == 2
    assert "model" in failed.stderr


def test_a_missing_checkpoint_ends_with_1_and_a_reason() -> None:
    failed = _serve("--port", "0", "--model", "vit_b", "--checkpoint", "/nowhere.pth")
    assert failed.returncode == 1
    assert "/nowhere.pth" in failed.stderr


def _serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("http://127.0.0.1:{port}", True),
        ("http://localhost:{port}", False),
        ("https://127.0.0.1:{port}", False),
        ("http://127.0.0.1:1", False),
        ("http://evil.example", False),
        ("null", False),
        ("https://annotate.example.org", True),
    ],
)
async def test_only_known_pages_may_connect(origin: str, welcome: bool) -> None:
    with running_server(origins="https://annotate.example.org") as server:
        headers = {"Origin": origin.format(port=server.port)}
        async with wire(server.url, greet=False, additional_headers=headers) as client:
            if welcome:
                await client.greet()
                return
            with pytest.raises(ConnectionClosed) as closed:
                await client.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4003


def test_the_page_comes_under_a_strict_policy(fake: RunningServer) -> None:
    with urllib.request.urlopen(f"{fake.http}/") as reply:
        policy = reply.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
