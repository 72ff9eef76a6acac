"""Servers started for a load test: samwire's, or the peer behind one lock, each a process."""

import asyncio
import os
import re
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from client_demo.errors import ConnectionLost

__all__ = ["COMMANDS", "Started", "started"]

COMMANDS = {
    "samwire": ("-m", "server", "serve"),
    "lock": ("-m", "server.bench.lock"),
}
_START_TIMEOUT_S = 600.0  # a model may have to be downloaded, or compiled
_STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Started:
    """A server that is ready."""

    url: str
    """Of its socket."""
    pid: int

    def resident_bytes(self) -> int:
        """The memory it occupies, as Linux counts it.

        Raises:
            OSError: it has ended, or this is not Linux.
        """
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def started(server: str, model: str | None, **settings: object) -> AsyncIterator[Started]:
    """Start a server on a free port of 127.0.0.1.

    Args:
        server: a key of `COMMANDS`.
        model: as `samwire serve --model`; None = what `SAMWIRE_MODEL` says, or the default.
        settings: the server's own, by their names.

    Raises:
        ConnectionLost: it did not start.
    """
    named = {f"SAMWIRE_{name.upper()}": str(value) for name, value in settings.items()}
    env = {**os.environ, "SAMWIRE_HOST": "127.0.0.1", "SAMWIRE_PORT": "0", **named}
    if model is not None:
        env["SAMWIRE_MODEL"] = model
    process = await asyncio.create_subprocess_exec(
        sys.executable, *COMMANDS[server], env=env, stderr=asyncio.subprocess.PIPE
    )
    log: deque[str] = deque(maxlen=20)
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            url = await _ready(process, log)
        reader = asyncio.create_task(_keep_reading(process, log))
        yield Started(url, process.pid)
    finally:
        await _end(process)
    await reader


async def _ready(process: asyncio.subprocess.Process, log: deque[str]) -> str:
    port = None
    while True:
        line = await _line(process, log)
        if line is None:
            raise ConnectionLost("the server did not start:\n" + "".join(log))
        found = re.search(r"http://\S+:(\d+)\s*$", line)
        port = found[1] if found else port
        if "ready: " in line and port is not None:
            return f"ws://127.0.0.1:{port}/v1/ws"


async def _line(process: asyncio.subprocess.Process, log: deque[str]) -> str | None:
    if process.stderr is None:
        return None
    line = (await process.stderr.readline()).decode(errors="replace")
    log.append(line)
    return line or None


async def _keep_reading(process: asyncio.subprocess.Process, log: deque[str]) -> None:
    """A full pipe would stop the server."""
    while await _line(process, log) is not None:
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
