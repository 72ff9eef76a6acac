"""A load test told in text and as JSON."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from client_demo.load.figures import Figures, times_longer
from client_demo.load.running import capacity
from client_demo.load.scenarios import Scenario, Slowdown
from client_demo.load.soak import Soaked

__all__ = ["Report", "Section", "sweep_lines", "who"]

_SWEEP_HEADER = (
    f"  {'annotators':>10}{'clicks/s':>10}{'p50':>9}{'p95':>9}{'p99':>9}{'hover p99':>11}"
    f"{'superseded':>12}{'batch':>8}  went wrong"
)


@dataclass
class Section:
    """One scenario: plain runs, or a sweep, of one or more servers."""

    scenario: Scenario
    limit_ms: float | None
    """Of a sweep."""
    by_server: dict[str, list[Figures]] = field(default_factory=dict)
    alone: dict[str, Figures] = field(default_factory=dict)
    """By server: a plain run of those who are kept waiting, without those who make them wait."""

    def capacity(self, server: str) -> Figures | None:
        """The most annotators this server was seen to carry."""
        return capacity(self.by_server.get(server, []), self.limit_ms or float("inf"))

    def ratio(self, server: str, peer: str) -> float | None:
        """Clicks per second carried by `server` against `peer`; None if the peer carries none."""
        ours, theirs = self.capacity(server), self.capacity(peer)
        if theirs is None:
            return None
        return (ours.clicks_per_s if ours else 0.0) / theirs.clicks_per_s

    def runs(self, server: str) -> list[Figures]:
        """All runs of this server, in their order."""
        alone = [self.alone[server]] if server in self.alone else []
        return [*alone, *self.by_server[server]]

    def slowdowns(self, server: str) -> dict[Slowdown, float | None]:
        """How much longer those who are kept waiting waited in company, in a plain run."""
        companion = self.scenario.companion
        if companion is None or server not in self.alone:
            return {}
        alone, (beside,) = self.alone[server], self.by_server[server]
        if companion.is_kept_waiting:
            alone, beside = alone.companion or alone, beside.companion or beside
        return {told: times_longer(told, alone, beside) for told in companion.slowdowns}

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.scenario.name}: {self.scenario.summary}", ""]
        for server, measured in self.by_server.items():
            if self.limit_ms is None:
                for figures in self.runs(server):
                    lines += [*run_lines(figures), ""]
                lines += self._slowdown_lines(server)
            else:
                lines += [f"  {server}", *sweep_lines(measured), ""]
                lines += [f"  {self._carried(server)}", ""]
        return lines

    def _slowdown_lines(self, server: str) -> list[str]:
        slowdowns = self.slowdowns(server)
        told = [
            f"  {server}: {slowdown} = " + ("-" if times is None else f"{times:.2f} x")
            for slowdown, times in slowdowns.items()
        ]
        return [*told, ""] if told else []

    def _carried(self, server: str) -> str:
        carried = self.capacity(server)
        if carried is None:
            return f"{server} carries nobody at p99 <= {self.limit_ms:g} ms"
        load = f"{carried.annotators} annotators, {carried.clicks_per_s:.1f} clicks/s"
        return f"{server} carries {load}, at p99 <= {self.limit_ms:g} ms"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "scenario": self.scenario.name,
            "limit_ms": self.limit_ms,
            "runs": [f.as_json() for measured in self.by_server.values() for f in measured],
            "alone": [figures.as_json() for figures in self.alone.values()],
            "slowdowns": {
                server: [
                    {**asdict(slowdown), "times": times}
                    for slowdown, times in self.slowdowns(server).items()
                ]
                for server in self.alone
            },
            "capacity": {
                server: carried.annotators
                for server in self.by_server
                if self.limit_ms is not None and (carried := self.capacity(server)) is not None
            },
            "clicks_per_s": {
                server: carried.clicks_per_s
                for server in self.by_server
                if self.limit_ms is not None and (carried := self.capacity(server)) is not None
            },
        }


@dataclass
class Report:
    """Everything a load test found, and what it was asked to hold."""

    sections: list[Section] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """Thresholds that were not held."""
    soaked: Soaked | None = None

    def text(self) -> str:
        """For people."""
        lines = [_machine(), ""]
        for section in self.sections:
            lines += section.lines()
        if self.soaked is not None:
            lines += self.soaked.lines()
        lines += [f"MISSED: {threshold}" for threshold in self.missed]
        return "\n".join(lines).rstrip() + "\n"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "machine": _machine(),
            "sections": [section.as_json() for section in self.sections],
            "soak": None if self.soaked is None else self.soaked.as_json(),
            "missed": self.missed,
        }


def who(annotators: int, *, beside: bool) -> str:
    """Who works in a run; `beside`: there is a companion."""
    if not annotators:
        return "the companion alone"
    return f"{annotators} annotators" + (" and a companion" if beside else "")


def run_lines(figures: Figures) -> list[str]:
    """One run in full."""
    companion = figures.companion
    load = f"{who(figures.annotators, beside=companion is not None)}, {figures.seconds:g} s"
    lines = [
        f"  {figures.server}: {load}; milliseconds from when each was due",
        f"  {'':8}{'count':>8}{'per s':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}  superseded",
        *_latency_lines(figures),
    ]
    if companion is not None:
        lines += ["  the companion", *_latency_lines(companion)]
        if companion.refused:
            refused = ", ".join(f"{count} x {code}" for code, count in companion.refused.items())
            lines.append(f"  refused, as expected: {refused}")
    return [*lines, *_notes(figures)]


def _latency_lines(figures: Figures) -> list[str]:
    lines = []
    for kind, latency in figures.latency.items():
        per_s = figures.clicks_per_s if kind == "clicks" else figures.asked_per_s.get(kind, 0.0)
        share = figures.superseded_share.get(kind)
        cells = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
        lines.append(
            f"  {kind:8}{latency.count:8}{per_s:9.1f}"
            + "".join(f"{cell:9.1f}" for cell in cells)
            + ("" if share is None else f"{100 * share:10.1f} %")
        )
    return lines


def sweep_lines(measured: Sequence[Figures]) -> list[str]:
    """One line a run."""
    lines = [_SWEEP_HEADER]
    for figures in measured:
        clicks, hover = figures.latency.get("clicks"), figures.latency.get("hover")
        cells = (clicks.p50_ms, clicks.p95_ms, clicks.p99_ms) if clicks else (0.0, 0.0, 0.0)
        share = figures.superseded_share.get("hover")
        batch = figures.metrics.get("mean_batch")
        lines.append(
            f"  {figures.annotators:10}{figures.clicks_per_s:10.1f}"
            + "".join(f"{cell:9.1f}" for cell in cells)
            + (f"{hover.p99_ms:11.1f}" if hover else f"{'-':>11}")
            + (f"{100 * share:10.1f} %" if share is not None else f"{'-':>12}")
            + (f"{batch:8.2f}" if batch else f"{'-':>8}")
            + f"  {_wrong(figures)}"
            + (f"; {_lateness(figures)}" if figures.was_late else "")
        )
    return lines


def _notes(figures: Figures) -> list[str]:
    means = [
        f"{name.removeprefix('mean_').removesuffix('_ms')} {value:.2f}"
        for name, value in figures.metrics.items()
        if name.startswith("mean_")
    ]
    lines = [f"  went wrong: {_wrong(figures)}"]
    if figures.was_late:
        lines.append(f"  beware: {_lateness(figures)}, so these figures are too high")
    if means:
        lines.append(f"  the server's own means (ms): {', '.join(means)}")
    return lines


def _wrong(figures: Figures) -> str:
    wrong = _flaws(figures)
    if figures.companion is not None:
        wrong += [f"the companion's {flaw}" for flaw in _flaws(figures.companion)]
    return ", ".join(wrong) or "nothing"


def _flaws(figures: Figures) -> list[str]:
    flaws = [f"{count} x {code}" for code, count in figures.errors.items()]
    flaws += [f"{count} x {kind} unanswered" for kind, count in figures.unanswered.items()]
    return flaws


def _lateness(figures: Figures) -> str:
    return f"the load test itself sent late (p99 {figures.sent_late_p99_ms:.0f} ms)"


def _machine() -> str:
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    return f"{system}; Python {platform.python_version()}"
