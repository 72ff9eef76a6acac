"""How much of an encode makes a step: as much as takes about `STEP_S`, by the speeds seen so far.

What is counted is the encoder's affair: on a CPU operations of rows and heads (`vit.stepped`), on a
GPU whole blocks (`vit.whole_blocks`). Work of each kind has a speed of its own, for none follows
from another: a processor that multiplies ten times as fast takes as long for a softmax.
"""

import time
from collections.abc import Callable, Generator, Iterator

__all__ = ["STEP_S", "Pace", "Speeds"]

STEP_S = 0.012
"""How long a step should take: few take twice as long, and a click may wait 25 ms for one."""

ENOUGH = 0.6
"""Of `STEP_S`: what makes a step. A slice that fits what is left takes two thirds of it or more."""

MOST_FASTER = 8.0
"""Than believed, of what one piece may teach: a clock may jump."""


class Speeds:
    """Operations a second, by kind of work, learned from piece to piece."""

    def __init__(self, guess: float) -> None:
        self._guess = guess
        self._per_s: dict[str, float] = {}

    def of(self, kind: str) -> float:
        """What is believed."""
        return self._per_s.get(kind, self._guess)

    def learn(self, kind: str, operations: float, seconds: float) -> None:
        """Move half way to what was just measured, or less far if it was less than half a step.

        A busy moment should not stick, and small pieces are slower for their size.
        """
        believed = self.of(kind)
        expected_s = operations / believed
        weight = min(0.5, max(seconds, expected_s) / STEP_S)
        faster = expected_s / max(seconds, expected_s / MOST_FASTER)
        self._per_s[kind] = believed * (1 + weight * (faster - 1))


class Pace:
    """Cuts one encode into steps of about `STEP_S`.

    A piece of work is announced with `split` or `spend` and done by the caller, who then goes
    through `yield_if_due`. Where calls return before their work is done, `wait` is for that: then
    nothing is known of a piece before the step ends, and all of the encode is of one kind.
    """

    def __init__(
        self,
        speeds: Speeds,
        total: float,
        *,
        wait: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._speeds, self._total, self._wait, self._clock = speeds, total, wait, clock
        self._kind, self._operations = "", 0.0
        """What was done since the clock was last looked at."""
        self._done = self._spent_s = 0.0
        self._looked = clock()

    def split(
        self, parts: int, cost: float, kind: str, *, most: int | None = None
    ) -> Iterator[slice]:
        """Slices of the parts, as many as fit what is left of a step, but no more than `most`.

        Args:
            parts: how many there are.
            cost: operations a part.
            kind: of the work.
            most: of a slice; None for any number.
        """
        start = 0
        while start < parts:
            left = min(parts - start, most or parts)
            count = _few_sizes(left, cost / self._speeds.of(kind), STEP_S - self._believed_s)
            self.spend(count * cost, kind)
            yield slice(start, start + count)
            start += count

    def fitting(self, parts: int, cost: float, kind: str) -> int:
        """How many of the parts fit a whole step, `cost` operations a part; at least one."""
        seconds = cost / self._speeds.of(kind)
        return parts if parts * seconds <= STEP_S else _few_sizes(parts, seconds, STEP_S)

    def spend(self, operations: float, kind: str) -> None:
        """Count work that is done in one piece."""
        self._kind = kind
        self._operations += operations
        self._done += operations

    def yield_if_due(self) -> Generator[float]:
        """After each piece: yield the fraction done, if the step has been long enough."""
        if self._wait is None:
            self._look()
        if self._believed_s < ENOUGH * STEP_S:
            return
        if self._wait is not None:
            self._wait()
            self._look()
        yield min(self._done / self._total, 1.0)
        self._spent_s = 0.0
        self._looked = self._clock()

    def _look(self) -> None:
        """At the clock, and learn from it."""
        now = self._clock()
        self._speeds.learn(self._kind, self._operations, now - self._looked)
        self._spent_s += now - self._looked
        self._operations, self._looked = 0.0, now

    @property
    def _believed_s(self) -> float:
        """How long the step has been: as measured, and for what was not yet, as expected."""
        return self._spent_s + self._operations / self._speeds.of(self._kind)


def _few_sizes(parts: int, seconds: float, left_s: float) -> int:
    """The largest power of two, or three times one, that fits: few shapes, so few kernels."""
    count = min(max(1, int(left_s / seconds)), parts)
    power = 1 << (count.bit_length() - 1)
    return 3 * power // 2 if 2 * count >= 3 * power else power
