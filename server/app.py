"""The composition root: settings -> engine -> sessions -> routes.

Everything that lives as long as the process is made here and handed down; nothing below knows a
global. Admission happens here, because it needs both the registry and the sockets.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from server import __version__, origins
from server.config import Settings
from server.engine.engine import Engine, EngineSettings
from server.engine.models.base import Model
from server.errors import ERRORS, close_reason
from server.metrics import Metrics
from server.protocol import (
    FEATURES,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_POINTS,
    SUBPROTOCOL,
    Limits,
    ModelInfo,
)
from server.rest import Rest
from server.sessions.connection import Connection
from server.sessions.outbox import Outbox
from server.sessions.registry import Admission, Registry
from server.sessions.session import Session, SessionRules, State
from server.sessions.uploads import UploadBudget

__all__ = ["App"]

_log = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
_TICK_S = 1.0

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; style-src 'self'; "
        "script-src 'self'; worker-src 'self' blob:; base-uri 'none'; frame-ancestors 'none'; "
        "form-action 'none'; object-src 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class App:
    """One process: an engine, its sessions, and the routes to them.

    Args:
        settings: what the operator chose.
        load: makes the model, on a thread.
    """

    def __init__(self, settings: Settings, load: Callable[[], Model]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.engine = Engine(
            load,
            _engine_settings(settings),
            observer=self.metrics,
            spare_sessions=self._spare_sessions,
        )
        self.draining = False
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        """Set when the process cannot serve any longer; `failure` says why, if anything does."""
        self._uploads = UploadBudget(settings.max_uploads_bytes)
        self.starlette = Starlette(routes=self._routes(), lifespan=self._lifespan)
        self._registry: Registry[Session] = Registry(
            settings.max_sessions,
            spare_after_s=settings.spare_after_s,
            max_per_address=settings.max_sessions_per_address,
        )
        self._connections: dict[str, Connection] = {}
        self.start_s = 0.0
        """Seconds that loading and warming up took; 0 until ready."""
        self._add_figures()

    async def drain(self) -> None:
        """Stop taking sessions, finish what is owed within the deadline, close with 1012."""
        if self.draining:
            return
        self.draining = True
        deadline_s = self.settings.drain_timeout_s
        ends_at = time.monotonic() + deadline_s
        for connection in self._connections.values():
            connection.announce_drain(deadline_s)
        # Once in a process's life, and for many reasons to wait: polling is simplest.
        while self._owes_answers and time.monotonic() < ends_at:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await self.stop()

    async def stop(self) -> None:
        """Close with 1012, whatever is still owed; harmless when repeated."""
        await self.engine.stop()
        self._hang_up_all("the server is stopping")

    @property
    def _owes_answers(self) -> bool:
        return self.engine.ready and any(session.at_work for session in self._registry)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # In the background: while a model loads, /livez answers and /readyz says "not ready".
        background = [
            asyncio.create_task(self._start_engine()),
            asyncio.create_task(self._tick_forever()),
        ]
        background[-1].add_done_callback(self._ticks_ended)
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await self.drain()

    def _ticks_ended(self, task: asyncio.Task[None]) -> None:
        """Without ticks nothing expires: rather a new process."""
        if not task.cancelled():
            self.failure = task.exception()
            self.failed.set()

    async def _start_engine(self) -> None:
        started_at = time.monotonic()
        try:
            await self.engine.start()
        # A missing file, a wrong checkpoint, no memory: whatever it is, there is nothing to serve.
        except Exception as error:  # noqa: BLE001
            self.failure = error
            self.failed.set()
            return
        self.start_s = time.monotonic() - started_at
        _log.info(
            "ready: model=%s version=%s start_s=%.1f",
            self.engine.model.name,
            __version__,
            self.start_s,
        )
        await self.engine.lost.wait()
        self._hang_up_all("the device was lost")
        self.failed.set()

    def _routes(self) -> list[BaseRoute]:
        page: BaseRoute = Route("/", _page_is_missing)
        if (_STATIC / "index.html").exists():
            page = Mount("/", _Page(directory=_STATIC, html=True))
        return [
            WebSocketRoute("/v1/ws", self._serve),
            *self._rest().routes(),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            page,
        ]

    def _rest(self) -> Rest:
        return Rest(
            self._serve,
            is_allowed=self._origin_is_allowed,
            rules=self._rules,
            uploads=self._uploads,
            metrics=self.metrics,
            max_image_bytes=self.settings.max_image_bytes,
        )

    async def _livez(self, _request: Request) -> Response:
        alive = self.engine.device_answers
        return PlainTextResponse("alive" if alive else "lost", 200 if alive else 503)

    async def _readyz(self, _request: Request) -> Response:
        if self.draining:
            return PlainTextResponse("draining", 503)
        ready = self.engine.ready
        return PlainTextResponse("ready" if ready else "not ready", 200 if ready else 503)

    async def _metrics(self, _request: Request) -> Response:
        return Response(self.metrics.exposition(), media_type="text/plain; version=0.0.4")

    async def _serve(self, socket: WebSocket) -> None:
        await socket.accept(subprotocol=_agreed_subprotocol(socket))
        refusal = self._refusal(socket)  # last, so that nothing has changed when it is let in
        if refusal is not None:
            await self._refuse(socket, *refusal)
            return
        now, name = time.monotonic(), secrets.token_urlsafe(12)
        session = Session(name, self._rules(), self._uploads, now, self._seat)
        address = socket.client.host if socket.client else ""
        if not self._make_room(self._registry.enter(session, now, address=address)):
            await self._refuse(socket, "full", "every place of this address is in use")
            return
        await self._serve_session(socket, session)

    def _seat(self, session: Session, now: float) -> bool:
        seated = self._make_room(self._registry.seat(session, now))
        if seated:
            self.metrics.session_admitted()
        return seated

    def _make_room(self, admission: Admission[Session]) -> bool:
        """Close whoever was taken out; whether the newcomer is in."""
        for victim in admission.victims:
            code = "full" if victim.state is State.GREETING else "idle"
            self._connections[victim.id].hang_up(code, "the place was needed")
        return admission.admitted

    async def _serve_session(self, socket: WebSocket, session: Session) -> None:
        connection = Connection(
            socket,
            session,
            self.engine,
            self.metrics,
            outbox=Outbox(self.settings.max_outbox_bytes),
            send_timeout_s=self.settings.send_timeout_s,
        )
        self._connections[session.id] = connection
        try:
            await connection.run()
        finally:
            del self._connections[session.id]
            self._registry.remove(session)

    def _refusal(self, socket: WebSocket) -> tuple[str, str] | None:
        """Why this connection gets no session: an error code and a reason."""
        offered = socket.scope["subprotocols"]
        if offered and SUBPROTOCOL not in offered:
            return "version", f"this server speaks {SUBPROTOCOL}, the client offered {offered[0]}"
        if not self._origin_is_allowed(socket):
            return "forbidden_origin", "this Origin is not allowed; see SAMWIRE_ORIGINS"
        if self.draining:
            return "restarting", "the server is stopping"
        if not self.engine.ready:
            return "full", "the model is not ready"
        return None

    def _origin_is_allowed(self, client: HTTPConnection) -> bool:
        found = client.headers.getlist("origin")
        return len(found) < 2 and origins.is_allowed(
            found[0] if found else None,
            scheme="https" if client.url.scheme in {"https", "wss"} else "http",
            host=client.headers.get("host", ""),
            listens_on=self.settings.host,
            allowed=self.settings.origins,
        )

    async def _refuse(self, socket: WebSocket, code: str, reason: str) -> None:
        """Accepted first: a browser cannot read a refused handshake, but it can a close code."""
        self.metrics.refused(code)
        _log.info("x refused code=%s %s", code, reason)
        await socket.close(ERRORS[code].close_code or 1011, close_reason(code, reason))

    def _rules(self) -> SessionRules:
        settings, model = self.settings, self.engine.model
        return SessionRules(
            protocol=SUBPROTOCOL,
            server=f"samwire/{__version__}",
            model=ModelInfo(name=model.name, input_size=model.input_size),
            limits=Limits(
                max_frame_bytes=MAX_FRAME_BYTES,
                max_data_bytes=MAX_DATA_BYTES,
                max_image_bytes=settings.max_image_bytes,
                max_image_pixels=settings.max_image_pixels,
                max_points=MAX_POINTS,
                max_waiting_clicks=settings.max_waiting_clicks,
                idle_timeout_s=settings.idle_timeout_s,
                segments_per_s=settings.segments_per_s,
            ),
            features=FEATURES,
            tokens=tuple(token.get_secret_value() for token in settings.tokens),
            hello_timeout_s=settings.hello_timeout_s,
            upload_timeout_s=settings.upload_timeout_s,
            min_upload_bytes_per_s=settings.min_upload_bytes_per_s,
            segment_burst=settings.segment_burst,
            messages_per_s=settings.messages_per_s,
            max_errors_per_min=settings.max_errors_per_min,
            kept_logits=settings.kept_logits,
        )

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for connection in list(self._connections.values()):
                connection.tick()
            self.engine.cache.other_bytes = self._registry.remembered_bytes
            self.engine.cache.shrink()

    def _spare_sessions(self) -> bool:
        """Memory is short: close the session that can best be spared, if there is one."""
        victim = self._registry.evict(time.monotonic())
        if victim is None:
            return False
        self._connections[victim.id].hang_up("idle", "its memory was needed")
        return True

    def _hang_up_all(self, reason: str) -> None:
        for connection in list(self._connections.values()):
            connection.hang_up("restarting", reason)

    def _add_figures(self) -> None:
        cache, gauge, counter = self.engine.cache, self.metrics.gauge, self.metrics.counter
        gauge("sessions_active", "Connections served now.", lambda: len(self._registry))
        gauge("cache_bytes", "Bytes of embeddings held.", lambda: cache.nbytes)
        gauge("cache_entries", "Embeddings held.", lambda: len(cache))
        counter("cache_hits", "Opens answered from the cache.", lambda: cache.hits)
        counter("cache_misses", "Images encoded: not in the cache.", lambda: cache.misses)
        gauge("logits_bytes", "Bytes of priors kept.", lambda: self._registry.remembered_bytes)
        gauge("uploads_bytes", "Compressed bytes on their way in.", lambda: self._uploads.used)
        gauge("decodes_waiting", "Prompts in the queue.", lambda: self.engine.decodes_waiting)
        gauge("ready", "1 when warm and answering.", lambda: float(self.engine.ready))
        gauge("start_seconds", "Time to ready; 0 until then.", lambda: self.start_s)


def _agreed_subprotocol(socket: WebSocket) -> str | None:
    offered: list[str] = socket.scope["subprotocols"]
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    return offered[0] if offered else None


class _Page(StaticFiles):
    """The built page, under a strict Content-Security-Policy."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type] # passed through
        response.headers.update(SECURITY_HEADERS)
        return response


async def _page_is_missing(_request: Request) -> Response:
    text = (
        "samwire is running, without its page. In a checkout run `make page` and start it again; a "
        "package has the page if it was built after that.\n"
    )
    return PlainTextResponse(text, headers=SECURITY_HEADERS)


def _engine_settings(settings: Settings) -> EngineSettings:
    return EngineSettings(
        cache_bytes=settings.cache_bytes,
        max_image_pixels=settings.max_image_pixels,
        max_waiting_bytes=settings.max_uploads_bytes,
        reduced_jpeg=settings.reduced_jpeg,
        request_timeout_s=settings.request_timeout_s,
        open_timeout_s=settings.open_timeout_s,
        device_timeout_s=settings.device_timeout_s,
        max_decode_ms=settings.max_decode_ms,
    )
