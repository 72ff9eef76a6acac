"""The figures of a run: percentiles by kind, shares, rates. Plain data, ready for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from client_demo.load.ledger import Records

__all__ = ["Figures", "Latency", "figures_of"]

_LATE_S = 0.020  # beyond it, the load test itself may be what is slow


@dataclass(frozen=True)
class Latency:
    """Of one kind of message, in milliseconds from when it was due."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


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
    metrics: dict[str, float] = field(default_factory=dict)
    """What the server's own metrics say of the run."""

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
        """Every click answered or overtaken, and no error."""
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
) -> Figures:
    """Sum up what all annotators saw in `seconds`."""
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
        errors=dict(records.errors),
        sent_late_p99_ms=_percentile(records.lateness_s, 99) if records.lateness_s else 0.0,
        metrics=dict(metrics),
    )


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
