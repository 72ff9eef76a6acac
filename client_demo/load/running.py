"""Runs: so many annotators on one server for so long; and the search for how many it carries."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from client_demo.load.annotator import Annotator
from client_demo.load.figures import Figures, figures_of
from client_demo.load.ledger import Ledger, Records
from client_demo.load.pictures import Pictures
from client_demo.load.scenarios import Scenario, schedule
from client_demo.load.server_metrics import difference, scrape

__all__ = ["Plan", "capacity", "carries", "run", "sweep", "with_enough_clicks"]

_START_IN_S = 0.2
_ENOUGH_CLICKS = 200
_CONNECTING_AT_ONCE = 8


@dataclass(frozen=True)
class Plan:
    """What is the same for every run."""

    scenario: Scenario
    seconds: float
    warm_up_s: float
    drain_s: float
    """How long answers are waited for at the end; what is still owed then counts until then."""
    pictures: Pictures
    token: str | None = None
    seed: int = 0


def with_enough_clicks(plan: Plan, annotators: int) -> Plan:
    """The plan, lengthened up to four times: a 99th percentile of a few clicks is their largest."""
    needed_s = _ENOUGH_CLICKS / (annotators * plan.scenario.clicks_per_s)
    return replace(plan, seconds=min(4 * plan.seconds, max(plan.seconds, needed_s)))


async def run(plan: Plan, url: str, annotators: int, *, server: str = "samwire") -> Figures:
    """Let so many annotators work."""
    crowd = [Annotator(url, plan.token, plan.pictures) for _ in range(annotators)]
    try:
        await _connect_all(crowd)
        before = await scrape(url)
        records = await _play_all(crowd, plan)
        metrics = difference(before, await scrape(url))
    finally:
        await asyncio.gather(*(annotator.disconnect() for annotator in crowd))
    return figures_of(
        records,
        server=server,
        scenario=plan.scenario.name,
        annotators=annotators,
        seconds=plan.seconds,
        metrics=metrics,
    )


async def sweep(
    measure: Callable[[int], Awaitable[Figures]], limit_ms: float, most: int
) -> list[Figures]:
    """Find how many annotators are carried: double until it is too much, then halve the gap.

    Args:
        measure: runs so many annotators.
        limit_ms: for the 99th percentile of clicks.
        most: annotators that are ever tried.
    """
    measured: list[Figures] = []
    good, bad = 0, most + 1
    while bad - good > max(1, good // 16):
        trial = min(most, 2 * good or 1) if bad > most else (good + bad) // 2
        if trial == good:
            break
        figures = await measure(trial)
        measured.append(figures)
        if carries(figures, limit_ms):
            good = trial
        else:
            bad = trial
    return sorted(measured, key=lambda figures: figures.annotators)


def carries(figures: Figures, limit_ms: float) -> bool:
    """Whether nobody had to wait too long, and nothing went wrong."""
    return figures.is_flawless and figures.clicks_p99_ms <= limit_ms


def capacity(measured: list[Figures], limit_ms: float) -> Figures | None:
    """The most annotators that were carried, if any were."""
    good = [figures for figures in measured if carries(figures, limit_ms)]
    return max(good, key=lambda figures: figures.annotators, default=None)


async def _connect_all(crowd: list[Annotator]) -> None:
    """A few at a time: everybody arriving at once is another test."""
    gate = asyncio.Semaphore(_CONNECTING_AT_ONCE)

    async def connect(annotator: Annotator) -> None:
        async with gate:
            await annotator.connect()

    await asyncio.gather(*(connect(annotator) for annotator in crowd))


async def _play_all(crowd: list[Annotator], plan: Plan) -> Records:
    records = Records()
    start_s = time.perf_counter() + _START_IN_S
    counts_from_s = start_s + plan.warm_up_s
    end_s = counts_from_s + plan.seconds
    ledgers = [Ledger(records, counts_from_s) for _ in crowd]
    await asyncio.gather(
        *(
            annotator.play(
                schedule(plan.scenario, plan.seed + number), ledger, start_s=start_s, end_s=end_s
            )
            for number, (annotator, ledger) in enumerate(zip(crowd, ledgers, strict=True))
        )
    )
    await _drain(ledgers, end_s + plan.drain_s)
    now_s = time.perf_counter()
    for ledger in ledgers:
        ledger.end(now_s)
    return records


async def _drain(ledgers: list[Ledger], until_s: float) -> None:
    def owed() -> bool:
        return any(ledger.owes for ledger in ledgers) and time.perf_counter() < until_s

    while owed():  # noqa: ASYNC110 - rather than an event for each of hundreds of connections
        await asyncio.sleep(0.02)
