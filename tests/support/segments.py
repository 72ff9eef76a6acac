"""Segments, masks and images as tests write them, and what to read off a list of effects."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from server.engine.types import Logits, Mask, MaskResult, Timings
from server.errors import ERRORS
from server.protocol import Error, MaskReply, Segment, ServerMessage, Superseded
from server.sessions.effects import Effect, Hangup, Reply, Submit, Withdraw

E = TypeVar("E")

INSIDE = (10.0, 10.0, 1)
BESIDE = (90.0, 20.0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    width: int = 100
    height: int = 50


def click(request_id: int, number: int = 0, **fields: Any) -> Segment:
    """A click on object `number`, with one include point unless told otherwise."""
    given = {"points": (INSIDE,), **fields}
    return Segment.model_validate({"id": request_id, "object": number, **given})


def hover(request_id: int, number: int = 0, **fields: Any) -> Segment:
    return click(request_id, number, kind="hover", **fields)


def points(count: int) -> tuple[tuple[float, float, int], ...]:
    """The first `count` of one growing prompt set."""
    return tuple((float(i + 1), 1.0, 1) for i in range(count))


def logits() -> Logits:
    return np.zeros((2, 2), np.float16)


def result(masks: int = 1, counts: bytes = b"0", score: float = 0.5) -> MaskResult:
    """What the engine answers: so many masks, best first, each with its own logits."""
    found = tuple(
        Mask(size=(50, 100), counts=counts, bbox=(0, 0, 1, 1), area=1, score=score - 0.1 * i)
        for i in range(masks)
    )
    own = tuple(logits() for _ in found)
    return MaskResult(found, own, Timings(queue_ms=1.0, decode_ms=2.0, post_ms=3.0, batch=1))


def of(kind: type[E], effects: Iterable[object]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def replies(effects: Iterable[Effect]) -> list[ServerMessage]:
    return [effect.message for effect in of(Reply, effects)]


def submitted(effects: Iterable[Effect]) -> list[int]:
    return [effect.ticket for effect in of(Submit, effects)]


def withdrawn(effects: Iterable[Effect]) -> list[int]:
    return [effect.ticket for effect in of(Withdraw, effects)]


def told(effects: Iterable[Effect]) -> list[tuple[object, ...]]:
    """The replies in short: ("mask", id), ("superseded", id, by), ("error", id, code), ..."""
    return [_in_short(message) for message in replies(effects)]


def _in_short(message: ServerMessage) -> tuple[object, ...]:
    if isinstance(message, Superseded):
        return (message.type, message.id, message.by)
    if isinstance(message, Error):
        return (message.type, message.id, message.code)
    return (message.type, getattr(message, "id", None))


def close_code(effects: list[Effect]) -> int | None:
    """That of the one hang-up, which comes last: the writer sends nothing after it."""
    (hangup,) = of(Hangup, effects)
    assert effects[-1] is hangup
    return ERRORS[hangup.error].close_code


def only_mask(effects: Sequence[Effect]) -> MaskReply:
    (mask,) = of(MaskReply, replies(effects))
    return mask


def only_error(effects: Sequence[Effect]) -> Error:
    (error,) = of(Error, replies(effects))
    return error


def only_submit(effects: Sequence[Effect]) -> Submit:
    (submit,) = of(Submit, effects)
    return submit
