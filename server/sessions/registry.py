"""Who is alive, and who goes when there is no room. Pure; the clock is an argument.

A session can be spared when it has been idle for a while: no message, nothing being opened, no mask
owed. When every place is taken the least recently used of those makes room; when there is none, the
newcomer is refused. When memory is short the same sessions go, in the same order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Admission", "Registry"]


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
    """Whether a newcomer is in, and who was taken out for it: close that one with `idle`."""

    admitted: bool
    victim: _S | None = None


class Registry(Generic[_S]):
    """The sessions of a process.

    Args:
        max_sessions: served at once.
        spare_after_s: idle this long, a session may be closed when its place is needed.
        max_per_address: of `max_sessions`, how many one address may hold; 0 = all.
    """

    def __init__(
        self, max_sessions: int, *, spare_after_s: float = 30.0, max_per_address: int = 0
    ) -> None:
        self._max_sessions = max_sessions
        self._max_per_address = max_per_address or max_sessions
        self._spare_after_s = spare_after_s
        self._sessions: dict[str, _S] = {}
        self._addresses: dict[str, str] = {}

    @property
    def remembered_bytes(self) -> int:
        """Bytes of logits that all sessions keep."""
        return sum(session.remembered_bytes for session in self)

    def admit(self, session: _S, now: float, *, address: str = "") -> Admission[_S]:
        """Take the newcomer in, if need be in place of a session that can be spared.

        Args:
            session: the newcomer.
            now: monotonic seconds.
            address: the peer's; unknown ones count as one.
        """
        neighbours = [other for other in self if self._addresses[other.id] == address]
        in_the_way: Iterable[_S] = ()
        if len(neighbours) >= self._max_per_address:
            in_the_way = neighbours
        elif len(self) >= self._max_sessions:
            in_the_way = self
        else:
            return self._add(session, address)
        victim = self._least_recent(in_the_way, now)
        if victim is None:
            return Admission(admitted=False)
        self.remove(victim)
        return self._add(session, address, victim)

    def evict(self, now: float) -> _S | None:
        """Take out the session that can best be spared; None when all are in use."""
        victim = self._least_recent(self, now)
        if victim is not None:
            self.remove(victim)
        return victim

    def remove(self, session: _S) -> None:
        """The session has ended; harmless when repeated."""
        self._sessions.pop(session.id, None)
        self._addresses.pop(session.id, None)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[_S]:
        return iter(self._sessions.values())

    def _add(self, session: _S, address: str, victim: _S | None = None) -> Admission[_S]:
        self._sessions[session.id] = session
        self._addresses[session.id] = address
        return Admission(admitted=True, victim=victim)

    def _least_recent(self, sessions: Iterable[_S], now: float) -> _S | None:
        spare = [s for s in sessions if self._can_be_spared(s, now)]
        return min(spare, key=lambda session: session.last_active_at, default=None)

    def _can_be_spared(self, session: _S, now: float) -> bool:
        return not session.at_work and now - session.last_active_at >= self._spare_after_s
