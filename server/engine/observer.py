"""What the engine tells whoever measures it; the metrics implement this."""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Observer", "SilentObserver"]


class Observer(Protocol):
    """Is told what took how long, on the event loop."""

    def decoded(self, queue_ms: Sequence[float], decode_ms: float) -> None:
        """One batch was decoded: each member's wait, and the time of all."""

    def postprocessed(self, post_ms: float) -> None:
        """One result was resized and compressed."""

    def encoded(self, wait_ms: float, decode_ms: float, encode_ms: float) -> None:
        """One image was encoded: its wait for its turn, its pixels' decoding, its encode."""


class SilentObserver:
    """Measures nothing."""

    def decoded(self, queue_ms: Sequence[float], decode_ms: float) -> None:
        """Ignore it."""

    def postprocessed(self, post_ms: float) -> None:
        """Ignore it."""

    def encoded(self, wait_ms: float, decode_ms: float, encode_ms: float) -> None:
        """Ignore it."""
