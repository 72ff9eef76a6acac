"""Runs the application under uvicorn: the socket, the signals, the exit code.

uvicorn closes WebSockets the moment a signal comes; samwire first lets running work finish. So the
first SIGTERM or SIGINT starts the drain and only its end stops the server; a second one ends the
drain. The process ends with 0 when it was told to, with 1 when the model or the device failed.
"""

import asyncio
import logging
import socket
import sys
from types import FrameType

import uvicorn

from server.app import App
from server.config import Settings
from server.guards import GuardedHttp, GuardedWebSocket
from server.protocol import MAX_FRAME_BYTES

__all__ = ["PortTakenError", "bind", "run"]

_log = logging.getLogger(__name__)
_GOODBYE_S = 3  # for close frames to be answered
_PINGS_S = 40.0  # until uvicorn's pings find out that nobody is there
_LONGEST_MS = 2**31 - 1


class PortTakenError(Exception):
    """Somebody else listens where we should."""


def bind(settings: Settings) -> socket.socket:
    """Listen before anything slow is done.

    Raises:
        PortTakenError: the address is in use, or is not ours.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _drop_deaf_peers(listener, settings.send_timeout_s)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as refused:
        listener.close()
        text = f"cannot listen on {settings.host}:{settings.port}: {refused.strerror}"
        raise PortTakenError(f"{text}; choose another with --port or SAMWIRE_PORT") from refused
    return listener


def _drop_deaf_peers(listener: socket.socket, send_timeout_s: float) -> None:
    """Let the kernel end connections, of those it will accept, whose other end takes nothing.

    Closing one waits until all that was written has been taken, which whoever never reads could put
    off for ever. Where the kernel cannot be told (macOS), the guards still give up our end of it.
    """
    if sys.platform == "linux":
        after_ms = min(round((send_timeout_s + _PINGS_S) * 1e3), _LONGEST_MS)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, after_ms)


def run(app: App, listener: socket.socket) -> int:
    """Serve until a signal or a failure; returns the exit code."""
    config = uvicorn.Config(
        app.starlette,
        http=GuardedHttp,
        ws=GuardedWebSocket,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # masks are dense already; inflating is an attack surface
        access_log=False,  # it would print query strings, tokens and all
        log_config=None,
        timeout_graceful_shutdown=_GOODBYE_S,
    )
    server = _Server(config, app)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    if app.failure is not None:
        told = isinstance(app.failure, (ValueError, OSError))  # in a sentence for whoever runs it
        _log.error("cannot serve: %s", app.failure, exc_info=None if told else app.failure)
    return 1 if app.failed.is_set() else 0


class _Server(uvicorn.Server):
    """uvicorn's server, stopping only when the application has drained."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app
        self._stop_asked = asyncio.Event()
        self._hurried = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until told to stop, or until the application fails; then drain."""
        serving = asyncio.create_task(super().main_loop())
        asked = asyncio.create_task(self._stop_asked.wait())
        failed = asyncio.create_task(self._app.failed.wait())
        await asyncio.wait({serving, asked, failed}, return_when=asyncio.FIRST_COMPLETED)
        draining = asyncio.create_task(self._app.drain())
        hurried = asyncio.create_task(self._hurried.wait())
        await asyncio.wait({serving, draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, failed, draining, hurried):
            task.cancel()
        await self._app.stop()
        self.should_exit = True
        await serving

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain. Second: stop now. Third: wait for nothing."""
        del sig, frame  # uvicorn would raise them again at the end, and the exit code be theirs
        if self._hurried.is_set():
            self.should_exit = self.force_exit = True
        if self._stop_asked.is_set():
            self._hurried.set()
        self._stop_asked.set()
