"""The wire, samwire.v1, without I/O: `pack` a message to bytes, `unpack` bytes to a message.

A frame is one msgpack map with a `type`. Nothing is built before it is bounded: the frame's size,
then the sizes of everything inside it, then types and ranges field by field (`messages.py`). What a
client sends is refused if it has a field we do not know; what a server sends may carry more than a
client knows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgpack
from pydantic import TypeAdapter, ValidationError

from server.errors import WireError
from server.messages import (
    CLIENT_MESSAGES,
    MAX_DATA_BYTES,
    MAX_ID,
    MAX_POINTS,
    MAX_PRIOR_BYTES,
    SERVER_MESSAGES,
    Cancel,
    ClientMessage,
    Close,
    Data,
    Done,
    Draining,
    Error,
    Hello,
    Id,
    Limits,
    MaskBody,
    MaskReply,
    ModelInfo,
    Open,
    Opened,
    OpenTimings,
    Progress,
    Release,
    RleBody,
    Segment,
    SegmentTimings,
    Send,
    ServerMessage,
    Superseded,
    Welcome,
)

__all__ = [
    "CLIENT_MESSAGES",
    "FEATURES",
    "MAX_DATA_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_ID",
    "MAX_POINTS",
    "MAX_PRIOR_BYTES",
    "SERVER_MESSAGES",
    "SUBPROTOCOL",
    "Cancel",
    "ClientMessage",
    "Close",
    "Data",
    "Done",
    "Draining",
    "Error",
    "FrameError",
    "Hello",
    "Limits",
    "MaskBody",
    "MaskReply",
    "ModelInfo",
    "Open",
    "OpenTimings",
    "Opened",
    "Progress",
    "Release",
    "RleBody",
    "Segment",
    "SegmentTimings",
    "Send",
    "ServerMessage",
    "Superseded",
    "Welcome",
    "pack",
    "unpack_client",
    "unpack_server",
]

SUBPROTOCOL = "samwire.v1"
MAX_FRAME_BYTES = 1 << 20
FEATURES = ("candidates", "prefetch", "prior_rle")

_MAX_ARRAY_ITEMS = 128  # the longest array of v1 are 64 points
_MAX_MAP_ITEMS = 64
_MAX_ITEMS = 2048  # of a frame's lists and maps together, which a megabyte could hold a million of
_MAX_FIELD_CHARACTERS = 100  # of a field's name, when it is said back
_ID: TypeAdapter[int] = TypeAdapter(Id)  # to make one costs more than to read a frame

_M = TypeVar("_M", ClientMessage, ServerMessage)


class FrameError(WireError):
    """A frame that was refused; `request_id`: the request it would have been, if that is known."""

    def __init__(self, error: WireError, request_id: int | None) -> None:
        super().__init__(error.code, error.message, field=error.field)
        self.request_id = request_id


def pack(message: ClientMessage | ServerMessage) -> bytes:
    """One frame: `type`, then the fields as defined, those without a value left out."""
    frame: bytes = msgpack.packb(_as_map(message), use_bin_type=True)
    return frame


def unpack_client(frame: bytes) -> ClientMessage:
    """Read what a client sent.

    Raises:
        FrameError: `frame_too_big`, `bad_frame`, `unknown_type`, `unknown_field` or `bad_field`,
            the last two naming the field.

    """
    return _build(CLIENT_MESSAGES, _read_map(frame), extra="forbid")


def unpack_server(frame: bytes) -> ServerMessage:
    """Read what a server sent; fields a newer server adds are ignored.

    Raises:
        FrameError: as `unpack_client`, but never `unknown_field`.

    """
    return _build(SERVER_MESSAGES, _read_map(frame), extra="ignore")


def _as_map(message: ClientMessage | ServerMessage) -> dict[str, object]:
    """Absent and None are the same on the wire, except for `prior`, where nil means "none"."""
    fields = {"type": message.type, **message.model_dump()}
    for name in [name for name, value in fields.items() if value is None]:
        if not (name == "prior" and "prior" in message.model_fields_set):
            del fields[name]
    return fields


def _read_map(frame: bytes) -> dict[str, object]:
    if len(frame) > MAX_FRAME_BYTES:
        text = f"expected at most {MAX_FRAME_BYTES} bytes in a frame, got {len(frame)}"
        raise FrameError(WireError("frame_too_big", text), None)
    bounds = _Bounds()
    try:
        fields = msgpack.unpackb(
            frame,
            use_list=False,
            list_hook=bounds.take_list,
            object_pairs_hook=bounds.take_map,
            max_array_len=_MAX_ARRAY_ITEMS,
            max_map_len=_MAX_MAP_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as unreadable:
        reason = str(unreadable) or _UNTEXTED.get(type(unreadable), "unreadable")
        raise _bad_frame(f"expected one msgpack map: {reason}") from None
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise _bad_frame("expected one msgpack map with string keys")
    return fields


_UNTEXTED = {
    msgpack.StackError: "nested too deep",
    msgpack.FormatError: "a byte that begins no value",
}
"""msgpack's errors that come without a text."""


class _Bounds:
    """Counts the items of one frame's lists and maps as those are built, and stops at too many."""

    def __init__(self) -> None:
        self._left = _MAX_ITEMS

    def take_list(self, items: tuple[object, ...]) -> tuple[object, ...]:
        self._take(len(items))
        return items

    def take_map(self, pairs: tuple[tuple[object, object], ...]) -> dict[object, object]:
        self._take(len(pairs))
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("a key comes twice")
        return fields

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ValueError(f"more than {_MAX_ITEMS} items in its lists and maps")


def _bad_frame(text: str) -> FrameError:
    return FrameError(WireError("bad_frame", text), None)


def _build(
    messages: Mapping[str, type[_M]],
    fields: dict[str, object],
    *,
    extra: Literal["forbid", "ignore"],
) -> _M:
    kind = fields.get("type")
    message = messages.get(kind) if isinstance(kind, str) else None
    if message is None:
        text = f"expected `type` to be one of {', '.join(messages)}"
        raise FrameError(WireError("unknown_type", text, field="type"), _request_id(fields))
    try:
        return message.model_validate(fields, extra=extra)
    except ValidationError as invalid:
        # The id of `data` belongs to the open, which this frame's fault does not end.
        request_id = None if message is Data else _request_id(fields)
        raise FrameError(_first_fault(invalid), request_id) from None


def _request_id(fields: dict[str, object]) -> int | None:
    try:
        return _ID.validate_python(fields.get("id"))
    except ValidationError:
        return None


def _first_fault(invalid: ValidationError) -> WireError:
    faults: list[Any] = invalid.errors(include_url=False, include_input=False)
    fault = faults[0]
    if fault["loc"][0] == "prior":
        # A union is refused once a member; the member that was meant is the one that got furthest.
        fault = max(faults, key=lambda fault: (fault["loc"][0] == "prior", len(fault["loc"])))
    field = _field(fault["loc"])
    if fault["type"] == "extra_forbidden":
        return WireError("unknown_field", "this message has no such field", field=field)
    return WireError("bad_field", str(fault["msg"]).removeprefix("Value error, "), field=field)


def _field(path: Sequence[int | str]) -> str | None:
    # Members of a union appear in the path by their type's name; they mean nothing to a client.
    parts = [str(part) for part in path if isinstance(part, int) or part.isidentifier()]
    return ".".join(part for part in parts if part != "RleBody")[:_MAX_FIELD_CHARACTERS] or None
