"""One WebSocket: reads, writes, and carries out what its session decides. Decides nothing itself.

One reader always runs, because the server library stops noticing pongs and disconnects when nobody
reads. One writer empties the outbox; a client that does not read is closed, never waited for.

Whatever happens to a session comes through `_act`: a fault of ours ends this one connection, and
neither the clock that ticks for all nor the engine.
"""

import asyncio
import functools
import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import cast

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from server.engine.engine import Engine
from server.engine.jobs import DecodeJob, OpenImage, ProgressListener
from server.engine.types import Logits, MaskResult
from server.errors import ERRORS, WireError, close_reason
from server.metrics import Metrics
from server.protocol import (
    Error,
    Hello,
    OpenTimings,
    RleBody,
    ServerMessage,
    pack,
    unpack_client,
)
from server.rle import Rle
from server.sessions.effects import (
    Abandon,
    Effect,
    Fetch,
    Free,
    Hangup,
    Load,
    LogitsHandle,
    Reply,
    Submit,
    Withdraw,
)
from server.sessions.outbox import Outbox
from server.sessions.session import Session, State

__all__ = ["Connection"]

_log = logging.getLogger(__name__)
_CLOSE_TIMEOUT_S = 2.0
_LATE_HOVER_S = 0.02


class Connection:
    """Joins a socket, a session and the engine, for as long as the socket lives.

    Args:
        socket: accepted already.
        send_timeout_s: for one frame to leave.
    """

    def __init__(
        self,
        socket: WebSocket,
        session: Session,
        engine: Engine,
        metrics: Metrics,
        *,
        outbox: Outbox,
        send_timeout_s: float,
    ) -> None:
        self.session = session
        self._socket = socket
        self._engine = engine
        self._metrics = metrics
        self._outbox = outbox
        self._send_timeout_s = send_timeout_s
        self._to_send = asyncio.Event()
        self._hangup: Hangup | None = None
        self._leave_by = math.inf
        """When to stop sending what is left; on the loop's clock."""
        self._jobs: dict[int, DecodeJob] = {}
        self._opens: dict[int, asyncio.Task[None]] = {}
        self._late_tick: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until either side ends it; afterwards nothing of the session is left."""
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._act(self.session.end)
            if self._late_tick is not None:
                self._late_tick.cancel()
            for task in (reader, writer, *self._opens.values()):
                task.cancel()
            ended = await asyncio.gather(
                reader, writer, *self._opens.values(), return_exceptions=True
            )
            for failure in ended:
                if isinstance(failure, Exception):
                    self._fail(failure)
            await self._close()

    def tick(self) -> None:
        """Let the session know the time."""
        self._act(lambda: self.session.tick(time.monotonic()))

    def hang_up(self, error: str, reason: str) -> None:
        """Close, once what waits in the outbox has been sent."""
        self._act(lambda: self.session.hang_up(error, reason))

    def announce_drain(self, deadline_s: float) -> None:
        """Tell the session that the server is stopping, and it its client."""
        self._act(lambda: self.session.drain(deadline_s))

    async def _read(self) -> None:
        while self._hangup is None:
            try:
                message = await self._socket.receive()
            except (WebSocketDisconnect, RuntimeError):
                return
            if message["type"] == "websocket.disconnect":
                return
            frame = message.get("bytes")
            if frame is None:
                self.hang_up("text_frame", "expected a binary frame")
            else:
                self._act(functools.partial(self._take, frame))
                self._see_to_late_hover()
        await asyncio.Event().wait()  # the writer closes; reading on would only feed it more

    def _take(self, frame: bytes) -> list[Effect]:
        now = time.monotonic()
        try:
            message = unpack_client(frame)
        except WireError as refused:
            return self.session.refuse(refused, now)
        self._metrics.received(message.type, len(frame))
        if isinstance(message, Hello) and self.session.state is State.GREETING:
            _log.info("> session=%s client=%r", self.session.id, message.client)
        return self.session.receive(message, now)

    def _see_to_late_hover(self) -> None:
        """A hover over the rate waits for time to pass, and no message may come to tell."""
        if self._late_tick is None and self.session.hover_is_late:
            self._late_tick = asyncio.get_running_loop().call_later(_LATE_HOVER_S, self._tick_late)

    def _tick_late(self) -> None:
        self._late_tick = None
        self.tick()
        self._see_to_late_hover()

    async def _write(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while (message := self._outbox.pop()) is not None:
                frame = pack(message)
                try:
                    async with asyncio.timeout_at(self._send_by()):
                        await self._socket.send_bytes(frame)
                except TimeoutError:
                    self.hang_up("slow_reader", "a frame was not read in time")
                    return
                except (WebSocketDisconnect, RuntimeError):
                    return
                self._metrics.sent(message.type, len(frame))
            if self._hangup is not None:
                return

    def _send_by(self) -> float:
        """A frame has its time; all that is left after a hang-up has as much together."""
        return min(asyncio.get_running_loop().time() + self._send_timeout_s, self._leave_by)

    async def _close(self) -> None:
        hangup = self._hangup
        if hangup is None or self._socket.application_state is not WebSocketState.CONNECTED:
            return
        code = ERRORS[hangup.error].close_code
        reason = close_reason(hangup.error, hangup.reason)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._socket.close(code or 1011, reason)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # the client is gone or does not read: there is nobody to tell

    def _act(self, decide: Callable[[], Sequence[Effect]]) -> None:
        """Let the session decide, and carry out what it wants."""
        try:
            self._carry_out(decide())
            # Only now: a hang-up lets go of all that the effects before it began.
            if self._outbox.overfull:
                self._carry_out(self.session.hang_up("slow_reader", "replies were not read"))
        # See the top of this file.
        except Exception as fault:  # noqa: BLE001
            self._fail(fault)

    def _fail(self, fault: Exception) -> None:
        _log.error("a session failed: session=%s", self.session.id, exc_info=fault)
        self._begin_hangup(Hangup("internal", "a fault of the server; its log says more"))

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Reply(message, hover):
                    self._send(message, hover=hover)
                case Submit():
                    self._submit(effect)
                case Withdraw(ticket):
                    self._withdraw(ticket)
                case Fetch():
                    self._start_open(effect.id, self._fetch(effect))
                case Load():
                    self._start_open(effect.id, self._load(effect))
                case Abandon(open_id):
                    self._abandon(open_id)
                case Free(image):
                    self._engine.release(cast("OpenImage", image))
                case Hangup():
                    self._begin_hangup(effect)

    def _send(self, message: ServerMessage, *, hover: bool) -> None:
        if isinstance(message, Error):
            self._metrics.refused(message.code)
        self._outbox.push(message, hover=hover)
        self._to_send.set()

    def _begin_hangup(self, hangup: Hangup) -> None:
        if self._hangup is None:
            self._hangup = hangup
            self._leave_by = asyncio.get_running_loop().time() + self._send_timeout_s
            self._metrics.refused(hangup.error)
            _log.info("x session=%s code=%s %s", self.session.id, hangup.error, hangup.reason)
            self._to_send.set()

    def _submit(self, ask: Submit) -> None:
        ticket = ask.ticket
        self._jobs[ticket] = self._engine.submit(
            self.session.id,
            ask.kind,
            cast("OpenImage", ask.image),
            ask.prompt,
            ask.want,
            _engine_prior(ask.prior),
            on_started=lambda: self.session.on_started(ticket),
            on_done=lambda outcome: self._on_result(ticket, outcome),
        )

    def _on_result(self, ticket: int, outcome: MaskResult | WireError) -> None:
        self._jobs.pop(ticket, None)
        self._act(lambda: self.session.on_result(ticket, outcome))

    def _withdraw(self, ticket: int) -> None:
        job = self._jobs.pop(ticket, None)
        if job is not None:
            self._engine.cancel(job)

    def _start_open(self, open_id: int, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._opens[open_id] = task
        task.add_done_callback(lambda ended: self._forget_open(open_id, ended))

    def _forget_open(self, open_id: int, ended: asyncio.Task[None]) -> None:
        # A fetch that missed is followed by a load under the same id.
        if self._opens.get(open_id) is ended:
            del self._opens[open_id]

    def _abandon(self, open_id: int) -> None:
        task = self._opens.pop(open_id, None)
        if task is not None:
            task.cancel()

    async def _fetch(self, fetch: Fetch) -> None:
        async def join() -> OpenImage | None:
            return await self._engine.join(
                self._principal,
                fetch.sha256,
                prefetch=fetch.prefetch,
                listener=self._listener(fetch.id),
            )

        await self._open(fetch.id, join)

    async def _load(self, load: Load) -> None:
        async def open_() -> OpenImage | None:
            return await self._engine.open(
                self._principal,
                load.data,
                load.sha256,
                prefetch=load.prefetch,
                listener=self._listener(load.id),
            )

        await self._open(load.id, open_)

    async def _open(self, open_id: int, attempt: Callable[[], Awaitable[OpenImage | None]]) -> None:
        try:
            image = await attempt()
        except WireError as refused:
            error = refused.with_traceback(None)  # which would keep this frame, and the file
        # Whatever else fails is ours, and ends one open, not the connection.
        except Exception:  # noqa: BLE001
            _log.exception("an open failed: session=%s", self.session.id)
            error = WireError("internal", "the image could not be opened")
        else:
            self._act(lambda: self._opened(open_id, image))
            return
        self._act(lambda: self.session.on_open_failed(open_id, error, time.monotonic()))

    def _opened(self, open_id: int, image: OpenImage | None) -> list[Effect]:
        if image is None:
            return self.session.on_missing(open_id, time.monotonic())
        timings = OpenTimings(
            wait_ms=image.wait_ms, decode_ms=image.decode_ms, encode_ms=image.encode_ms
        )
        return self.session.on_opened(
            open_id, image, sha256=image.sha256, cached=image.cached, timings=timings
        )

    def _listener(self, open_id: int) -> ProgressListener:
        def listen(stage: str, fraction: float, ahead: int | None = None) -> None:
            self._act(lambda: self.session.on_progress(open_id, stage, fraction, ahead))

        return listen

    @property
    def _principal(self) -> str:
        """Embeddings are shared by those who hold the same token."""
        return hashlib.sha256((self.session.token or "").encode()).hexdigest()


def _engine_prior(prior: LogitsHandle | RleBody | None) -> Logits | Rle | None:
    if isinstance(prior, RleBody):
        return Rle(size=prior.size, counts=prior.counts)
    return cast("Logits | None", prior)
