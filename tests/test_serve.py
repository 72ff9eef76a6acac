"""Listening; the rest of a server's life is in tests/e2e."""

import logging
import socket
import sys

import pytest

from server.app import App
from server.config import Settings
from server.engine.models.base import Model
from server.serve import PortTakenError, bind, run

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="the option is Linux's")


def test_any_free_port_is_found() -> None:
    with bind(Settings(port=0)) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        assert port > 0


def test_a_port_in_use_is_refused_in_a_sentence() -> None:
    with bind(Settings(port=0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"127\.0\.0\.1:{port}: .*--port or SAMWIRE_PORT"):
            bind(Settings(port=port))


@only_linux
@pytest.mark.parametrize(
    ("send_timeout_s", "expected_ms"), [(10.0, 50_000), (0.5, 40_500), (1e12, 2**31 - 1)]
)
def test_the_kernel_ends_connections_that_take_nothing(
    send_timeout_s: float, expected_ms: int
) -> None:
    with bind(Settings(port=0, send_timeout_s=send_timeout_s)) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                told = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert told == expected_ms


@pytest.mark.parametrize(
    ("failure", "sentence", "traced"),
    [
        (FileNotFoundError("vit_b.pth is not a file"), "cannot serve: vit_b.pth is not", False),
        (KeyError("x"), "cannot serve: 'x'", True),
    ],
)
def test_a_model_that_does_not_load_ends_the_process_and_a_fault_of_ours_is_traced(
    caplog: pytest.LogCaptureFixture, failure: Exception, sentence: str, *, traced: bool
) -> None:
    def load() -> Model:
        raise failure

    settings = Settings(port=0, model="fake")
    with bind(settings) as listener, caplog.at_level(logging.ERROR):
        assert run(App(settings, load), listener) == 1
    assert sentence in caplog.text
    assert ("Traceback" in caplog.text) == traced
