"""Every figure the server shows, in one place, on a registry handed in.

Counters and histograms are told; gauges, and what somebody counts already, are asked at each
scrape, so that nothing has to remember to keep them right. docs/operations.md lists them all; a
test holds the two together.
"""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

# A second series for each of ours, which nobody asked for.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library's

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class _CountedElsewhere(Collector):
    """A counter that is asked."""

    def __init__(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        self._name = name
        self._meaning = meaning
        self._value = value

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._meaning, self._value())


class Metrics:
    """What is counted; also the engine's Observer."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._sessions = self._counter("sessions", "Sessions that said hello and got a place.")
        self._messages = self._counter("messages", "Valid messages received, by type.", "type")
        self._replies = self._counter("replies", "Messages sent, by type.", "type")
        self._refusals = self._counter("refusals", "Errors and closes told to clients.", "code")
        self._sent_bytes = self._counter("sent_bytes", "Bytes of frames sent.")
        self._received_bytes = self._counter("received_bytes", "Bytes of valid messages received.")
        self._queue_wait = self._histogram("queue_wait_seconds", "A decode's wait.", _FAST)
        self._decode = self._histogram("decode_seconds", "One batch on the device.", _FAST)
        self._batch = self._histogram("batch_size", "Prompts that shared a decode.", _BATCHES)
        self._post = self._histogram("post_seconds", "Resizing and RLE of one result.", _FAST)
        self._encode_wait = self._histogram("encode_wait_seconds", "An encode's wait.", _SLOW)
        self._image_decode = self._histogram("image_decode_seconds", "Bytes to pixels.", _SLOW)
        self._encode = self._histogram("encode_seconds", "One image on the device.", _SLOW)

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show `value()` at each scrape."""
        Gauge(f"samwire_{name}", meaning, registry=self.registry).set_function(value)

    def counter(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show `value()`, which only grows, at each scrape."""
        self.registry.register(_CountedElsewhere(f"samwire_{name}", meaning, value))

    def session_admitted(self) -> None:
        """A connection said hello and became a session."""
        self._sessions.inc()

    def received(self, message_type: str, nbytes: int) -> None:
        """A valid message came in."""
        self._messages.labels(message_type).inc()
        self._received_bytes.inc(nbytes)

    def sent(self, message_type: str, nbytes: int) -> None:
        """A message left."""
        self._replies.labels(message_type).inc()
        self._sent_bytes.inc(nbytes)

    def refused(self, code: str) -> None:
        """A client was told an error, or closed with one."""
        self._refusals.labels(code).inc()

    def decoded(self, queue_ms: Sequence[float], decode_ms: float) -> None:
        """See `Observer`."""
        for wait_ms in queue_ms:
            self._queue_wait.observe(wait_ms / 1e3)
        self._decode.observe(decode_ms / 1e3)
        self._batch.observe(len(queue_ms))

    def postprocessed(self, post_ms: float) -> None:
        """See `Observer`."""
        self._post.observe(post_ms / 1e3)

    def encoded(self, wait_ms: float, decode_ms: float, encode_ms: float) -> None:
        """See `Observer`."""
        self._encode_wait.observe(wait_ms / 1e3)
        self._image_decode.observe(decode_ms / 1e3)
        self._encode.observe(encode_ms / 1e3)

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"samwire_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"samwire_{name}", meaning, buckets=buckets, registry=self.registry)
