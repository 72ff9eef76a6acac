"""Sessions without a socket: an image by POST, a mask by POST, an end by DELETE.

Each is a client within the process (`loopback.py`), so that its limits and its end are those of any
session. What is here is what HTTP adds: bodies bounded before they are read, JSON in and out, and
statuses. Points of one session add up, and one request at a time speaks for it; whatever is slow is
not done on the loop.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from server import rle
from server.bodies import Form, PointRequest, collect, form_of, json_of, read_point
from server.errors import WireError
from server.loopback import Loopback, ToldError
from server.metrics import Metrics
from server.protocol import MAX_POINTS, MaskReply, Opened, RleBody
from server.sessions.rules import SessionRules
from server.sessions.uploads import Upload, UploadBudget

__all__ = ["ANSWER_WITHIN_S", "STATUSES", "Rest"]

_log = logging.getLogger(__name__)
T = TypeVar("T")
_Handler = Callable[[Request], Awaitable[dict[str, object]]]

ANSWER_WITHIN_S = 25.0
"""From a request's headers to its answer: sooner than the connection is cut off (`guards.py`)."""
_MAX_TOKEN_CHARACTERS = 4096  # as in `hello`
_MAX_WAITING = 4  # requests of one session, beside the one that is at work
_MAX_PAINTED = 2  # masks at once: each may have as many pixels as an image
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

STATUSES = {
    "unauthorized": 401,
    "forbidden_origin": 403,
    "not_open": 404,
    "unknown_type": 404,
    "upload_stalled": 408,
    "image_too_large": 413,
    "too_many_pixels": 413,
    "bad_image": 422,
    "mask_too_complex": 422,
    "no_positive_prompt": 422,
    "abuse": 429,
    "busy": 429,
    "rate_limited": 429,
    "internal": 500,
    "full": 503,
    "overload": 503,
    "restarting": 503,
    "timeout": 504,
}
"""HTTP's word for each error that has one; 400 for any other."""


@dataclass(slots=True)
class _Session:
    """An open image, and what was said about it."""

    link: Loopback
    token: str | None
    width: int
    height: int
    points: list[tuple[float, float, int]] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asking: int = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One request after another, and few that wait.

        Raises:
            WireError: `busy`.
        """
        if self._asking > _MAX_WAITING:
            text = f"expected at most {_MAX_WAITING} requests to wait for the one before"
            raise WireError("busy", text, retry_after=1.0)
        self._asking += 1
        try:
            async with self._turn:
                yield
        finally:
            self._asking -= 1

    async def point(self, ask: PointRequest) -> MaskReply:
        """The mask of all points so far; one that gets none is forgotten."""
        before = [] if ask.reset else self.points
        if len(before) == MAX_POINTS:
            text = f"expected at most {MAX_POINTS} points; `reset` begins anew"
            raise WireError("bad_field", text, field="point")
        x, y = ask.point
        points = [*before, (x * self.width, y * self.height, ask.label)]
        try:
            mask = await self.link.click(points)
        except ToldError as told:
            told.field = told.field and "point"  # the only prompt there is here
            raise
        self.points = points
        return mask


class _Resource:
    """What answers at an address, whatever the method: a function would be asked for GET alone."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)


class Rest:
    """The routes, and the sessions behind them.

    Args:
        serve: serves a WebSocket, admission and all.
        is_allowed: whether the page that a request comes from may make it.
        rules: of every session; asked for only once one was let in.
        uploads: the process's budget for compressed bytes.
        max_image_bytes: of one image.
    """

    def __init__(
        self,
        serve: Callable[[WebSocket], Awaitable[None]],
        *,
        is_allowed: Callable[[HTTPConnection], bool],
        rules: Callable[[], SessionRules],
        uploads: UploadBudget,
        metrics: Metrics,
        max_image_bytes: int,
    ) -> None:
        self._serve = serve
        self._is_allowed = is_allowed
        self._rules = rules
        self._uploads = uploads
        self._metrics = metrics
        self._max_image_bytes = max_image_bytes
        self._sessions: dict[str, _Session] = {}
        self._handing_over = asyncio.Lock()
        self._painting = asyncio.Semaphore(_MAX_PAINTED)

    def routes(self) -> list[Route]:
        """Where it answers; where nothing is, it says so."""
        one = "/v1/sessions/{session_id}"
        return [
            Route("/v1/sessions", self._resource(POST=self._open)),
            Route(f"{one}/point", self._resource(POST=self._point)),
            Route(one, self._resource(DELETE=self._close)),
            Route("/v1/{path:path}", self._resource()),
        ]

    def _resource(self, **handlers: _Handler) -> ASGIApp:
        async def answer(request: Request) -> Response:
            handle = handlers.get(request.method)
            return await self._answer(request, handle) if handle else self._nothing(handlers)

        return _Resource(answer)

    async def _answer(self, request: Request, handle: _Handler) -> Response:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                self._check_origin(request)
                return JSONResponse(await handle(request), headers=_HEADERS)
        except ToldError as told:
            return _refusal(told)
        except WireError as refused:
            return self._refuse(refused)
        except TimeoutError:
            return self._refuse(WireError("timeout", f"no answer within {ANSWER_WITHIN_S:g} s"))
        except ClientDisconnect:
            return Response()  # which nobody will read
        # Whatever else fails is ours, and its text stays here.
        except Exception:  # noqa: BLE001
            _log.exception("a request failed")
            text = "a fault of the server; its log says more"
            return self._refuse(WireError("internal", text))

    def _nothing(self, methods: Collection[str]) -> Response:
        """No handler: of this method, or at all."""
        if not methods:
            text = "there is nothing at this address; /v1/ws is a WebSocket"
            return self._refuse(WireError("unknown_type", text))
        text = f"expected the method {', '.join(methods)}"
        response = self._refuse(WireError("unknown_type", text))
        response.status_code = 405
        response.headers["allow"] = ", ".join(methods)
        return response

    def _refuse(self, error: WireError) -> Response:
        self._metrics.refused(error.code)
        return _refusal(error)

    def _check_origin(self, request: Request) -> None:
        if not self._is_allowed(request):
            text = "this Origin is not allowed; see SAMWIRE_ORIGINS"
            raise WireError("forbidden_origin", text)

    async def _open(self, request: Request) -> dict[str, object]:
        # First, so that what is no image takes nobody's place.
        form = form_of(request, self._max_image_bytes)
        token = _token_of(request)
        link = Loopback(self._serve, request.scope)
        try:
            await link.greet(token)
            opened = await self._upload(request, form, link)
        except BaseException:
            link.leave()
            raise
        # Not the name in the log: who reads that may not speak for the session.
        name = secrets.token_urlsafe(18)
        self._sessions[name] = _Session(link, token, opened.width, opened.height)
        link.when_gone(lambda: self._sessions.pop(name, None))
        return {"session_id": name, "image_width": opened.width, "image_height": opened.height}

    async def _upload(self, request: Request, form: Form, link: Loopback) -> Opened:
        upload = Upload(self._max_image_bytes, self._uploads, self._rules())
        upload.start(time.monotonic())
        try:
            await link.stay_for(collect(request, form, upload))
            # One at a time: from here on its session counts the bytes, and for a moment they are
            # in memory twice.
            async with self._handing_over:
                data = upload.take_bytes()
                upload.end()
                opening = await link.send_image(data)
        finally:
            upload.end()
        return await _while_there(request, opening)

    async def _point(self, request: Request) -> dict[str, object]:
        session = self._find(request)
        ask = read_point(await json_of(request))
        return await _while_there(request, self._mask(session, ask))

    async def _mask(self, session: _Session, ask: PointRequest) -> dict[str, object]:
        async with session.turn():
            mask = await session.point(ask)
            # A thread cannot be stopped: whoever leaves, its place is taken until it is done.
            png = await asyncio.shield(asyncio.create_task(self._painted(mask.rle)))
        x, y, width, height = mask.bbox
        return {
            "bbox": {
                "x": x / session.width,
                "y": y / session.height,
                "width": width / session.width,
                "height": height / session.height,
            },
            "confidence": mask.score,
            "mask": png,
        }

    async def _painted(self, mask: RleBody) -> str:
        async with self._painting:
            return await asyncio.to_thread(_png, mask)

    async def _close(self, request: Request) -> dict[str, object]:
        link = self._find(request).link
        link.leave()
        await link.gone.wait()
        return {"status": "closed"}

    def _find(self, request: Request) -> _Session:
        session = self._sessions.get(request.path_params["session_id"])
        if session is None:
            text = "no such session; it may have been closed, or idle for too long"
            raise WireError("not_open", text)
        given, made_with = (_token_of(request) or "").encode(), (session.token or "").encode()
        if not hmac.compare_digest(given, made_with):
            raise WireError("unauthorized", "expected the token that the session was made with")
        return session


def _token_of(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or len(token) > _MAX_TOKEN_CHARACTERS:
        return None
    # As bytes it came, and as UTF-8 it was meant.
    return token.strip().encode("latin-1").decode("utf-8", "replace")


async def _while_there(request: Request, work: Coroutine[None, None, T]) -> T:
    """Nothing is waited for in the name of who has left."""
    working = asyncio.create_task(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        del working, leaving  # as in `Loopback.stay_for`


def _png(mask: RleBody) -> str:
    inside = rle.decode(rle.Rle(size=mask.size, counts=mask.counts))
    # Its columns lie one after another: OpenCV turns them in a tenth of the time numpy takes.
    pixels = cv2.transpose(inside.view(np.uint8).T) * np.uint8(255)
    _, png = cv2.imencode(".png", pixels)
    return base64.b64encode(png.tobytes()).decode()


def _refusal(error: WireError) -> Response:
    told = {"code": error.code, "message": error.message, "field": error.field}
    status = STATUSES.get(error.code, 400)
    headers = dict(_HEADERS)
    if status in {429, 503}:
        headers["retry-after"] = str(math.ceil(error.retry_after or 1.0))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    body = {"error": {name: value for name, value in told.items() if value is not None}}
    return JSONResponse(body, status, headers)
