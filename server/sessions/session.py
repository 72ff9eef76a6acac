"""One annotator's session, without I/O: messages and results in, effects out.

Rules of this file: everything that changes the session's state, and the table that says what each
message does in each state, live here and nowhere else. What is asked of the objects of an open
image is `objects.py`'s. Nothing here awaits, reads a clock or knows a socket; after each call the
caller carries out the effects in order.

    Greeting --hello--> Empty --open--> Opening --opened--> Open
                          ^                |                  |
                          +-----failed-----+-------close------+

An `open` in any state but Greeting replaces the image. A prefetch is an open on the side: it
changes neither the state nor the image. Any state ends with the connection; what comes after that
is ignored. While the server drains, what was asked before goes on, and nothing new is begun.
"""

import enum
from collections.abc import Callable
from typing import ClassVar

from server.engine.types import MaskResult
from server.errors import WireError
from server.protocol import (
    Cancel,
    ClientMessage,
    Close,
    Data,
    Done,
    Draining,
    Error,
    FrameError,
    Hello,
    Open,
    Opened,
    OpenTimings,
    Progress,
    Release,
    Segment,
    Send,
    Superseded,
)
from server.sessions.effects import (
    Abandon,
    Effect,
    Fetch,
    Free,
    Hangup,
    ImageHandle,
    Load,
    Reply,
)
from server.sessions.memory import Memory
from server.sessions.objects import Objects
from server.sessions.opening import Opening
from server.sessions.rate import Manners
from server.sessions.rules import SessionRules
from server.sessions.uploads import Upload, UploadBudget

__all__ = ["Session", "SessionRules", "State"]

_STOPPING = "the server is stopping"


class State(enum.IntEnum):
    """Where a session is: the columns of the table of transitions."""

    GREETING = 0
    EMPTY = 1
    OPENING = 2
    OPEN = 3
    ENDED = 4


class Session:
    """The state of one connection, from its first frame to its last.

    Args:
        session_id: unguessable; names the session in logs and in `welcome`.
        rules: what the server allows.
        uploads: the process's budget for compressed bytes.
        now: monotonic seconds, as in every method that takes it.
        seat: whether there is a place for a session that has said a valid hello, at this time.
    """

    def __init__(
        self,
        session_id: str,
        rules: SessionRules,
        uploads: UploadBudget,
        now: float,
        seat: Callable[["Session", float], bool] = lambda _session, _now: True,
    ) -> None:
        self.id = session_id
        self.state = State.GREETING
        self.token: str | None = None
        self.last_active_at = now
        self._rules = rules
        self._uploads = uploads
        self._seat = seat
        self._born_at = now
        self._draining = False
        self._last_id = 0
        self._image: ImageHandle | None = None
        self._opening: Opening | None = None
        self._prefetch: Opening | None = None
        self._memory = Memory(kept_logits=rules.kept_logits)
        self._objects = Objects(
            max_waiting_clicks=rules.limits.max_waiting_clicks, memory=self._memory
        )
        self._manners = Manners(rules, now)

    @property
    def remembered_bytes(self) -> int:
        """Bytes of logits kept for later priors, and of masks given as such."""
        return self._memory.nbytes + self._objects.nbytes

    @property
    def at_work(self) -> bool:
        """Whether an image is being opened or a mask is owed."""
        return bool(self._unfinished()) or not self._objects.idle

    @property
    def hover_is_late(self) -> bool:
        """Whether a hover over the rate waits: `tick` soon, so that it is answered."""
        return self._objects.held_hover is not None

    def receive(self, message: ClientMessage, now: float) -> list[Effect]:
        """Take a valid message."""
        if self.state is State.ENDED:
            return []
        if not self._manners.allow_message(now):
            return self.hang_up("abuse", f"over {self._rules.messages_per_s:g} messages a second")
        self.last_active_at = now
        if isinstance(message, Open | Segment | Close):
            if message.id <= self._last_id:
                text = f"expected an id above {self._last_id}, got {message.id}"
                return self.refuse(WireError("bad_id", text, field="id"), now)
            self._last_id = message.id
        if self._draining and isinstance(message, Open | Segment):
            return self._turn_away(message)
        handle = self.TRANSITIONS[type(message)][self.state]
        return handle(self, message, now)

    def refuse(self, error: WireError, now: float) -> list[Effect]:
        """Answer a frame that was no message; too many of them end the connection."""
        if self.state is State.ENDED:
            return []
        if error.spec.close_code is not None:
            return self.hang_up(error.code, error.message)
        if self.state is State.GREETING:
            return self.hang_up("hello_required", "expected `hello` first")
        if not self._manners.allow_error(now):
            return self.hang_up("abuse", "too many requests in error")
        request_id = error.request_id if isinstance(error, FrameError) else None
        if request_id is not None and request_id <= self._last_id:
            request_id = None
        self._last_id = request_id or self._last_id
        return [Reply(Error.of(error, request_id))]

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: a late hello, a late hover, a stalled or long open, an idle session."""
        if self.state is State.ENDED:
            return []
        if self.state is State.GREETING:
            return self._await_hello(now)
        effects: list[Effect] = []
        late = self._objects.held_hover
        if late is not None and self._manners.allow_segment(late, now):
            effects += self._objects.allow_hover()
        effects += self._end_stalled(now)
        reminders = [opening.reminder(now) for opening in self._unfinished()]
        effects += [Reply(reminder) for reminder in reminders if reminder is not None]
        if self._opening is not None:
            self.last_active_at = now  # whoever waits for an image is not idle
        idle_for = now - self.last_active_at
        if idle_for >= self._rules.limits.idle_timeout_s:
            effects += self.hang_up("idle", f"no message for {idle_for:.0f} s")
        return effects

    def drain(self, deadline_s: float) -> list[Effect]:
        """The server stops within `deadline_s`: begin nothing new."""
        if self.state is State.GREETING:
            return self.hang_up("restarting", _STOPPING)
        if self.state is State.ENDED:
            return []
        self._draining = True
        return [Reply(Draining(deadline_s=deadline_s))]

    def hang_up(self, error: str, reason: str) -> list[Effect]:
        """Let go of everything, at once, and close the connection."""
        if self.state is State.ENDED:
            return []
        cut_off = self._refuse_all(WireError(error, reason)) if error == "restarting" else []
        return [*cut_off, *self.end(), Hangup(error, reason)]

    def end(self) -> list[Effect]:
        """The connection is gone: let go of everything; nothing is answered any more."""
        let_go = self._let_go(by=None) + self._drop_prefetch(by=None)
        self.state = State.ENDED
        return [effect for effect in let_go if not isinstance(effect, Reply)]

    def on_missing(self, open_id: int, now: float) -> list[Effect]:
        """The image of a `Fetch` is neither cached nor on its way: ask for its bytes."""
        opening = self._find(open_id)
        if opening is None:
            return []
        return self._start_upload(opening, now) or [Reply(Send(id=open_id))]

    def on_progress(
        self, open_id: int, stage: str, fraction: float, ahead: int | None = None
    ) -> list[Effect]:
        """An open came forward."""
        opening = self._find(open_id)
        if opening is None:
            return []
        told = {"id": open_id, "stage": stage, "fraction": fraction, "ahead": ahead}
        progress = Progress.model_validate(told)
        opening.tell(progress)
        return [Reply(progress)]

    def on_opened(
        self, open_id: int, image: ImageHandle, *, sha256: str, cached: bool, timings: OpenTimings
    ) -> list[Effect]:
        """The embedding is there, pinned for this session."""
        opening = self._find(open_id)
        if opening is None:
            return [Free(image)]
        opening.upload.end()
        if opening is self._prefetch:
            self._prefetch = None
            return [Free(image), Reply(Done(id=open_id))]
        self._opening = None
        self._image = image
        self.state = State.OPEN
        opened = Opened(
            id=open_id,
            width=image.width,
            height=image.height,
            sha256=sha256,
            cached=cached,
            timings=timings,
        )
        return [Reply(opened), *self._objects.opened(image)]

    def on_open_failed(self, open_id: int, error: WireError, now: float) -> list[Effect]:
        """The image could not be opened; what waited for it is refused."""
        opening = self._find(open_id)
        return [] if opening is None else self._end_failed(opening, error, now)

    def on_started(self, ticket: int) -> None:
        """A decode left the queue for the device."""
        self._objects.started(ticket)

    def on_result(self, ticket: int, outcome: MaskResult | WireError) -> list[Effect]:
        """A decode came back."""
        return self._objects.finished(ticket, outcome)

    # What each message does; `TRANSITIONS` says when.

    def _greet(self, message: Hello, now: float) -> list[Effect]:
        if not self._rules.accepts(message.token):
            return self.hang_up("unauthorized", "expected a valid `token` in `hello`")
        if not self._seat(self, now):
            return self.hang_up("full", "every place is taken by a session in use")
        self.token = message.token
        self.state = State.EMPTY
        return [Reply(self._rules.welcome(self.id))]

    def _demand_hello(self, message: ClientMessage, _now: float) -> list[Effect]:
        return self.hang_up("hello_required", f"expected `hello` first, got `{message.type}`")

    def _hello_again(self, _message: Hello, now: float) -> list[Effect]:
        return self.refuse(WireError("bad_frame", "`hello` comes once, and first"), now)

    def _open(self, message: Open, now: float) -> list[Effect]:
        opening = Opening(message, Upload(message.size, self._uploads, self._rules))
        if message.prefetch:
            effects = self._drop_prefetch(by=message.id)
            self._prefetch = opening
        else:
            effects = self._let_go(by=message.id)
            self._opening = opening
            self.state = State.OPENING
        return effects + self._begin(opening, now)

    def _begin(self, opening: Opening, now: float) -> list[Effect]:
        asked = opening.asked
        if asked.size > self._rules.limits.max_image_bytes:
            text = f"expected at most {self._rules.limits.max_image_bytes} bytes"
            too_large = WireError("image_too_large", text, field="size")
            return self._end_failed(opening, too_large, now)
        if asked.sha256 is not None:
            return [Fetch(asked.id, asked.sha256, asked.prefetch)]
        return self._start_upload(opening, now)

    def _start_upload(self, opening: Opening, now: float) -> list[Effect]:
        try:
            opening.upload.start(now)
        except WireError as refused:
            return self._end_failed(opening, refused, now)
        return []

    def _take_data(self, message: Data, now: float) -> list[Effect]:
        opening = self._find(message.id)
        if opening is None and message.id <= self._last_id:
            return []  # it crossed our reply that ended the open
        if opening is None or not opening.upload.receiving:
            text = "expected the id of an open that waits for its bytes"
            return self.refuse(WireError("bad_data", text, field="id"), now)
        upload = opening.upload
        try:
            upload.add(message.bytes, now)
            data = upload.take_bytes() if upload.complete else None
        except WireError as refused:
            return self._fail(opening, refused, now)
        effects: list[Effect] = []
        fraction = opening.news()
        if fraction is not None:
            effects += self.on_progress(opening.id, "upload", fraction)
        if data is not None:
            asked = opening.asked
            effects.append(Load(asked.id, data, asked.sha256, asked.prefetch))
        return effects

    def _segment(self, message: Segment, now: float) -> list[Effect]:
        in_time = self._manners.allow_segment(message, now)
        try:
            if not in_time and message.kind == "click":
                raise self._over_rate()
            return self._objects.ask(message, held=not in_time)
        except WireError as refused:
            return self._blame(message, now) or self._objects.refuse(message, refused)

    def _refuse_segment(self, message: Segment, now: float) -> list[Effect]:
        return self._blame(message, now) or [Reply(Error.of(_not_open(), message.id))]

    def _cancel(self, message: Cancel, _now: float) -> list[Effect]:
        opening = self._find(message.target)
        if opening is None:
            return self._objects.cancel(message.target)
        refused = self._objects.refuse_all(_not_open()) if opening is self._opening else []
        return [*self._abandon(opening), Reply(Superseded(id=opening.id)), *refused]

    def _release(self, message: Release, _now: float) -> list[Effect]:
        return self._objects.release(message.object)

    def _close(self, message: Close, _now: float) -> list[Effect]:
        return [*self._let_go(by=message.id), Reply(Done(id=message.id))]

    # The pieces they share.

    def _turn_away(self, message: Open | Segment) -> list[Effect]:
        error = WireError("restarting", _STOPPING)
        if isinstance(message, Open):
            return [Reply(Error.of(error, message.id))]
        # The end of the connection answers a hover well enough, and a pointer sends hundreds.
        return [] if message.kind == "hover" else self._objects.refuse(message, error)

    def _await_hello(self, now: float) -> list[Effect]:
        timeout_s = self._rules.hello_timeout_s
        if now - self._born_at < timeout_s:
            return []
        return self.hang_up("hello_required", f"expected `hello` within {timeout_s:g} s")

    def _end_stalled(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for opening in self._unfinished():
            if opening.upload.is_stalled(now):
                text = f"expected `data` every {self._rules.upload_timeout_s:g} s, and not in drops"
                effects += self._fail(opening, WireError("upload_stalled", text), now)
        return effects

    def _blame(self, message: Segment, now: float) -> list[Effect]:
        """Count a click in error; too many of them end the connection."""
        # A pointer that leaves the picture means no harm.
        if message.kind == "hover" or self._manners.allow_error(now):
            return []
        return self.hang_up("abuse", "too many clicks in error, or over the rate")

    def _over_rate(self) -> WireError:
        text = f"expected at most {self._rules.limits.segments_per_s:g} segments a second"
        return WireError("rate_limited", text, retry_after=1.0)

    def _find(self, open_id: int) -> Opening | None:
        return next((opening for opening in self._unfinished() if opening.id == open_id), None)

    def _unfinished(self) -> list[Opening]:
        return [opening for opening in (self._opening, self._prefetch) if opening is not None]

    def _let_go(self, by: int | None) -> list[Effect]:
        """Leave Opening or Open for Empty: unfinished work is superseded, the image unpinned."""
        effects = self._objects.clear(by)
        if self._opening is not None:
            superseded = Superseded(id=self._opening.id, by=by)
            effects = [*self._abandon(self._opening), Reply(superseded), *effects]
        if self._image is not None:
            effects.append(Free(self._image))
        self._image = None
        self.state = State.EMPTY
        return effects

    def _drop_prefetch(self, by: int | None) -> list[Effect]:
        if self._prefetch is None:
            return []
        superseded = Superseded(id=self._prefetch.id, by=by)
        return [*self._abandon(self._prefetch), Reply(superseded)]

    def _fail(self, opening: Opening, error: WireError, now: float) -> list[Effect]:
        return [Abandon(opening.id), *self._end_failed(opening, error, now)]

    def _end_failed(self, opening: Opening, error: WireError, now: float) -> list[Effect]:
        was_opening = opening is self._opening
        self._forget(opening)
        # A server short of memory, or of its device, fails the opens of the well-mannered too.
        if error.spec.fault == "client" and not self._manners.allow_error(now):
            return self.hang_up("abuse", "too many opens in error")
        effects: list[Effect] = [Reply(Error.of(error, opening.id))]
        if was_opening:
            reason = error if error.code == "restarting" else _not_open()
            effects += self._objects.refuse_all(reason)
        return effects

    def _refuse_all(self, error: WireError) -> list[Effect]:
        """Answer whatever is unfinished: the same may be asked of another server at once."""
        opens = [Reply(Error.of(error, opening.id)) for opening in self._unfinished()]
        return [*opens, *self._objects.refuse_all(error)]

    def _abandon(self, opening: Opening) -> list[Effect]:
        self._forget(opening)
        return [Abandon(opening.id)]

    def _forget(self, opening: Opening) -> None:
        opening.upload.end()
        if opening is self._prefetch:
            self._prefetch = None
        if opening is self._opening:
            self._opening = None
            self.state = State.EMPTY

    # The whole behaviour of a session in one place: message x state -> what happens. A handler
    # takes its row's type of message, which the table's type cannot say.
    # In Empty, `data` is a prefetch's, or late for an open that has ended.
    # fmt: off
    TRANSITIONS: ClassVar[dict[type[ClientMessage], tuple[Callable[..., list[Effect]], ...]]] = {
        #         GREETING       EMPTY            OPENING       OPEN
        Hello:   (_greet,        _hello_again,    _hello_again, _hello_again),
        Open:    (_demand_hello, _open,           _open,        _open),
        Data:    (_demand_hello, _take_data,      _take_data,   _take_data),
        Segment: (_demand_hello, _refuse_segment, _segment,     _segment),
        Cancel:  (_demand_hello, _cancel,         _cancel,      _cancel),
        Release: (_demand_hello, _release,        _release,     _release),
        Close:   (_demand_hello, _close,          _close,       _close),
    }
    # fmt: on


def _not_open() -> WireError:
    return WireError("not_open", "expected an open image; send `open` first")
