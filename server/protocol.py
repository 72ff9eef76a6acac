"""The wire, samwire.v1, without I/O: typed messages, `pack` to bytes, `unpack` from bytes.

A frame is one msgpack map with a `type`. Nothing is built before it is bounded: the frame's size,
then the sizes of everything inside it, then types and ranges field by field. What a client sends is
refused if it has a field we do not know; what a server sends may carry more than a client knows.
A number is any msgpack int or float, never a bool: JavaScript has one kind of number, others two.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgpack
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from server.errors import Fault, WireError

__all__ = [
    "CLIENT_MESSAGES",
    "FEATURES",
    "MAX_DATA_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_ID",
    "MAX_POINTS",
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
MAX_DATA_BYTES = 256 << 10
MAX_POINTS = 64
MAX_ID = 2**53 - 1  # the integers a JavaScript number holds exactly
FEATURES = ("candidates", "prefetch", "prior_rle")

_MAX_ARRAY_ITEMS = 1024
_MAX_MAP_ITEMS = 64
_MAX_CONTAINERS = 2048  # lists and maps in a frame, which a megabyte could hold a million of
_MAX_FIELD_CHARACTERS = 100  # of a field's name, when it is said back


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return float(value)


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a whole number")
    if not math.isfinite(value) or value != int(value):
        raise ValueError("expected a whole number")
    return int(value)


Number = Annotated[float, BeforeValidator(_number)]
Whole = Annotated[int, BeforeValidator(_whole)]
Id = Annotated[Whole, Field(ge=1, le=MAX_ID)]
ObjectId = Annotated[Whole, Field(ge=0, le=MAX_ID)]
Count = Annotated[Whole, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[Whole, Field(ge=0, le=1)]
PromptPoint = tuple[Number, Number, Label]
PromptBox = tuple[Number, Number, Number, Number]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Request(_Message):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class RleBody(_Message):
    """COCO compressed RLE: `size` is height, width; `counts` the characters as bytes."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    size: tuple[Count, Count]
    counts: bytes


class Hello(_Request):
    """Always first: who is there."""

    type: Literal["hello"] = "hello"
    token: Annotated[str, Field(max_length=4096)] | None = None
    client: Annotated[str, Field(max_length=256)] | None = None


class Open(_Request):
    """Open an image; a new open replaces it. `prefetch`: into the cache only."""

    type: Literal["open"] = "open"
    id: Id
    size: Annotated[Whole, Field(ge=1)]
    sha256: Sha256 | None = None
    prefetch: bool = False


class Data(_Request):
    """The next bytes of the open `id`, until its `size` is reached."""

    type: Literal["data"] = "data"
    id: Id
    bytes: Annotated[bytes, Field(min_length=1, max_length=MAX_DATA_BYTES)]


class Segment(_Request):
    """The whole prompt set of one object.

    `prior`: absent = automatic; None = none; (mask id, candidate index); or a mask as RLE.
    """

    type: Literal["segment"] = "segment"
    id: Id
    object: ObjectId = 0
    points: Annotated[tuple[PromptPoint, ...], Field(max_length=MAX_POINTS)] = ()
    box: PromptBox | None = None
    kind: Literal["click", "hover"] = "click"
    candidates: bool = False
    prior: tuple[Id, Annotated[Whole, Field(ge=0, le=2)]] | RleBody | None = None

    @property
    def prior_is_automatic(self) -> bool:
        """Whether `prior` was left to the server."""
        return "prior" not in self.model_fields_set


class Cancel(_Request):
    """A notice: the request `target` is no longer wanted."""

    type: Literal["cancel"] = "cancel"
    target: Id


class Release(_Request):
    """A notice: forget this object."""

    type: Literal["release"] = "release"
    object: ObjectId


class Close(_Request):
    """Free the image; the connection stays."""

    type: Literal["close"] = "close"
    id: Id


class ModelInfo(_Message):
    """The model that serves every session of this process."""

    name: str
    input_size: Count


class Limits(_Message):
    """What the server refuses to go beyond."""

    max_frame_bytes: Count
    max_data_bytes: Count
    max_image_bytes: Count
    max_image_pixels: Count
    max_points: Count
    max_waiting_clicks: Count
    idle_timeout_s: Number
    segments_per_s: Number


class Welcome(_Message):
    """The answer to `hello`."""

    type: Literal["welcome"] = "welcome"
    session: str
    protocol: str
    server: str
    model: ModelInfo
    limits: Limits
    features: tuple[str, ...]


class Send(_Message):
    """Not cached: send the bytes of the open `id`."""

    type: Literal["send"] = "send"
    id: Id


class Progress(_Message):
    """How far the open `id` is. `ahead`: how many encodes come first, while `waiting`."""

    type: Literal["progress"] = "progress"
    id: Id
    stage: Literal["upload", "waiting", "download", "decode", "encode"]
    fraction: Annotated[Number, Field(ge=0, le=1)]
    ahead: Count | None = None


class OpenTimings(_Message):
    """Where an open's time went, in milliseconds."""

    wait_ms: Number
    decode_ms: Number
    encode_ms: Number


class Opened(_Message):
    """The image is open: its size after EXIF orientation is the prompts' coordinate system."""

    type: Literal["opened"] = "opened"
    id: Id
    width: Count
    height: Count
    sha256: str
    cached: bool
    timings: OpenTimings


class SegmentTimings(_Message):
    """Where a segment's time went; `batch`: how many prompts shared the decode."""

    queue_ms: Number
    decode_ms: Number
    post_ms: Number
    batch: Count


class MaskBody(_Message):
    """One mask: `bbox` is x, y, width, height; `score` the predicted IoU in 0..1."""

    rle: RleBody
    bbox: tuple[Number, Number, Number, Number]
    area: Count
    score: Number


class MaskReply(MaskBody):
    """The answer to `segment`. `prior`: the id whose logits were refined, or None."""

    type: Literal["mask"] = "mask"
    id: Id
    object: ObjectId
    prior: Id | None
    candidates: tuple[MaskBody, ...] | None = None
    timings: SegmentTimings


class Done(_Message):
    """The answer to `close` and to a prefetch."""

    type: Literal["done"] = "done"
    id: Id


class Superseded(_Message):
    """The request `id` was overtaken, `by` the one named if there is one."""

    type: Literal["superseded"] = "superseded"
    id: Id
    by: Id | None = None


class Error(_Message):
    """The request `id` failed, or a frame that has no usable id."""

    type: Literal["error"] = "error"
    id: Id | None = None
    code: str
    message: str
    field: str | None = None
    fault: Fault
    retry_after: Number | None = None

    @classmethod
    def of(cls, error: WireError, request_id: int | None = None) -> "Error":
        """The message that tells a client of `error`."""
        return cls(
            id=request_id,
            code=error.code,
            message=error.message,
            field=error.field,
            fault=error.spec.fault,
            retry_after=error.retry_after,
        )


class Draining(_Message):
    """The server stops within `deadline_s`; work already running is still answered."""

    type: Literal["draining"] = "draining"
    deadline_s: Number


ClientMessage = Hello | Open | Data | Segment | Cancel | Release | Close
ServerMessage = (
    Welcome | Send | Progress | Opened | MaskReply | Done | Superseded | Error | Draining
)

CLIENT_MESSAGES: dict[str, type[ClientMessage]] = {
    "hello": Hello,
    "open": Open,
    "data": Data,
    "segment": Segment,
    "cancel": Cancel,
    "release": Release,
    "close": Close,
}
SERVER_MESSAGES: dict[str, type[ServerMessage]] = {
    "welcome": Welcome,
    "send": Send,
    "progress": Progress,
    "opened": Opened,
    "mask": MaskReply,
    "done": Done,
    "superseded": Superseded,
    "error": Error,
    "draining": Draining,
}


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


def unpack_client(frame: bytes, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> ClientMessage:
    """Read what a client sent.

    Raises:
        FrameError: `frame_too_big`, `bad_frame`, `unknown_type`, `unknown_field` or `bad_field`,
            the last two naming the field.

    """
    return _build(CLIENT_MESSAGES, _read_map(frame, max_frame_bytes), extra="forbid")


def unpack_server(frame: bytes) -> ServerMessage:
    """Read what a server sent; fields a newer server adds are ignored.

    Raises:
        FrameError: as `unpack_client`, but never `unknown_field`.

    """
    return _build(SERVER_MESSAGES, _read_map(frame, MAX_FRAME_BYTES), extra="ignore")


def _as_map(message: ClientMessage | ServerMessage) -> dict[str, object]:
    """Absent and None are the same on the wire, except for `prior`, where nil means "none"."""
    fields = {"type": message.type, **message.model_dump()}
    for name in [name for name, value in fields.items() if value is None]:
        if not (name == "prior" and "prior" in message.model_fields_set):
            del fields[name]
    return fields


def _read_map(frame: bytes, max_frame_bytes: int) -> dict[str, object]:
    if len(frame) > max_frame_bytes:
        text = f"expected at most {max_frame_bytes} bytes in a frame, got {len(frame)}"
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
        reason = str(unreadable) or "nested too deep"  # msgpack's StackError has no text
        raise _bad_frame(f"expected one msgpack map: {reason}") from None
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise _bad_frame("expected one msgpack map with string keys")
    return fields


class _Bounds:
    """Counts the lists and maps of one frame as they are built, and stops at too many."""

    def __init__(self) -> None:
        self._left = _MAX_CONTAINERS

    def take_list(self, items: tuple[object, ...]) -> tuple[object, ...]:
        self._take()
        return items

    def take_map(self, pairs: tuple[tuple[object, object], ...]) -> dict[object, object]:
        self._take()
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("a key comes twice")
        return fields

    def _take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"more than {_MAX_CONTAINERS} lists and maps")


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
        return TypeAdapter(Id).validate_python(fields.get("id"))
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
