"""Times in milliseconds, and what is said of them: medians, 99th percentiles, ratios in pairs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Comparison",
    "Figure",
    "Laps",
    "Samples",
    "compared",
    "figure",
    "interleaved",
    "time_ms",
]

_ROUNDED = 4  # digits after the point: tenths of a microsecond
_SETTLE_S = 0.03  # between contestants


@dataclass(frozen=True, slots=True)
class Figure:
    """What many measurements of one thing come to."""

    median: float
    p99: float


def figure(values: Sequence[float]) -> Figure:
    """Median and 99th percentile."""
    median, p99 = np.percentile(values, (50, 99))
    return Figure(round(float(median), _ROUNDED), round(float(p99), _ROUNDED))


class Laps:
    """A stopwatch: each `end` gives the time since the last one to a stage."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, stage: str) -> None:
        """The time since the last call was this stage's; a stage may have several parts."""
        now = time.perf_counter()
        self.ms[stage] = self.ms.get(stage, 0.0) + 1e3 * (now - self._last)
        self._last = now

    def split(self, whole: str, part: str, part_ms: float) -> None:
        """Give `part` its own stage: it was measured again beside `whole`, which holds it."""
        part_ms = min(part_ms, self.ms[whole])
        self.ms[whole] -= part_ms
        self.ms[part] = part_ms


class Samples:
    """Measurements under names."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, measured: Mapping[str, float]) -> None:
        """One more measurement of each of these."""
        for name, value in measured.items():
            self._values.setdefault(name, []).append(value)

    def figures(self, *, total: str | None = None) -> dict[str, Figure]:
        """A figure each; `total` names a last one, of the sums measurement by measurement."""
        figures = {name: figure(values) for name, values in self._values.items()}
        if total is not None:
            figures[total] = figure(np.sum(list(self._values.values()), axis=0))
        return figures


def time_ms(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    laps = Laps()
    work()
    laps.end("work")
    return laps.ms["work"]


def interleaved(
    contestants: Mapping[str, Callable[[], object]],
    *,
    warm_up: int,
    rounds: int,
    tick: Callable[[], None],
) -> dict[str, list[float]]:
    """Time each contestant once a round, so that a slow moment of the machine hits all alike.

    The order is another one each round, and each lets the last one's helper threads fall asleep:
    some runtimes' wait busily for the next call, and would slow whoever comes next.
    """
    names = list(contestants)
    times: dict[str, list[float]] = {name: [] for name in names}
    orders = np.random.default_rng(0)
    for number in range(warm_up + rounds):
        for name in (names[at] for at in orders.permutation(len(names))):
            time.sleep(_SETTLE_S)
            taken_ms = time_ms(contestants[name])
            if number >= warm_up:
                times[name].append(taken_ms)
        tick()
    return times


@dataclass(frozen=True, slots=True)
class Comparison:
    """A peer against us, from interleaved pairs; `ratio` > 1: we are faster."""

    ratio: float | None
    """The median of the pairs' ratios; None when it was not measured."""
    reason: str | None = None
    """Why not."""
    peer_median_ms: float | None = None
    our_median_ms: float | None = None
    peer_dtype: str | None = None
    our_dtype: str | None = None
    pairs: int = 0


def compared(
    peer_ms: Sequence[float], our_ms: Sequence[float], *, peer_dtype: str, our_dtype: str
) -> Comparison:
    """The ratio pair by pair, with both medians beside it."""
    ratios = np.asarray(peer_ms) / np.asarray(our_ms)
    return Comparison(
        ratio=figure(list(ratios)).median,
        peer_median_ms=figure(peer_ms).median,
        our_median_ms=figure(our_ms).median,
        peer_dtype=peer_dtype,
        our_dtype=our_dtype,
        pairs=len(ratios),
    )
