"""Bodies of requests, bounded as they arrive: an image for a new session, a point for one that is.

What says that it is too long is not read, and what is longer than it may be not to its end; nor is
what comes too slowly. Numbers are finite and in their range before anything is made of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from starlette.requests import Request

from server.errors import WireError
from server.multipart import OnePart, boundary_of
from server.sessions.uploads import Upload

__all__ = ["BODY_WITHIN_S", "Form", "PointRequest", "collect", "form_of", "json_of", "read_point"]

BODY_WITHIN_S = 20.0
"""From a request's headers to the end of its body."""
_MAX_JSON_BYTES = 64 << 10
_MAX_FORM_BYTES = 16 << 10  # of a body beside its image


def _share(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(value)


def _label(value: object) -> object:
    if isinstance(value, bool) or value not in (0, 1):
        raise ValueError("expected 1 (include) or 0 (exclude)")
    return 1 if value else 0


_Share = Annotated[float, BeforeValidator(_share)]


class PointRequest(BaseModel):
    """One more point of the session's object; `reset` forgets those before it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    point: tuple[_Share, _Share]
    label: Annotated[int, BeforeValidator(_label)] = 1
    reset: bool = False


def read_point(body: bytes) -> PointRequest:
    """Read a request for a mask.

    Raises:
        WireError: `bad_field` or `unknown_field`, naming it.
    """
    try:
        return PointRequest.model_validate_json(body)
    except ValidationError as invalid:
        fault = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part) for part in fault["loc"])[:100] or None
    if fault["type"] == "extra_forbidden":
        raise WireError("unknown_field", "this request has no such field", field=path)
    if path is None:
        raise WireError("bad_field", 'expected one JSON object like {"point": [0.5, 0.5]}')
    raise WireError("bad_field", fault["msg"].removeprefix("Value error, "), field=path)


class Raw:
    """A body that is the image."""

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes, all of them the image's."""
        return piece

    def finish(self) -> None:
        """It ends where it ends."""


Form = OnePart | Raw


def form_of(request: Request, max_image_bytes: int) -> Form:
    """How an image comes, by the request's headers.

    Raises:
        WireError: `bad_field`, `image_too_large`.
    """
    _check_length(request, max_image_bytes + _MAX_FORM_BYTES, "image_too_large", "image")
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return OnePart(boundary_of(given), "image")
    if kind.startswith("image/") or kind == "application/octet-stream":
        return Raw()
    text = "expected multipart/form-data with a part `image`, or an image as the body"
    if kind == "application/json":
        text = f"{text}; addresses (`image_url`) are not fetched: send the image"
    raise WireError("bad_field", text, field="image")


def _check_length(request: Request, most: int, code: str, name: str | None) -> None:
    """Of what says how long it is, nothing is read that is too long."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > most:
        raise WireError(code, f"expected at most {most} bytes of body", field=name)


async def collect(request: Request, form: Form, upload: Upload) -> None:
    """Receive an image, of a size that is not known before its end.

    Raises:
        WireError: `image_too_large`, `upload_stalled`, `overload`, or what the form is refused for.
    """
    read = size = 0
    async for piece in _pieces(request, upload.rules.upload_timeout_s):
        content, now = form.feed(piece), time.monotonic()
        read, size = read + len(piece), size + len(content)
        if size > upload.size or read > upload.size + _MAX_FORM_BYTES:
            text = f"expected at most {upload.size} bytes"
            raise WireError("image_too_large", text, field="image")
        upload.add(content, now)
        if upload.is_stalled(now):
            raise _stalled()
    form.finish()
    if not size:
        raise WireError("bad_field", "expected the bytes of an image", field="image")


async def json_of(request: Request) -> bytes:
    """Receive some JSON, unread.

    Raises:
        WireError: `bad_field`, `upload_stalled`.
    """
    _check_length(request, _MAX_JSON_BYTES, "bad_field", None)
    body = bytearray()
    async for piece in _pieces(request, BODY_WITHIN_S):
        body += piece
        if len(body) > _MAX_JSON_BYTES:
            raise WireError("bad_field", f"expected at most {_MAX_JSON_BYTES} bytes of body")
    return bytes(body)


async def _pieces(request: Request, pause_s: float) -> AsyncIterator[bytes]:
    """The body as it comes, as long as it does."""
    stream, clock = request.stream(), asyncio.get_running_loop().time
    end_at = clock() + BODY_WITHIN_S
    while True:
        try:
            async with asyncio.timeout_at(min(end_at, clock() + pause_s)):
                piece = await anext(stream, None)
        except TimeoutError:
            raise _stalled() from None
        if piece is None:
            return
        yield piece


def _stalled() -> WireError:
    text = f"expected the whole body within {BODY_WITHIN_S:g} s, and without long pauses"
    return WireError("upload_stalled", text)
