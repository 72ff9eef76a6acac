"""What was asked, what came of it, and how long it took from when it was due. No I/O, no clock.

Latency counts from the *intended* time, so that a server that makes its clients wait cannot hide
it. A click that was superseded counts until the mask of the click that overtook it, because that is
what the annotator waits for. A hover that a newer one overtook has no latency of its own; its share
is told instead. What is never answered counts until the end, so that it cannot flatter.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

from server.protocol import Error, MaskReply, Opened, ServerMessage, Superseded

__all__ = ["Kind", "Ledger", "Records"]

Kind = Literal["click", "refine", "hover", "open"]


@dataclass
class Records:
    """What all annotators of a run saw, from the end of the warm-up on."""

    latencies_s: dict[Kind, list[float]] = field(
        default_factory=lambda: {"click": [], "refine": [], "hover": [], "open": []}
    )
    asked: Counter[Kind] = field(default_factory=Counter)
    superseded: Counter[Kind] = field(default_factory=Counter)
    unanswered: Counter[Kind] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lateness_s: list[float] = field(default_factory=list)
    """How long after its intended time each message was sent: ours, not the server's."""


@dataclass(slots=True)
class _Pending:
    kind: Kind
    object: int
    due_s: float
    counts: bool
    overtaken: bool = False


class Ledger:
    """One connection's open accounts.

    Args:
        records: where results go.
        counts_from_s: what is due earlier is warm-up.
    """

    def __init__(self, records: Records, counts_from_s: float) -> None:
        self._records = records
        self._counts_from_s = counts_from_s
        self._pending: dict[int, _Pending] = {}
        self._lost = False

    @property
    def owes(self) -> bool:
        """Whether an answer may still come."""
        return bool(self._pending) and not self._lost

    def ask(self, request_id: int, kind: Kind, number: int, *, due_s: float, sent_s: float) -> None:
        """A request goes out."""
        counts = due_s >= self._counts_from_s
        self._pending[request_id] = _Pending(kind, number, due_s, counts)
        if counts:
            self._records.asked[kind] += 1
            self._records.lateness_s.append(sent_s - due_s)

    def hear(self, message: ServerMessage, now_s: float) -> None:
        """A message came in."""
        match message:
            case MaskReply() | Opened():
                self._answer(message.id, now_s)
            case Superseded():
                self._overtake(message.id, message.by)
            case Error():
                self._refuse(message.id, message.code)
            case _:
                pass

    def lose(self, reason: str) -> None:
        """The connection broke: that is an error, and nothing more will be answered."""
        self._records.errors[reason] += 1
        self._lost = True

    def end(self, now_s: float) -> None:
        """The run is over: what is owed counts until now."""
        for pending in self._pending.values():
            if pending.counts:
                self._records.unanswered[pending.kind] += 1
                self._records.latencies_s[pending.kind].append(now_s - pending.due_s)
        self._pending.clear()

    def _answer(self, request_id: int, now_s: float) -> None:
        pending = self._pending.pop(request_id, None)
        if pending is None:
            return
        self._record(pending, now_s)
        if pending.kind == "hover":
            self._settle_hovers_before(request_id)
        else:
            self._settle_overtaken(pending, request_id, now_s)

    def _overtake(self, request_id: int, by: int | None) -> None:
        pending = self._pending.pop(request_id, None)
        if pending is None:
            return
        if pending.counts:
            self._records.superseded[pending.kind] += 1
        if pending.kind == "hover":
            self._settle_hovers_before(request_id)
        elif self._is_click(by):
            self._pending[request_id] = replace(pending, overtaken=True)
        else:  # the image changed: nobody waits for it, nor for those that it overtook
            self._take_overtaken(pending, request_id)

    def _refuse(self, request_id: int | None, code: str) -> None:
        pending = self._pending.pop(request_id or 0, None)
        if pending is None or pending.counts:
            self._records.errors[code] += 1
        if pending is not None and pending.kind == "hover":
            self._settle_hovers_before(request_id or 0)

    def _settle_hovers_before(self, request_id: int) -> None:
        """A terminal reply to a hover settles every earlier one."""
        settled = [
            key for key, p in self._pending.items() if p.kind == "hover" and key < request_id
        ]
        for key in settled:
            if self._pending.pop(key).counts:
                self._records.superseded["hover"] += 1

    def _is_click(self, request_id: int | None) -> bool:
        pending = self._pending.get(request_id or 0)
        return pending is not None and pending.kind in {"click", "refine"}

    def _settle_overtaken(self, by: _Pending, request_id: int, now_s: float) -> None:
        for pending in self._take_overtaken(by, request_id):
            self._record(pending, now_s)

    def _take_overtaken(self, by: _Pending, request_id: int) -> list[_Pending]:
        keys = [
            key
            for key, pending in self._pending.items()
            if pending.overtaken and key < request_id and pending.object == by.object
        ]
        return [self._pending.pop(key) for key in keys]

    def _record(self, pending: _Pending, now_s: float) -> None:
        if pending.counts:
            self._records.latencies_s[pending.kind].append(now_s - pending.due_s)
