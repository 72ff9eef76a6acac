"""Downloads from a real server on this machine, with all that goes wrong on the way."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from server.engine.models.download import ATTEMPTS, DownloadError, RemoteFile, fetch

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
        if behaviour.status == 200:
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


def test_a_file_arrives_whole_under_its_own_name_with_progress(url: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(remote(url), tmp_path / "new", lambda had, size: seen.append((had, size)))
    assert path == tmp_path / "new" / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(path.parent.iterdir()) == [path]


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
    assert list(tmp_path.iterdir()) == []


def test_a_file_longer_than_it_should_be_is_refused_and_nothing_is_left(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match="longer"):
        fetch(remote(url, size=1000), tmp_path, ignore)
    assert list(tmp_path.iterdir()) == []


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
