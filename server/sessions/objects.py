"""What is asked of each object of the open image: newest wins, priors, and what is remembered.

Rules of this file:
- A session has one waiting hover, and one waiting click an object. A newer one supersedes the one
  that waits; what has started is finished. A click supersedes its object's waiting hover, a hover
  never touches a click.
- One click an object at a time: the next is formed once the last one's logits are stored, because
  they may be its prior. A hover waits for its object's click too, so that it shows what a click
  would give; a click never waits for a hover, which leaves nothing behind.
- Every click gets one terminal reply. A reply to a hover settles all earlier hovers, so of those
  only the newest is kept, and none leaves after a newer one.
- Replies of one object leave in the order of their ids: one that is ready early is held back.
- A hover over the rate waits in the hover slot until the rate allows it: the last one is answered.
- Masks given as priors are bounded in sum: what waits for an image may wait for long.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from server.engine.types import MaskResult
from server.errors import WireError
from server.protocol import MAX_FRAME_BYTES, Error, MaskReply, RleBody, Segment, Superseded
from server.sessions.effects import Effect, ImageHandle, LogitsHandle, Reply, Submit, Withdraw
from server.sessions.memory import Memory
from server.sessions.prompts import check_geometry, is_positive, mask_reply, prompt_of, want_of

__all__ = ["MAX_GIVEN_BYTES", "Objects"]

MAX_GIVEN_BYTES = 1 << 20
"""Of masks given as priors, in what is unanswered. A hover over the rate may add one."""
_ENVELOPE_BYTES = 4096  # room in a frame for everything but the RLEs


@dataclass(slots=True)
class _Ask:
    """A segment without its terminal reply."""

    message: Segment
    held: bool = False
    submitted: bool = False
    prior_id: int | None = None

    @property
    def id(self) -> int:
        return self.message.id

    @property
    def object(self) -> int:
        return self.message.object


@dataclass(slots=True)
class _Clicks:
    """An object's clicks without a terminal reply."""

    waiting: _Ask | None = None
    running: _Ask | None = None

    def unanswered(self) -> list[_Ask]:
        return [ask for ask in (self.running, self.waiting) if ask is not None]

    def discard(self, ask: _Ask) -> None:
        if self.waiting is ask:
            self.waiting = None
        if self.running is ask:
            self.running = None


@dataclass(frozen=True, slots=True)
class _Settled:
    """A segment's terminal reply, which may still have to wait for earlier ones.

    Many may wait for one slow decode, so their messages, and the masks in those, are let go.
    """

    id: int
    object: int
    is_hover: bool
    reply: MaskReply | Error | Superseded


class Objects:
    """The objects of one image, from its `open` to the next.

    Args:
        max_waiting_clicks: clicks of all objects that may wait; one more is `busy`.
        memory: where the logits of answered clicks are kept.
    """

    def __init__(self, *, max_waiting_clicks: int, memory: Memory) -> None:
        self._max_waiting_clicks = max_waiting_clicks
        self._memory = memory
        self._image: ImageHandle | None = None
        self._clicks: dict[int, _Clicks] = {}
        self._hover: _Ask | None = None
        self._hovers_running: list[_Ask] = []
        self._settled: list[_Settled] = []
        self._hovers_settled_to = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._unanswered()

    @property
    def nbytes(self) -> int:
        """Bytes of given masks that are held."""
        return sum(_given_bytes(ask.message) for ask in self._unanswered())

    @property
    def held_hover(self) -> Segment | None:
        """The hover that waits for `allow_hover`, if one does."""
        return self._hover.message if self._hover is not None and self._hover.held else None

    def ask(self, message: Segment, *, held: bool = False) -> list[Effect]:
        """Take a new segment; before the image is open it waits, `held` for `allow_hover` too.

        Raises:
            WireError: it cannot be answered; nothing has changed.
        """
        if not held:
            self._check(message)
        if message.kind == "click":
            return self._place_click(message) + self._advance()
        effects = self._withdraw_hover()
        self._hover = _Ask(message, held)
        return effects + self._advance()

    def refuse(self, message: Segment, error: WireError) -> list[Effect]:
        """Answer a segment that `ask` did not take, in its turn."""
        effects = self._withdraw_hover() if message.kind == "hover" else []
        self._settle(message, Error.of(error, message.id))
        return effects + self._flush()

    def allow_hover(self) -> list[Effect]:
        """Let the held hover go."""
        hover = self._hover
        if hover is None:
            return []
        hover.held = False
        try:
            self._check(hover.message)
        except WireError as refused:
            return self._drop(hover, Error.of(refused, hover.id)) + self._flush()
        return self._advance()

    def opened(self, image: ImageHandle) -> list[Effect]:
        """The image is there: check and form what waited for it."""
        self._image = image
        effects: list[Effect] = []
        for ask in self._unanswered():
            try:
                check_geometry(ask.message, image.width, image.height)
            except WireError as refused:
                effects += self._drop(ask, Error.of(refused, ask.id))
        return effects + self._advance()

    def started(self, ticket: int) -> None:
        """The decode of `ticket` left the queue: from here on it is finished, not superseded."""
        if self._hover is not None and self._hover.id == ticket:
            self._hovers_running.append(self._hover)
            self._hover = None
            return
        for clicks in self._clicks.values():
            if clicks.waiting is not None and clicks.waiting.id == ticket:
                clicks.running, clicks.waiting = clicks.waiting, None

    def finished(self, ticket: int, outcome: MaskResult | WireError) -> list[Effect]:
        """Answer with a mask or an error; an outcome nobody waits for any more is dropped."""
        ask = next((ask for ask in self._unanswered() if ask.id == ticket), None)
        if ask is None:
            return []
        self._discard(ask)
        self._settle(ask.message, self._answer(ask, outcome))
        return self._advance()

    def cancel(self, target: int) -> list[Effect]:
        """Supersede the request `target`, waiting or running; unknown ones are no matter."""
        effects: list[Effect] = []
        for ask in self._unanswered():
            if ask.id == target:
                effects += self._drop(ask, Superseded(id=target))
        return effects + self._advance()

    def release(self, number: int) -> list[Effect]:
        """Forget the object; what concerns it is superseded."""
        self._memory.forget(number)
        return self._end(lambda segment: segment.object == number)

    def clear(self, by: int | None) -> list[Effect]:
        """The image goes: supersede everything, remember nothing."""
        self._memory.clear()
        self._image = None
        return self._end(lambda _: True, by)

    def refuse_all(self, error: WireError) -> list[Effect]:
        """The open failed: answer everything that waited for it."""
        effects: list[Effect] = []
        for ask in self._unanswered():
            effects += self._drop(ask, Error.of(error, ask.id))
        return effects + self._flush()

    def _place_click(self, message: Segment) -> list[Effect]:
        effects: list[Effect] = []
        for ask in self._overtaken(message):
            effects += self._drop(ask, Superseded(id=ask.id, by=message.id))
        self._clicks.setdefault(message.object, _Clicks()).waiting = _Ask(message)
        return effects

    def _overtaken(self, message: Segment) -> list[_Ask]:
        """What waits and gives way to it."""
        if message.kind == "hover":
            return [] if self._hover is None else [self._hover]
        waiting = [self._clicks.get(message.object, _Clicks()).waiting, self._hover]
        return [ask for ask in waiting if ask is not None and ask.object == message.object]

    def _withdraw_hover(self) -> list[Effect]:
        """Make room in the hover slot; the newer hover's reply settles this one."""
        hover, self._hover = self._hover, None
        return [Withdraw(hover.id)] if hover is not None and hover.submitted else []

    def _advance(self) -> list[Effect]:
        """Submit everything that has become free to go."""
        effects: list[Effect] = []
        for clicks in list(self._clicks.values()):
            if clicks.waiting is not None and clicks.running is None:
                effects += self._submit(clicks.waiting)
        hover = self._hover
        if hover is not None and not hover.held and hover.object not in self._clicks:
            effects += self._submit(hover)
        # Replies first: an engine that refuses at once must not overtake them.
        return [*self._flush(), *effects]

    def _submit(self, ask: _Ask) -> list[Effect]:
        if ask.submitted or self._image is None:
            return []
        message, prompt = ask.message, prompt_of(ask.message)
        try:
            ask.prior_id, prior = self._prior(message)
            if prior is None and not is_positive(prompt):
                raise _no_positive_prompt()
        except WireError as refused:
            return self._drop(ask, Error.of(refused, ask.id))
        ask.submitted = True
        want = want_of(message, has_prior=prior is not None)
        return [Submit(ask.id, message.kind, self._image, prompt, want, prior)]

    def _prior(self, message: Segment) -> tuple[int | None, LogitsHandle | RleBody | None]:
        """The earlier logits to refine, and the id of the reply they came from."""
        if message.prior_is_automatic:
            return self._memory.automatic(message.object, prompt_of(message))
        if message.prior is None or isinstance(message.prior, RleBody):
            return None, message.prior
        mask_id, index = message.prior
        return mask_id, self._memory.find(message.object, mask_id, index)

    def _answer(self, ask: _Ask, outcome: MaskResult | WireError) -> MaskReply | Error:
        if isinstance(outcome, WireError):
            return Error.of(outcome, ask.id)
        reply = mask_reply(ask.message, ask.prior_id, outcome)
        sent = (reply, *(reply.candidates or ()))  # the best goes twice
        if sum(len(mask.rle.counts) for mask in sent) > MAX_FRAME_BYTES - _ENVELOPE_BYTES:
            text = "the mask is too ragged for one frame; add points, or segment a part of it"
            return Error.of(WireError("mask_too_complex", text), ask.id)
        if ask.message.kind == "click":
            self._memory.add(ask.object, ask.id, prompt_of(ask.message), outcome.logits)
        return reply

    def _check(self, message: Segment) -> None:
        """Refuse early what could not be answered, so that it supersedes nothing."""
        if message.kind == "hover" and message.candidates:
            text = "candidates come with clicks only"
            raise WireError("bad_field", text, field="candidates")
        if self._image is not None:
            check_geometry(message, self._image.width, self._image.height)
            self._check_prior(message)
        if message.kind == "click":
            self._check_room(message.object)
        self._check_given(message)

    def _check_prior(self, message: Segment) -> None:
        _, prior = self._prior(message)
        settled = message.object not in self._clicks
        if prior is None and settled and not is_positive(prompt_of(message)):
            raise _no_positive_prompt()

    def _check_room(self, number: int) -> None:
        waiting = {key for key, clicks in self._clicks.items() if clicks.waiting is not None}
        if number not in waiting and len(waiting) >= self._max_waiting_clicks:
            text = f"{len(waiting)} clicks already wait; wait for a reply"
            raise WireError("busy", text, retry_after=0.1)

    def _check_given(self, message: Segment) -> None:
        given = _given_bytes(message)
        stays = self.nbytes - sum(_given_bytes(ask.message) for ask in self._overtaken(message))
        if given and stays + given > MAX_GIVEN_BYTES:
            text = f"{stays} bytes of given masks already wait; wait for a reply"
            raise WireError("busy", text, retry_after=0.1)

    def _end(
        self, concerns: Callable[[_Ask | _Settled], bool], by: int | None = None
    ) -> list[Effect]:
        """Supersede what is unanswered, and the masks that were held back."""
        effects: list[Effect] = []
        for ask in filter(concerns, self._unanswered()):
            effects += self._drop(ask, Superseded(id=ask.id, by=by))
        self._settled = [
            replace(settled, reply=Superseded(id=settled.id, by=by))
            if concerns(settled) and isinstance(settled.reply, MaskReply)
            else settled
            for settled in self._settled
        ]
        return effects + self._flush()

    def _drop(self, ask: _Ask, reply: Error | Superseded) -> list[Effect]:
        """Give up an unanswered ask, with its terminal reply."""
        self._discard(ask)
        self._settle(ask.message, reply)
        return [Withdraw(ask.id)] if ask.submitted else []

    def _settle(self, message: Segment, reply: MaskReply | Error | Superseded) -> None:
        settled = _Settled(message.id, message.object, message.kind == "hover", reply)
        if settled.is_hover:
            newer = [s for s in self._settled if not s.is_hover or s.id > settled.id]
            self._settled = newer
        self._settled.append(settled)

    def _flush(self) -> list[Effect]:
        """Let go every reply that no unanswered earlier request of its object holds back."""
        earliest: dict[int, int] = {}
        for ask in self._unanswered():
            earliest[ask.object] = min(ask.id, earliest.get(ask.object, ask.id))
        ready: list[_Settled] = []
        held_back: list[_Settled] = []
        for settled in sorted(self._settled, key=lambda settled: settled.id):
            waits = earliest.get(settled.object, settled.id) < settled.id
            (held_back if waits else ready).append(settled)
        self._settled = held_back
        return [Reply(s.reply, s.is_hover) for s in self._without_old_news(ready)]

    def _without_old_news(self, ready: list[_Settled]) -> list[_Settled]:
        """Without hovers that a newer hover's reply has settled; those kept settle others."""
        news: list[_Settled] = []
        for settled in ready:
            if settled.is_hover:
                if settled.id <= self._hovers_settled_to:
                    continue
                self._hovers_settled_to = settled.id
            news.append(settled)
        return news

    def _discard(self, ask: _Ask) -> None:
        """Remove the ask from wherever it waits or runs."""
        if self._hover is ask:
            self._hover = None
        self._hovers_running = [hover for hover in self._hovers_running if hover is not ask]
        clicks = self._clicks.get(ask.object)
        if clicks is not None:
            clicks.discard(ask)
            if not clicks.unanswered():
                del self._clicks[ask.object]

    def _unanswered(self) -> list[_Ask]:
        clicks = [ask for clicks in self._clicks.values() for ask in clicks.unanswered()]
        hovers = self._hovers_running + ([self._hover] if self._hover is not None else [])
        return clicks + hovers


def _given_bytes(message: Segment) -> int:
    return len(message.prior.counts) if isinstance(message.prior, RleBody) else 0


def _no_positive_prompt() -> WireError:
    text = "expected an include point, a box or a prior"
    return WireError("no_positive_prompt", text, field="points")
