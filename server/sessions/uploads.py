"""The bytes of images on their way in, bounded in size, in sum over all sessions, and in time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from server.errors import WireError
from server.sessions.rules import SessionRules

__all__ = ["RESERVED_BYTES", "Upload", "UploadBudget"]

RESERVED_BYTES = 1 << 20
"""Room taken ahead of the bytes: who announces much and sends nothing keeps no more from others."""


class UploadBudget:
    """Bytes of compressed images the process may hold before they are encoded; shared by all."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.used = 0

    def take(self, size: int) -> None:
        """Reserve room.

        Raises:
            WireError: `overload` when there is none.
        """
        if self.used + size > self._max_bytes:
            text = "too many images are being uploaded at once"
            raise WireError("overload", text, retry_after=1.0)
        self.used += size

    def give(self, size: int) -> None:
        """Return what was taken."""
        self.used -= size


@dataclass(slots=True)
class Upload:
    """The bytes of one image; holds the budget's room for those that came, and a few ahead."""

    size: int
    """At most."""
    budget: UploadBudget
    rules: SessionRules
    receiving: bool = False
    _last_at: float = 0.0
    """When it last came forward; monotonic seconds."""
    _pace_from: tuple[float, int] = (0.0, 0)
    """When, and with how many bytes, its pace was last judged."""
    _too_slow: bool = False
    _buffer: bytearray = field(default_factory=bytearray)  # a list of tiny chunks would cost more
    _reserved: int = 0

    def start(self, now: float) -> None:
        """Reserve room and wait for data.

        Raises:
            WireError: `overload`.
        """
        self._reserve(0)
        self.receiving = True
        self._last_at = now
        self._pace_from = (now, 0)

    def is_stalled(self, now: float) -> bool:
        """Whether data stopped coming, or trickles, however fast it came before."""
        stopped = now - self._last_at >= self.rules.upload_timeout_s
        return self.receiving and (stopped or self._too_slow)

    def add(self, chunk: bytes, now: float) -> None:
        """Take the next bytes.

        Raises:
            WireError: `bad_data` when they go beyond the size announced, `overload` when there is
                no more room, or no memory.
        """
        received = len(self._buffer) + len(chunk)
        if received > self.size:
            text = f"expected {self.size} bytes in all, got at least {received}"
            raise WireError("bad_data", text, field="bytes")
        self._reserve(received)
        with _memory_or_overload():
            self._buffer += chunk
        self._last_at = now
        self._judge_pace()

    def _judge_pace(self) -> None:
        """From one arrival to another: between two of them nothing says how fast it goes."""
        since, had = self._pace_from
        elapsed, came = self._last_at - since, len(self._buffer) - had
        if elapsed >= self.rules.upload_timeout_s:
            self._too_slow = came < elapsed * self.rules.min_upload_bytes_per_s
            self._pace_from = (self._last_at, len(self._buffer))

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return len(self._buffer) == self.size

    @property
    def fraction(self) -> float:
        """Of its bytes, how many are there."""
        return len(self._buffer) / self.size

    def _reserve(self, received: int) -> None:
        """Take room for so many bytes, and some more when that is used up."""
        if self._reserved == 0 or received > self._reserved:
            wanted = min(self.size, received + RESERVED_BYTES)
            self.budget.take(wanted - self._reserved)
            self._reserved = wanted

    def take_bytes(self) -> bytes:
        """Hand over the whole image; the budget stays taken until `end`.

        Raises:
            WireError: `overload` when there is no memory for the copy.
        """
        with _memory_or_overload():
            data = bytes(self._buffer)
        self._buffer.clear()
        self.receiving = False
        return data

    def end(self) -> None:
        """Give back the room; harmless when repeated."""
        self.budget.give(self._reserved)
        self._reserved = 0
        self._buffer.clear()
        self.receiving = False


@contextlib.contextmanager
def _memory_or_overload() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        text = "there is no memory for this image now"
        raise WireError("overload", text, retry_after=1.0) from None
