"""The messages of samwire.v1, typed: one class a message, each field with its type and range.

`protocol.py` turns them into frames and back, and hands them on; everybody imports them from there.
A number is any msgpack int or float, never a bool: JavaScript has one kind of number, others two.
"""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails

from server.errors import Fault, WireError

__all__ = [
    "CLIENT_MESSAGES",
    "MAX_DATA_BYTES",
    "MAX_ID",
    "MAX_POINTS",
    "MAX_PRIOR_BYTES",
    "SERVER_MESSAGES",
    "Cancel",
    "ClientMessage",
    "Close",
    "Data",
    "Done",
    "Draining",
    "Error",
    "Hello",
    "Id",
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
]

MAX_DATA_BYTES = 256 << 10
MAX_POINTS = 64
MAX_PRIOR_BYTES = 256 << 10  # of a given mask's RLE; one in a reply may fill a frame
MAX_ID = 2**53 - 1  # the integers a JavaScript number holds exactly


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
Count = Annotated[Whole, Field(ge=0, le=MAX_ID)]
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


def _bounded(prior: RleBody) -> RleBody:
    """Refused as a field of its own would be, though `counts` of a reply may be longer."""
    if len(prior.counts) > MAX_PRIOR_BYTES:
        too_long = InitErrorDetails(
            type="bytes_too_long",
            loc=("counts",),
            input=b"",
            ctx={"max_length": MAX_PRIOR_BYTES},
        )
        raise ValidationError.from_exception_data("prior", [too_long])
    return prior


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
    prior: (
        tuple[Id, Annotated[Whole, Field(ge=0, le=2)]]
        | Annotated[RleBody, AfterValidator(_bounded)]
        | None
    ) = None

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
    max_prior_bytes: Count = MAX_PRIOR_BYTES  # the first servers did not say it


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
