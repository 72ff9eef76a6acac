"""What the engine works on: a decode that was asked for, and an encode that opens wait for.

Whoever asked is told through callbacks. One that raises is logged and no more: a fault in one
session must not end the loop that serves all.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol

from server.engine.cache import Entry
from server.engine.models.base import Embedding
from server.engine.queue import DecodeKind
from server.engine.types import DecodeRequest, MaskResult
from server.errors import WireError

__all__ = ["CacheKey", "DecodeJob", "EncodeJob", "OpenImage", "ProgressListener", "Waiter"]


_log = logging.getLogger(__name__)
_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Who may use an embedding, of which bytes, made by what."""

    principal: str
    sha256: str
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False)
class OpenImage:
    """An encoded image in use; pinned until `Engine.release`."""

    entry: Entry[CacheKey]
    cached: bool
    """Whether nothing had to be encoded for it."""
    wait_ms: float = 0.0
    decode_ms: float = 0.0
    encode_ms: float = 0.0

    @property
    def width(self) -> int:
        """In pixels, after EXIF orientation."""
        return self.entry.embedding.width

    @property
    def height(self) -> int:
        """In pixels, after EXIF orientation."""
        return self.entry.embedding.height

    @property
    def sha256(self) -> str:
        """Of the compressed bytes, in hex."""
        return self.entry.key.sha256


class ProgressListener(Protocol):
    """Is told how an open comes forward, on the event loop."""

    def __call__(self, stage: str, fraction: float, ahead: int | None = None) -> None:
        """`stage` is "waiting" (with `ahead`), "decode" or "encode"; `fraction` 0..1."""


@dataclass(slots=True, eq=False)
class DecodeJob:
    """One decode, from the queue to its outcome. Callbacks come on the event loop."""

    session: Hashable
    kind: DecodeKind
    image: OpenImage
    request: DecodeRequest
    on_started: Callable[[], None]
    on_done: Callable[[MaskResult | WireError], None]
    queued_at: float
    live: set["DecodeJob"]
    """Every decode that is owed an answer; this one too, until it has it."""
    queue_ms: float = 0.0
    ended: bool = False

    def start(self, now: float) -> None:
        """It leaves the queue for the device."""
        self.queue_ms = (now - self.queued_at) * 1e3
        _tell(self.on_started)

    def end(self, outcome: MaskResult | WireError) -> None:
        """Tell the outcome, once; nothing is told to whoever cancelled."""
        if not self.ended:
            self.drop()
            _tell(self.on_done, outcome)

    def drop(self) -> None:
        """No answer is owed any more; the embedding is not held by it either."""
        self.ended = True
        self.live.discard(self)


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """One open that waits for an encode."""

    outcome: asyncio.Future[OpenImage]
    listener: ProgressListener

    def tell(self, stage: str, fraction: float, ahead: int | None = None) -> None:
        """Let it know how far its encode is."""
        _tell(self.listener, stage, fraction, ahead)


@dataclass(slots=True, eq=False)
class EncodeJob:
    """One encode, shared by every open of the same bytes by the same principal."""

    key: CacheKey
    data: bytes
    """The compressed image; pixels are made only when it is this job's turn."""
    queued_at: float
    waiters: list[Waiter] = field(default_factory=list)
    steps: Generator[float, None, Embedding] | None = None
    """The encode under way; None until the pixels are read."""
    reading: bool = False
    ahead: int = 0
    """How many encodes went first, as last told."""
    retries: int = 0
    wait_ms: float = 0.0
    decode_ms: float = 0.0
    encode_ms: float = 0.0

    def tell(self, stage: str, fraction: float, ahead: int | None = None) -> None:
        """Let every waiter know how far it is."""
        for waiter in list(self.waiters):
            waiter.tell(stage, fraction, ahead)


def _tell(listener: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
    try:
        listener(*args, **kwargs)
    # See the top of this file.
    except Exception:  # noqa: BLE001
        _log.exception("a listener failed")
