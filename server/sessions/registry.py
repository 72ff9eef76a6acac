"""Who is alive, and who goes when there is no room. Pure; the clock is an argument.

A connection that has not said `hello` has no place yet, and takes none from those who have: it
stands in the lobby, which is small, and where the newest takes the place of the oldest. With
`hello` it asks for a place. A session can be spared when it has been idle for a while: no message,
nothing being opened, no mask owed. When every place is taken the least recently used of those
makes room; when there is none, the newcomer is refused. When memory is short the same sessions go,
in the same order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Admission", "Registry"]

LEAST_LOBBY = 16
"""Connections without a hello that even a small server puts up with at once."""


class _Sparable(Protocol):
    """What the registry must know of a session."""

    @property
    def id(self) -> str: ...

    @property
    def last_active_at(self) -> float: ...

    @property
    def at_work(self) -> bool: ...

    @property
    def remembered_bytes(self) -> int: ...


_S = TypeVar("_S", bound=_Sparable)


@dataclass(frozen=True, slots=True)
class Admission(Generic[_S]):
    """Whether a newcomer is in, and who was taken out for it: close those."""

    admitted: bool
    victims: tuple[_S, ...] = ()


class Registry(Generic[_S]):
    """The sessions of a process.

    Args:
        max_sessions: that have said hello, served at once; the lobby holds a quarter as many.
        spare_after_s: idle this long, a session may be closed when its place is needed.
        max_per_address: how many one address may hold, the lobby's included; 0 = all.
    """

    def __init__(
        self, max_sessions: int, *, spare_after_s: float = 30.0, max_per_address: int = 0
    ) -> None:
        self._max_sessions = max_sessions
        self._max_in_lobby = max(LEAST_LOBBY, max_sessions // 4)
        self._max_per_address = max_per_address
        self._spare_after_s = spare_after_s
        self._sessions: dict[str, _S] = {}
        self._addresses: dict[str, str] = {}
        self._lobby: dict[str, _S] = {}
        """Of the sessions, those without a place, in the order in which they came."""

    @property
    def remembered_bytes(self) -> int:
        """Bytes of logits, and of masks given as priors, that all sessions keep."""
        return sum(session.remembered_bytes for session in self)

    def enter(self, session: _S, now: float, *, address: str = "") -> Admission[_S]:
        """Let the newcomer wait in the lobby until it says hello.

        Args:
            session: the newcomer.
            now: monotonic seconds.
            address: the peer's; unknown ones count as one.
        """
        victims: list[_S] = []
        neighbours = [other for other in self if self._addresses[other.id] == address]
        if self._max_per_address and len(neighbours) >= self._max_per_address:
            neighbour = self._least_recent(neighbours, now)
            if neighbour is None:
                return Admission(admitted=False)
            victims.append(self._taken_out(neighbour))
        if len(self._lobby) >= self._max_in_lobby:
            victims.append(self._taken_out(next(iter(self._lobby.values()))))
        self._sessions[session.id] = self._lobby[session.id] = session
        self._addresses[session.id] = address
        return Admission(admitted=True, victims=tuple(victims))

    def seat(self, session: _S, now: float) -> Admission[_S]:
        """It has said hello: give it a place, if need be that of a session that can be spared."""
        victims: list[_S] = []
        seated = [other for other in self if other.id not in self._lobby]
        if len(seated) >= self._max_sessions:
            spare = self._least_recent(seated, now)
            if spare is None:
                return Admission(admitted=False)
            victims.append(self._taken_out(spare))
        self._lobby.pop(session.id, None)
        return Admission(admitted=True, victims=tuple(victims))

    def evict(self, now: float) -> _S | None:
        """Take out the session that can best be spared; None when all are in use."""
        victim = self._least_recent(self, now)
        return None if victim is None else self._taken_out(victim)

    def remove(self, session: _S) -> None:
        """The session has ended; harmless when repeated."""
        for those in (self._sessions, self._addresses, self._lobby):
            those.pop(session.id, None)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[_S]:
        return iter(self._sessions.values())

    def _taken_out(self, victim: _S) -> _S:
        self.remove(victim)
        return victim

    def _least_recent(self, sessions: Iterable[_S], now: float) -> _S | None:
        spare = [s for s in sessions if self._can_be_spared(s, now)]
        return min(spare, key=lambda session: session.last_active_at, default=None)

    def _can_be_spared(self, session: _S, now: float) -> bool:
        return not session.at_work and now - session.last_active_at >= self._spare_after_s
