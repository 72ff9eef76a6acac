"""An annotator at a session: sends messages with growing ids, moves the clock, plays the engine."""

import dataclasses
from typing import Any

from server.engine.types import MaskResult
from server.errors import WireError
from server.protocol import (
    FEATURES,
    Cancel,
    Close,
    Data,
    Hello,
    Limits,
    ModelInfo,
    Open,
    OpenTimings,
    Release,
)
from server.sessions.effects import Effect
from server.sessions.rules import SessionRules
from server.sessions.session import Session
from server.sessions.uploads import UploadBudget
from tests.support.segments import Image, click, hover, result

DIGEST = "ab" * 32
TIMINGS = OpenTimings(wait_ms=0.0, decode_ms=1.0, encode_ms=2.0)

_LIMITS = Limits(
    max_frame_bytes=1 << 20,
    max_data_bytes=256 << 10,
    max_image_bytes=1000,
    max_image_pixels=1_000_000,
    max_points=64,
    max_waiting_clicks=4,
    idle_timeout_s=300.0,
    segments_per_s=100.0,
)
_RULES = SessionRules(
    protocol="samwire.v1",
    server="samwire/test",
    model=ModelInfo(name="fake", input_size=512),
    limits=_LIMITS,
    features=FEATURES,
    tokens=(),
    hello_timeout_s=5.0,
    upload_timeout_s=30.0,
    min_upload_bytes_per_s=10.0,
    segment_burst=100.0,
    messages_per_s=1000.0,
    max_errors_per_min=60.0,
    kept_logits=32,
)


def rules(**changes: Any) -> SessionRules:
    """The rules, with changes to themselves or to their limits."""
    limits = {name: changes.pop(name) for name in list(changes) if name in Limits.model_fields}
    return dataclasses.replace(_RULES, limits=_LIMITS.model_copy(update=limits), **changes)


class Annotator:
    """Ids are chosen in order: the first request has id 1."""

    def __init__(self, budget: UploadBudget | None = None, **changes: Any) -> None:
        self.now = 1000.0
        self.budget = budget or UploadBudget(10_000)
        self.session = Session("s-1", rules(**changes), self.budget, self.now)
        self.last_id = 0

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def waits(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.session.tick(self.now)

    def hello(self, token: str | None = None) -> list[Effect]:
        return self.session.receive(Hello(token=token), self.now)

    def open(self, size: int = 10, **fields: Any) -> list[Effect]:
        return self.session.receive(Open(id=self.next_id(), size=size, **fields), self.now)

    def data(self, count: int, to: int | None = None) -> list[Effect]:
        return self.session.receive(Data(id=to or self.last_id, bytes=b"x" * count), self.now)

    def click(self, number: int = 0, **fields: Any) -> list[Effect]:
        return self.session.receive(click(self.next_id(), number, **fields), self.now)

    def hover(self, number: int = 0, **fields: Any) -> list[Effect]:
        return self.session.receive(hover(self.next_id(), number, **fields), self.now)

    def cancel(self, target: int) -> list[Effect]:
        return self.session.receive(Cancel(target=target), self.now)

    def release(self, number: int = 0) -> list[Effect]:
        return self.session.receive(Release(object=number), self.now)

    def close(self) -> list[Effect]:
        return self.session.receive(Close(id=self.next_id()), self.now)

    def sends_garbage(self, times: int = 1) -> list[Effect]:
        error = WireError("bad_frame", "not a map")
        return [e for _ in range(times) for e in self.session.refuse(error, self.now)]

    # What the engine says.

    def opened(self, image: Image, to: int | None = None, *, cached: bool = False) -> list[Effect]:
        return self.session.on_opened(
            to or self.last_id, image, sha256=DIGEST, cached=cached, timings=TIMINGS
        )

    def fails_to_open(self, to: int | None = None, *, code: str = "bad_image") -> list[Effect]:
        error = WireError(code, "no image")
        return self.session.on_open_failed(to or self.last_id, error, self.now)

    def missing(self, to: int | None = None) -> list[Effect]:
        return self.session.on_missing(to or self.last_id, self.now)

    def answers(self, ticket: int, outcome: MaskResult | WireError | None = None) -> list[Effect]:
        return self.session.on_result(ticket, outcome or result())


def greeted(**changes: Any) -> Annotator:
    annotator = Annotator(**changes)
    annotator.hello()
    return annotator


def opening(**changes: Any) -> Annotator:
    """Its open has id 1, and the engine has the bytes."""
    annotator = greeted(**changes)
    annotator.open(size=10)
    annotator.data(10)
    return annotator


def at_an_image(image: Image | None = None, **changes: Any) -> Annotator:
    """Its open has id 1; the next request has id 2."""
    annotator = opening(**changes)
    annotator.opened(image or Image())
    return annotator
