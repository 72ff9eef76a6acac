"""The figures of a run: percentiles by kind, shares, rates. Plain data, ready for JSON."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from client_demo.load.ledger import Records
from client_demo.load.scenarios import Percentile, Slowdown

__all__ = ["Figures", "Latency", "figures_of", "times_longer"]

_LATE_S = 0.020  # beyond it, the load test itself may be what is slow


@dataclass(frozen=True)
class Latency:
    """Of one kind of message, in milliseconds from when it was due."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def at(self, percentile: Percentile) -> float:
        """By its name."""
        return {"p50": self.p50_ms, "p99": self.p99_ms}[percentile]


@dataclass(frozen=True)
class Figures:
    """One run, measured."""

    server: str
    scenario: str
    annotators: int
    seconds: float
    latency: dict[str, Latency]
    """By kind, and "clicks" for first clicks and refinements together."""
    asked_per_s: dict[str, float]
    superseded_share: dict[str, float]
    unanswered: dict[str, int]
    errors: dict[str, int]
    sent_late_p99_ms: float
    """How late the load test itself was."""
    refused: dict[str, int] = field(default_factory=dict)
    """Errors that are no flaw, as they were to be expected."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What the server's own metrics say of the run."""
    companion: "Figures | None" = None
    """The same of the session that worked beside the annotators, of which nothing is in theirs."""

    @property
    def clicks_p99_ms(self) -> float:
        """Of first clicks and refinements together; infinite when there were none."""
        clicks = self.latency.get("clicks")
        return clicks.p99_ms if clicks else float("inf")

    @property
    def clicks_per_s(self) -> float:
        """Clicks asked for, over all annotators."""
        return self.asked_per_s.get("click", 0.0) + self.asked_per_s.get("refine", 0.0)

    @property
    def is_flawless(self) -> bool:
        """Every click answered or overtaken, and no error; the companion's too."""
        if self.companion is not None and not self.companion.is_flawless:
            return False
        return not self.errors and not any(self.unanswered.values())

    @property
    def was_late(self) -> bool:
        """Whether the load test may have been too slow for these figures to be the server's."""
        return self.sent_late_p99_ms > _LATE_S * 1e3

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def figures_of(
    records: Records,
    *,
    server: str,
    scenario: str,
    annotators: int,
    seconds: float,
    metrics: Mapping[str, float],
    may_be_refused: Container[str] = (),
    companion: Figures | None = None,
) -> Figures:
    """Sum up what all annotators saw in `seconds`; `may_be_refused`: codes of expected errors."""
    clicks = [*records.latencies_s["click"], *records.latencies_s["refine"]]
    named: list[tuple[str, list[float]]] = [("clicks", clicks), *records.latencies_s.items()]
    asked = records.asked
    return Figures(
        server=server,
        scenario=scenario,
        annotators=annotators,
        seconds=seconds,
        latency={kind: _latency(values) for kind, values in named if values},
        asked_per_s={kind: count / seconds for kind, count in asked.items()},
        superseded_share={kind: n / asked[kind] for kind, n in records.superseded.items()},
        unanswered={str(kind): count for kind, count in records.unanswered.items()},
        errors={code: n for code, n in records.errors.items() if code not in may_be_refused},
        sent_late_p99_ms=_percentile(records.lateness_s, 99) if records.lateness_s else 0.0,
        refused={code: n for code, n in records.errors.items() if code in may_be_refused},
        metrics=dict(metrics),
        companion=companion,
    )


def times_longer(slowdown: Slowdown, alone: Figures, beside: Figures) -> float | None:
    """How much longer the same people waited in company; None where there is nothing to compare."""
    before, then = alone.latency.get(slowdown.kind), beside.latency.get(slowdown.kind)
    if before is None or then is None:
        return None
    return then.at(slowdown.beside) / before.at(slowdown.alone)


def _latency(values_s: Sequence[float]) -> Latency:
    return Latency(
        count=len(values_s),
        p50_ms=_percentile(values_s, 50),
        p95_ms=_percentile(values_s, 95),
        p99_ms=_percentile(values_s, 99),
        max_ms=max(values_s) * 1e3,
    )


def _percentile(values_s: Sequence[float], percent: float) -> float:
    """A value that was really measured: of 10, the 99th percentile is the largest."""
    return float(np.percentile(values_s, percent, method="higher")) * 1e3
