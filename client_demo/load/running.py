"""Runs: so many annotators on one server for so long; and the search for how many it carries."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from client_demo.load.annotator import Annotator
from client_demo.load.figures import Figures, figures_of
from client_demo.load.ledger import Ledger, Records
from client_demo.load.pictures import Pictures
from client_demo.load.scenarios import Habits, Scenario, schedule
from client_demo.load.server_metrics import difference, scrape

__all__ = ["Plan", "alone", "capacity", "carries", "run", "sweep", "with_enough_clicks"]

_START_IN_S = 0.2
_ENOUGH_CLICKS = 200
_CONNECTING_AT_ONCE = 8
_COMPANION = -1  # its number: annotators count from 0, however many they are


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
    needed_s = _ENOUGH_CLICKS / (annotators * plan.scenario.habits.clicks_per_s)
    return replace(plan, seconds=min(4 * plan.seconds, max(plan.seconds, needed_s)))


def alone(plan: Plan, annotators: int) -> tuple[Plan, int]:
    """Of a scenario with a companion: the run of those who are kept waiting, without the others."""
    companion = plan.scenario.companion
    if companion is not None and companion.is_kept_waiting:
        return plan, 0
    return replace(plan, scenario=replace(plan.scenario, companion=None)), annotators


async def run(plan: Plan, url: str, annotators: int, *, server: str = "samwire") -> Figures:
    """Let so many annotators work, and the scenario's companion beside them."""
    scenario, companion = plan.scenario, plan.scenario.companion
    theirs, its = Records(), Records()
    sum_up = partial(figures_of, server=server, scenario=scenario.name, seconds=plan.seconds)

    def seat(number: int, habits: Habits, records: Records) -> _Seat:
        return _Seat(Annotator(url, plan.token, plan.pictures), number, habits, records)

    seats = [seat(number, scenario.habits, theirs) for number in range(annotators)]
    if companion is not None:
        seats.append(seat(_COMPANION, companion.habits, its))
    try:
        await _connect_all(seats, plan.pictures)
        before = await scrape(url)
        await _play_all(seats, plan)
        metrics = difference(before, await scrape(url))
    finally:
        await asyncio.gather(*(seat.annotator.disconnect() for seat in seats))
    beside = None
    if companion is not None:
        beside = sum_up(its, annotators=1, metrics={}, may_be_refused=companion.may_be_refused)
    return sum_up(theirs, annotators=annotators, metrics=metrics, companion=beside)


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


@dataclass(frozen=True)
class _Seat:
    """Who sits there, how it works, and where what it sees is written down."""

    annotator: Annotator
    number: int
    habits: Habits
    records: Records


async def _connect_all(seats: list[_Seat], pictures: Pictures) -> None:
    """A few at a time: everybody arriving at once is another test."""
    gate = asyncio.Semaphore(_CONNECTING_AT_ONCE)

    async def connect(seat: _Seat) -> None:
        async with gate:
            await seat.annotator.connect(pictures.first(seat.number))

    await asyncio.gather(*(connect(seat) for seat in seats))


async def _play_all(seats: list[_Seat], plan: Plan) -> None:
    start_s = time.perf_counter() + _START_IN_S
    counts_from_s = start_s + plan.warm_up_s
    end_s = counts_from_s + plan.seconds
    ledgers = [Ledger(seat.records, counts_from_s) for seat in seats]
    plays = [
        seat.annotator.play(
            schedule(seat.habits, plan.seed + seat.number), ledger, start_s=start_s, end_s=end_s
        )
        for seat, ledger in zip(seats, ledgers, strict=True)
    ]
    with contextlib.suppress(TimeoutError):  # what is owed then, counts until then
        async with asyncio.timeout(end_s + plan.drain_s - time.perf_counter()):
            await asyncio.gather(*plays)
            await _drain(ledgers)
    now_s = time.perf_counter()
    for ledger in ledgers:
        ledger.end(now_s)


async def _drain(ledgers: list[Ledger]) -> None:
    while any(ledger.owes for ledger in ledgers):  # noqa: ASYNC110 - rather than hundreds of events
        await asyncio.sleep(0.02)
