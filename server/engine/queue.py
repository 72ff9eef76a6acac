"""Who goes next on the device: the policy, without torch or asyncio.

Rules of this file:
- click > hover > encode > prefetch. But what decodes took of the device while an encode (or a
  prefetch) could have had it is owed to it, as is the time for which it stood still for their
  masks, and paid before the next hover: hovers, however many, make an open no more than twice as
  long. Before a click at most `CLICK_WAITS_S` of it are paid.
- Round robin over sessions inside a class: who was served last goes last. A session keeps its turn
  when a newer prompt takes an older one's place: else a restless pointer would never be served.
- Clicks form a batch, hovers fill its free places (a batch of one, as on most CPUs, has none); it
  is closed when the device is free for it, so a lone click never waits for company. After
  `MOST_PASSED_OVER` batches without a place for one a hover goes first: one session's clicks
  without end do not blind all others.
- Encodes run one at a time, first come first served; a prefetch under way lets an open go first.

The queue is used on the event loop only, so it needs no locks.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

__all__ = [
    "CLICK_WAITS_S",
    "MOST_OWED_S",
    "MOST_PASSED_OVER",
    "Batch",
    "DecodeKind",
    "EncodeStep",
    "Queue",
]

DecodeKind = Literal["click", "hover"]

CLICK_WAITS_S = 0.02
"""For steps that are owed; the one under way then is finished."""
MOST_OWED_S = 0.25
"""Clicks without pause run up debts; hovers, which pay them, should not freeze for it."""
MOST_PASSED_OVER = 4

Job = TypeVar("Job", bound=Hashable)
Encode = TypeVar("Encode", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Job]):
    """Decode these together."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class EncodeStep(Generic[Encode]):
    """Run one step of this encode; it stays at the head until `finish_encode`."""

    encode: Encode


class _Lane(Generic[Job]):
    """Jobs of one kind, taken round robin over their sessions, in order within each."""

    def __init__(self) -> None:
        # Without jobs a session stays here until its turn would come, in case it pushes again.
        self._sessions: OrderedDict[Hashable, deque[Job]] = OrderedDict()

    def push(self, session: Hashable, job: Job) -> None:
        self._sessions.setdefault(session, deque()).append(job)

    def discard(self, session: Hashable, job: Job) -> bool:
        jobs = self._sessions.get(session)
        if jobs is None or job not in jobs:
            return False
        jobs.remove(job)
        return True

    def take(self, count: int) -> list[Job]:
        taken: list[Job] = []
        while self._sessions and len(taken) < count:
            session, jobs = self._sessions.popitem(last=False)
            if not jobs:
                continue
            taken.append(jobs.popleft())
            if jobs:
                self._sessions[session] = jobs
        return taken

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._sessions.values())


class Queue(Generic[Job, Encode]):
    """Everything that waits for the device.

    Args:
        max_batch: decodes that may share a batch, as measured by the model's warm-up.
    """

    def __init__(self, max_batch: int = 1) -> None:
        self.max_batch = max_batch
        self._lanes: dict[DecodeKind, _Lane[Job]] = {"click": _Lane(), "hover": _Lane()}
        self._encodes: deque[Encode] = deque()
        self._prefetches: deque[Encode] = deque()
        self._owed_s = 0.0
        """Of the device, to the encode at the head; below 0 when its last step took more."""
        self._could_step = False
        """When the device was last given something to do."""
        self._stepped_s = 0.0
        """Since the last batch."""
        self._passed_over = 0
        """Batches in a row in which a hover that waited found no place."""

    def push(self, session: Hashable, kind: DecodeKind, job: Job) -> None:
        """Let a decode wait."""
        self._lanes[kind].push(session, job)

    def cancel(self, session: Hashable, kind: DecodeKind, job: Job) -> bool:
        """Take a decode out; False when it no longer waits."""
        return self._lanes[kind].discard(session, job)

    def push_encode(self, encode: Encode, *, prefetch: bool) -> None:
        """Let an encode wait behind those of its class."""
        (self._prefetches if prefetch else self._encodes).append(encode)

    def promote_encode(self, encode: Encode) -> None:
        """Somebody now opens what was only prefetched."""
        if encode in self._prefetches:
            self._prefetches.remove(encode)
            self._encodes.append(encode)

    def finish_encode(self, encode: Encode) -> None:
        """The encode is done, failed or no longer wanted; harmless when repeated."""
        if self.encodes[:1] == (encode,):
            self._owed_s = 0.0
        for waiting in (self._encodes, self._prefetches):
            if encode in waiting:
                waiting.remove(encode)

    def encodes_ahead(self, encode: Encode) -> int:
        """How many encodes run before this one; 0 when it is its turn."""
        order = [*self._encodes, *self._prefetches]
        return order.index(encode) if encode in order else 0

    @property
    def encodes(self) -> tuple[Encode, ...]:
        """All that wait or run, in order."""
        return (*self._encodes, *self._prefetches)

    @property
    def decodes_waiting(self) -> int:
        """Clicks and hovers in the queue."""
        return sum(len(lane) for lane in self._lanes.values())

    def next(
        self, *, encode_ready: bool = True, decodes: bool = True
    ) -> Batch[Job] | EncodeStep[Encode] | None:
        """What the free device does now; None when there is nothing to do.

        Args:
            encode_ready: whether the encode at the head has its pixels already.
            decodes: whether there may be more of them: not while masks wait to be finished.
        """
        encode = next(iter(self.encodes), None) if encode_ready else None
        self._could_step = encode is not None
        if encode is not None and (not decodes or self._encode_goes_first()):
            return EncodeStep(encode)
        if not decodes:
            return None
        clicks, hovers = self._lanes["click"], self._lanes["hover"]
        due = hovers.take(1) if self._passed_over >= MOST_PASSED_OVER else []
        jobs = due + clicks.take(self.max_batch - len(due))
        more = hovers.take(self.max_batch - len(jobs))
        self._passed_over = 0 if due or more or not hovers else self._passed_over + 1
        return Batch((*jobs, *more)) if jobs or more else None

    def spent(self, work: Batch[Job] | EncodeStep[Encode], seconds: float) -> None:
        """Tell how long the device took for what `next` gave."""
        if isinstance(work, Batch):
            self._stepped_s = 0.0
            # What is taken while no encode is ready for it is taken from nobody.
            if self._could_step:
                self._owed_s = min(self._owed_s + seconds, MOST_OWED_S)
            return
        self._stepped_s += seconds
        self._owed_s -= seconds
        if not self.decodes_waiting:  # alone with the device it saves nothing up
            self._owed_s = max(0.0, self._owed_s)

    def stood(self, seconds: float) -> None:
        """Tell how long the device stood still though `next` gave a step: that is owed, too."""
        self._owed_s = min(self._owed_s + seconds, MOST_OWED_S)

    def _encode_goes_first(self) -> bool:
        if not self.decodes_waiting:
            return True
        if self._lanes["click"] and self._stepped_s >= CLICK_WAITS_S:
            return False
        return self._owed_s > 0
