"""How much of an encode makes a step: as much as takes about `STEP_S`, by the speed seen so far.

What is counted is the encoder's affair: on a CPU the operations of rows and of heads (`encoder`),
on a GPU whole blocks (`whole_vit`), each of which is one operation here.
"""

import time
from collections.abc import Callable, Generator, Iterator

__all__ = ["STEP_S", "Pace", "Speed"]

STEP_S = 0.02
"""How long a step should take: below the 25 ms a click may wait for it."""


class Speed:
    """Operations a second, learned from step to step."""

    def __init__(self, guess: float) -> None:
        self.operations_per_s = guess

    def learn(self, operations: float, seconds: float) -> None:
        """Move half way to what was just measured: a busy moment should not stick."""
        self.operations_per_s = (self.operations_per_s + operations / max(seconds, 1e-6)) / 2


class Pace:
    """Cuts one encode into steps of about `STEP_S`.

    The work is announced with `split` or `spend`, done by the caller, and `breathe` yields when it
    is time. Where calls return before their work is done, `wait` is for that.
    """

    def __init__(
        self,
        speed: Speed,
        total: float,
        *,
        wait: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._speed, self._total, self._wait, self._clock = speed, total, wait, clock
        self._done = 0.0
        self._begin()

    def _begin(self) -> None:
        self._spent = 0.0
        self._budget = self._speed.operations_per_s * STEP_S
        self._started = self._clock()

    def split(self, parts: int, cost: float) -> Iterator[slice]:
        """Slices of the parts, `cost` operations a part, as many as fit what is left of a step."""
        start = 0
        while start < parts:
            count = _fitting(parts - start, cost, self._budget - self._spent)
            self.spend(count * cost)
            yield slice(start, start + count)
            start += count

    def fitting(self, parts: int, cost: float) -> int:
        """How many of the parts fit a whole step, `cost` operations a part; at least one."""
        return _fitting(parts, cost, self._budget)

    def spend(self, operations: float) -> None:
        """Count work that is done in one piece."""
        self._spent += operations

    def breathe(self) -> Generator[float]:
        """Yield the fraction done, if the step has been long enough."""
        if self._spent < self._budget / 2:
            return
        self._wait()
        self._speed.learn(self._spent, self._clock() - self._started)
        self._done += self._spent
        yield min(self._done / self._total, 1.0)
        self._begin()


def _fitting(parts: int, cost: float, budget: float) -> int:
    """The largest power of two, or three times one, that fits: so few shapes occur."""
    count = min(max(1, int(budget / cost)), parts)
    power = 1 << (count.bit_length() - 1)
    return 3 * power // 2 if 2 * count >= 3 * power else power
