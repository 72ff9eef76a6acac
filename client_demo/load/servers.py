"""Servers started for a load test: samwire's, or the peer behind one lock, each a process."""

import asyncio
import os
import re
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from client_demo.errors import ConnectionLost

__all__ = ["COMMANDS", "started"]

COMMANDS = {
    "samwire": ("-m", "server", "serve"),
    "lock": ("-m", "server.peer_lock"),
}
_START_TIMEOUT_S = 600.0  # a model may have to be downloaded, or compiled
_STOP_TIMEOUT_S = 15.0


@asynccontextmanager
async def started(server: str, model: str | None, most: int) -> AsyncIterator[str]:
    """Start a server on a free port; its socket's URL.

    Args:
        server: a key of `COMMANDS`.
        model: as `samwire serve --model`; None = what `SAMWIRE_MODEL` says, or the default.
        most: connections it must take.

    Raises:
        ConnectionLost: it did not start.
    """
    env = {**os.environ, "SAMWIRE_PORT": "0", "SAMWIRE_MAX_SESSIONS": str(most)}
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
        yield url
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
