"""What a session wants done. The session decides, the connection carries out, in order."""

from dataclasses import dataclass
from typing import Literal, Protocol

from server.engine.types import Prompt, Want
from server.protocol import RleBody, ServerMessage

__all__ = [
    "Abandon",
    "Effect",
    "Fetch",
    "Free",
    "Hangup",
    "ImageHandle",
    "Load",
    "LogitsHandle",
    "Reply",
    "Submit",
    "Withdraw",
]


class ImageHandle(Protocol):
    """An open image, pinned until it is freed; opaque to the session but for its size."""

    @property
    def width(self) -> int:
        """In pixels, after EXIF orientation."""

    @property
    def height(self) -> int:
        """In pixels, after EXIF orientation."""


class LogitsHandle(Protocol):
    """Remembered low-resolution logits; opaque to the session but for their bytes."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory kept alive."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message."""

    message: ServerMessage
    hover: bool = False
    """Whether it answers a hover, so that a newer one may take its place while it waits."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection with the close code of this error (a key of `errors.ERRORS`)."""

    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Open from the cache, or join an encode under way; if neither, call `Session.on_missing`."""

    id: int
    sha256: str
    prefetch: bool


@dataclass(frozen=True, slots=True)
class Load:
    """Encode these bytes; the answer is `Session.on_opened` or `on_open_failed`."""

    id: int
    data: bytes
    sha256: str | None
    prefetch: bool


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nobody here waits for the open `id` any longer."""

    id: int


@dataclass(frozen=True, slots=True)
class Free:
    """Unpin this image."""

    image: ImageHandle


@dataclass(frozen=True, slots=True)
class Submit:
    """Queue a decode; `ticket` is the request's id."""

    ticket: int
    kind: Literal["click", "hover"]
    image: ImageHandle
    prompt: Prompt
    want: Want
    prior: LogitsHandle | RleBody | None


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the decode `ticket` out of the queue, or ignore its result if it has started."""

    ticket: int


Effect = Reply | Hangup | Fetch | Load | Abandon | Free | Submit | Withdraw
