"""Fetching a large file once: resumed after a cut, checked against its digest, seen while it runs.

A download lies beside its destination as `NAME.part` until it is whole and right; only then does
it get its name, in one step. So a file under its own name is always the true one, and a broken
connection costs what was missing and no more.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

__all__ = ["DownloadError", "RemoteFile", "digest", "fetch"]

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes had and the bytes in all."""

ATTEMPTS = 5
"""How often a connection may end, one after the other, without one new byte."""


class DownloadError(OSError):
    """The file could not be had, or is not the file it should be."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file elsewhere, and how to know it."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


def fetch(file: RemoteFile, folder: Path, progress: Progress) -> Path:
    """The file's path in `folder`, downloaded first where it is not there yet.

    Raises:
        DownloadError: the server refused, broke off too often, or sent something else.
    """
    path = folder / file.name
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_with(path):
        if not path.exists():  # whoever was waited for has fetched it
            _download(file, path, progress)
    return path


@contextlib.contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    """While nobody else, in any process, downloads it; who dies leaves nobody waiting.

    Where the file system has no locks, `filelock` keeps to the lock file's presence instead.
    """
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s is being downloaded by somebody else: waiting for it", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(file: RemoteFile, path: Path, progress: Progress) -> None:
    part = path.with_name(path.name + ".part")
    _complete(file, part, progress)
    found = digest(part)
    if found != file.sha256:
        part.unlink()
        raise DownloadError(f"{file.url} has the sha256 {found}, expected {file.sha256}")
    part.rename(path)


def _complete(file: RemoteFile, part: Path, progress: Progress) -> None:
    """Extend `part` until it has the file's size."""
    fruitless = 0
    while (had := _size(part)) < file.size:
        broken: httpx.TransportError | None = None
        try:
            _extend(file, part, progress)
        except httpx.TransportError as error:
            broken = error
        fruitless = 0 if _size(part) > had else fruitless + 1
        if fruitless == ATTEMPTS:
            reason = broken or f"it ends after {_size(part)} of {file.size} bytes"
            raise DownloadError(f"{file.url} broke off {ATTEMPTS} times: {reason}") from broken
    if had > file.size:
        part.unlink()
        raise DownloadError(f"{file.url} is longer than the expected {file.size} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _extend(file: RemoteFile, part: Path, progress: Progress) -> None:
    """Append what is missing, as far as the connection lasts."""
    had = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
    with httpx.stream("GET", file.url, headers=headers, follow_redirects=True) as response:
        if response.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
            raise DownloadError(f"{file.url} answered {response.status_code}")
        if response.status_code == httpx.codes.OK:
            had = 0  # the server knows no ranges and begins again
        with part.open("r+b" if had else "wb") as output:
            output.seek(had)
            # Raw: httpx would gather larger pieces and lose them when the connection breaks.
            for chunk in response.iter_raw():
                output.write(chunk)
                had += len(chunk)
                progress(had, file.size)
                if had > file.size:
                    return


def digest(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
