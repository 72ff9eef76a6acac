"""Downloads from a real server on this machine, with all that goes wrong on the way."""

import contextlib
import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from server.engine.models.download import ATTEMPTS, DownloadError, RemoteFile, fetch

ROOT = Path(__file__).parents[3]

CONTENT = bytes(range(256)) * 20_000


@dataclass
class Behaviour:
    """What the server does next, and what it was asked."""

    status: int = 200
    cut_after: list[int] = field(default_factory=list)
    """Bytes sent before each of the next connections breaks."""
    knows_ranges: bool = True
    content: bytes = CONTENT
    ranges: list[str | None] = field(default_factory=list)
    half: int | None = None
    """Bytes sent before `may_end` is waited for."""
    may_end: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    behaviour: ClassVar[Behaviour]

    def do_GET(self) -> None:
        behaviour = self.behaviour
        asked = self.headers["Range"]
        behaviour.ranges.append(asked)
        start = 0
        if asked and behaviour.knows_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start and behaviour.status == 200 else behaviour.status)
        body = behaviour.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour.half is not None:
            self.wfile.write(body[: behaviour.half])
            behaviour.may_end.wait()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[behaviour.half :])
        elif behaviour.status == 200:
            self.wfile.write(body[: behaviour.cut_after.pop(0)] if behaviour.cut_after else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def url(behaviour: Behaviour) -> Iterator[str]:
    handler = type("Handler", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/weights.pth"
        server.shutdown()
        thread.join()


def remote(url: str, size: int = len(CONTENT)) -> RemoteFile:
    return RemoteFile(url, size, hashlib.sha256(CONTENT).hexdigest())


def ignore(had: int, size: int) -> None:
    """Show no progress."""


def left_in(folder: Path) -> list[Path]:
    """Its files; a lock's own may stay, as the system has it."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def test_a_file_arrives_whole_under_its_own_name_with_progress(url: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(remote(url), tmp_path / "new", lambda had, size: seen.append((had, size)))
    assert path == tmp_path / "new" / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left_in(path.parent) == [path]


def test_a_file_that_is_there_is_not_asked_for_again(
    url: str, tmp_path: Path, behaviour: Behaviour
) -> None:
    fetch(remote(url), tmp_path, ignore)
    fetch(remote(url), tmp_path, ignore)
    assert len(behaviour.ranges) == 1


def test_a_cut_connection_goes_on_where_it_broke(
    url: str, tmp_path: Path, behaviour: Behaviour
) -> None:
    behaviour.cut_after = [3_000_000, 0, 100_000]
    path = fetch(remote(url), tmp_path, ignore)
    assert path.read_bytes() == CONTENT
    assert behaviour.ranges == [None, *["bytes=3000000-"] * 2, "bytes=3100000-"]


def test_a_later_run_goes_on_where_an_earlier_one_was_stopped(
    url: str, tmp_path: Path, behaviour: Behaviour
) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    path = fetch(remote(url), tmp_path, ignore)
    assert path.read_bytes() == CONTENT
    assert behaviour.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_is_read_from_the_start(
    url: str, tmp_path: Path, behaviour: Behaviour
) -> None:
    behaviour.knows_ranges = False
    (tmp_path / "weights.pth.part").write_bytes(b"x" * 1000)
    assert fetch(remote(url), tmp_path, ignore).read_bytes() == CONTENT


def test_a_whole_part_is_only_checked_and_named(
    url: str, tmp_path: Path, behaviour: Behaviour
) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert fetch(remote(url), tmp_path, ignore).read_bytes() == CONTENT
    assert behaviour.ranges == []


def test_a_wrong_digest_is_refused_and_nothing_is_left(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="sha256"):
        fetch(RemoteFile(url, len(CONTENT), "0" * 64), tmp_path, ignore)
    assert left_in(tmp_path) == []


def test_a_file_longer_than_it_should_be_is_refused_and_nothing_is_left(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match="longer"):
        fetch(remote(url, size=1000), tmp_path, ignore)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_names_the_address_and_the_status(
    url: str, tmp_path: Path, behaviour: Behaviour, status: int
) -> None:
    behaviour.status = status
    with pytest.raises(DownloadError, match=f"weights.pth answered {status}"):
        fetch(remote(url), tmp_path, ignore)


def test_a_server_that_sends_nothing_is_given_up_but_what_came_is_kept(
    url: str, tmp_path: Path, behaviour: Behaviour
) -> None:
    behaviour.cut_after = [2000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError, match=f"broke off {ATTEMPTS} times"):
        fetch(remote(url), tmp_path, ignore)
    assert (tmp_path / "weights.pth.part").stat().st_size == 2000


def test_a_server_that_always_sends_something_shorter_is_given_up(
    url: str, tmp_path: Path, behaviour: Behaviour
) -> None:
    behaviour.content, behaviour.knows_ranges = b"<html>Please sign in", False
    with pytest.raises(DownloadError, match=f"it ends after 20 of {len(CONTENT)} bytes"):
        fetch(remote(url), tmp_path, ignore)
    assert len(behaviour.ranges) == 1 + ATTEMPTS


def test_nobody_listening_is_a_download_error(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="broke off"):
        fetch(remote("http://127.0.0.1:9/weights.pth"), tmp_path, ignore)


FETCH = """
import sys
from pathlib import Path
from server.engine.models.download import RemoteFile, fetch

url, size, sha256, folder = sys.argv[1:]
file = RemoteFile(url, int(size), sha256)
print("begins", flush=True)
path = fetch(file, Path(folder), lambda had, size: print(had, flush=True))
print("has", path, flush=True)
"""


@pytest.fixture
def begun(url: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes, each of which fetches the file, and ends what is left of them."""
    file, processes = remote(url), []

    def begin() -> subprocess.Popen[str]:
        asked = [file.url, str(file.size), file.sha256, str(tmp_path)]
        command = [sys.executable, "-c", FETCH, *asked]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        processes.append(process)
        assert said(process) == "begins"
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_processes_that_want_a_file_at_once_one_downloads_it_and_all_have_it(
    behaviour: Behaviour, tmp_path: Path, begun: Callable[[], subprocess.Popen[str]]
) -> None:
    behaviour.half = len(CONTENT) // 2
    processes = [begun() for _ in range(4)]
    behaviour.may_end.set()
    path = tmp_path / "weights.pth"
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert output.splitlines()[-1] == f"has {path}"
    assert behaviour.ranges == [None]
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == [path]


def test_threads_that_want_a_file_at_once_share_one_download(
    url: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.half = len(CONTENT) // 2
    with ThreadPoolExecutor() as threads:
        paths = [threads.submit(fetch, remote(url), tmp_path, ignore) for _ in range(4)]
        behaviour.may_end.set()
        assert {path.result() for path in paths} == {tmp_path / "weights.pth"}
    assert behaviour.ranges == [None]


def test_what_a_killed_process_had_is_gone_on_with_by_one_that_waited(
    behaviour: Behaviour, tmp_path: Path, begun: Callable[[], subprocess.Popen[str]]
) -> None:
    behaviour.half = had = 3_000_000
    killed = begun()
    while int(said(killed)) < had:
        pass
    waiting = begun()
    killed.kill()
    killed.wait()
    behaviour.half = None
    output, _ = waiting.communicate(timeout=60)
    behaviour.may_end.set()
    assert output.splitlines()[-1] == f"has {tmp_path / 'weights.pth'}"
    assert behaviour.ranges[0] is None
    assert behaviour.ranges[1] is not None
    assert 0 < int(behaviour.ranges[1].removeprefix("bytes=").removesuffix("-")) <= had
