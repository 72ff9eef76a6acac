"""Whoever reads what is said on stderr may be gone, or the disk full: that stops nothing."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.fixture(params=["full disk", "closed pipe"])
def unwritable(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
    elif FULL.exists():
        writer = os.open(FULL, os.O_WRONLY)
    else:
        pytest.skip("no /dev/full here")
    yield writer
    os.close(writer)


def test_a_server_serves_and_stops_with_0(unwritable: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["serve", "--port", str(port), "--model", "fake"]
    process = subprocess.Popen([sys.executable, "-m", "server", *arguments], stderr=unwritable)
    try:
        while not ready(port):
            with pytest.raises(subprocess.TimeoutExpired):  # it still runs
                process.wait(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_command_that_is_refused_ends_with_2(unwritable: int) -> None:
    command = [sys.executable, "-m", "server", "serve", "--model", "vit_z"]
    assert subprocess.run(command, stderr=unwritable, check=False).returncode == 2


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
            return True
    except urllib.error.URLError:  # not there yet, or it loads the model
        return False
