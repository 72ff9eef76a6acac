"""What a running server says of itself: its metrics, and what the kernel knows of its process."""

import asyncio
import re
import urllib.request
from pathlib import Path

from tests.support.running_server import RunningServer

__all__ = ["descriptors", "figure", "no_more_than", "resident_bytes", "threads", "until"]


async def figure(server: RunningServer, name: str) -> float:
    """A metric's value; 0 for a label that nothing has been counted under."""
    return await asyncio.to_thread(_scrape, server, name)


async def until(server: RunningServer, name: str, value: float) -> None:
    """Poll a metric; the test's own timeout is the limit."""
    while await figure(server, name) != value:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)


def _scrape(server: RunningServer, name: str) -> float:
    with urllib.request.urlopen(f"{server.http}/metrics") as reply:
        text = reply.read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    family, label, _ = name.partition("{")
    assert found is not None or (label and f"# TYPE {family} " in text), name
    return float(found[1]) if found else 0.0


def descriptors(server: RunningServer) -> int:
    """Files and sockets that its process holds."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def threads(server: RunningServer) -> int:
    """Threads of its process."""
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))


async def no_more_than(server: RunningServer, *, files: int, tasks: int = 1000) -> None:
    """Wait until the process holds at most so many descriptors and threads."""
    while descriptors(server) > files or threads(server) > tasks:  # noqa: ASYNC110 - not ours
        await asyncio.sleep(0.02)


def resident_bytes(server: RunningServer) -> int:
    """Memory of its process that is in use."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096
