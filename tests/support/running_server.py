"""The real server in a process of its own, on a free port."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["RunningServer", "running_server"]

_START_TIMEOUT_S = 90.0


@dataclass
class RunningServer:
    """A server that is ready."""

    process: subprocess.Popen[str]
    port: int
    lines: "queue.Queue[str | None]"
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/ws"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for_line(self, text: str, timeout_s: float = _START_TIMEOUT_S) -> str:
        """Read the log up to a line that holds `text`."""
        while True:
            line = self.lines.get(timeout=timeout_s)
            if line is None:
                raise AssertionError(f"the server ended without {text!r}:\n" + "".join(self.log))
            self.log.append(line)
            if text in line:
                return line

    def whole_log(self) -> str:
        """All that it wrote; once it has ended."""
        self.log.extend(line for line in iter(self.lines.get, None))
        return "".join(self.log)

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(timeout=30)


@contextmanager
def running_server(
    model: str = "fake", port: int = 0, **settings: object
) -> Iterator[RunningServer]:
    """Start one; `settings` are those of `server.config`, by their names."""
    named = {f"SAMWIRE_{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "serve", "--port", str(port), "--model", model],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **named},
    )
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    server = RunningServer(process, 0, lines)
    try:
        found = re.search(r":(\d+)\s*$", server.wait_for_line("http://"))
        assert found is not None
        server.port = int(found[1])
        server.wait_for_line("ready:")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def _read(process: subprocess.Popen[str], lines: "queue.Queue[str | None]") -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.put(line)
    lines.put(None)
