import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from client_demo.load.figures import Figures, Latency
from client_demo.load.pictures import Pictures
from client_demo.load.running import Plan, alone, capacity, run, sweep, with_enough_clicks
from client_demo.load.scenarios import SCENARIOS, Companion, Habits, Scenario
from server.protocol import Open
from tests.support.running_server import RunningServer, running_server
from tests.support.scripted_server import Peer, scripted_server

BUSY = Scenario(
    "busy",
    "everything at once",
    Habits(clicks_per_s=8.0, hovers_per_s=30.0, image_changes_per_min=40.0),
)
CLICKS = Scenario("clicks", "", Habits(clicks_per_s=20.0))
OPENING = Habits(clicks_per_s=0.0, image_changes_per_min=math.inf)
GREEDY = Habits(clicks_per_s=60.0)


def beside(companion: Habits, *may_be_refused: str) -> Scenario:
    """A few clicks, and somebody else."""
    return Scenario(
        "beside",
        "",
        Habits(clicks_per_s=5.0),
        Companion(companion, (), may_be_refused=may_be_refused),
    )


def plan(scenario: Scenario = BUSY, seconds: float = 2.0) -> Plan:
    return Plan(
        scenario=scenario,
        seconds=seconds,
        warm_up_s=0.2,
        drain_s=10.0,
        pictures=Pictures(width=160, height=120),
    )


@pytest.fixture(scope="module")
def strict() -> Iterator[RunningServer]:
    """A server that lets nobody click more than twenty times a second."""
    with running_server("fake", segments_per_s=20, segment_burst=20) as server:
        yield server


def measured(annotators: int, p99_ms: float, **fields: object) -> Figures:
    latency = Latency(count=100, p50_ms=1.0, p95_ms=p99_ms, p99_ms=p99_ms, max_ms=p99_ms)
    return Figures(
        server="samwire",
        scenario="clicks",
        annotators=annotators,
        seconds=1.0,
        latency={"clicks": latency},
        asked_per_s={"click": float(annotators)},
        superseded_share={},
        unanswered={},
        errors=dict(fields.get("errors", {})),  # type: ignore[call-overload] # as given
        sent_late_p99_ms=0.0,
    )


async def test_annotators_click_hover_and_change_images_on_a_real_server(
    fake: RunningServer,
) -> None:
    figures = await run(plan(seconds=3.0), fake.url, 3)

    assert figures.errors == {}
    assert figures.unanswered == {}
    assert {"click", "hover", "open"} <= set(figures.latency)
    assert figures.metrics["count_decode_ms"] > 0
    assert figures.metrics["mean_encode_ms"] > 0
    assert all(latency.max_ms > 0 for latency in figures.latency.values())


async def test_every_click_that_was_due_is_accounted_for(fake: RunningServer) -> None:
    figures = await run(plan(CLICKS), fake.url, 2)

    asked = round(figures.clicks_per_s * figures.seconds)
    assert figures.latency["clicks"].count == asked > 40


async def test_a_server_that_ends_a_connection_is_told() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.hangs_up(4008, "abuse: no")

    async with scripted_server(script) as url:
        figures = await run(plan(CLICKS), url, 1)

    assert figures.errors == {"closed with 4008": 1}
    assert not figures.is_flawless


async def test_a_run_does_not_wait_for_ever_for_an_image() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.hears(Open)

    opens = replace(plan(Scenario("opens", "", OPENING), 0.2), warm_up_s=0.0, drain_s=0.2)
    async with scripted_server(script) as url:
        figures = await run(opens, url, 1)

    assert figures.unanswered == {"open": 1}
    assert figures.latency["open"].max_ms >= 400


async def test_a_companions_figures_are_told_apart(fake: RunningServer) -> None:
    figures = await run(plan(beside(OPENING), 1.0), fake.url, 2)

    assert figures.is_flawless
    assert set(figures.latency) == {"clicks", "click", "refine"}
    assert figures.companion is not None
    assert set(figures.companion.latency) == {"open"}
    assert figures.companion.latency["open"].count > 2


async def test_the_crowd_is_the_same_with_and_without_a_companion(fake: RunningServer) -> None:
    together = plan(beside(Habits(hovers_per_s=30.0)), 1.0)
    without, annotators = alone(together, 3)

    before, after = await run(without, fake.url, annotators), await run(together, fake.url, 3)

    assert before.companion is None
    assert after.companion is not None
    assert before.annotators == after.annotators == 3
    assert before.asked_per_s == after.asked_per_s


async def test_a_companion_that_is_kept_waiting_is_alone_without_annotators(
    fake: RunningServer,
) -> None:
    without, annotators = alone(plan(SCENARIOS["opens_beside_hovers"], 1.0), 3)

    figures = await run(without, fake.url, annotators)

    assert figures.annotators == 0
    assert figures.latency == {}
    assert figures.companion is not None
    assert set(figures.companion.latency) == {"open"}


async def test_a_companion_may_be_refused_what_it_asks_for_and_nobody_else_suffers(
    strict: RunningServer,
) -> None:
    figures = await run(plan(beside(GREEDY, "rate_limited")), strict.url, 2)

    assert figures.is_flawless
    assert figures.companion is not None
    assert figures.companion.refused["rate_limited"] > 10


async def test_refusals_that_were_not_to_be_expected_are_flaws(strict: RunningServer) -> None:
    figures = await run(plan(beside(GREEDY, "busy")), strict.url, 2)

    assert not figures.is_flawless
    assert not figures.errors
    assert figures.companion is not None
    assert figures.companion.errors["rate_limited"] > 10


async def test_a_companion_that_is_closed_is_a_flaw_since_the_others_were_alone_then() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.hangs_up(4008, "abuse: no")

    async with scripted_server(script) as url:
        figures = await run(plan(beside(Habits(), "busy")), url, 0)

    assert figures.companion is not None
    assert figures.companion.errors == {"closed with 4008": 1}
    assert not figures.is_flawless


@pytest.mark.parametrize("true_capacity", [0, 1, 3, 7, 8, 21, 64])
async def test_a_sweep_finds_how_many_are_carried(true_capacity: int) -> None:
    async def measure(annotators: int) -> Figures:
        return measured(annotators, 50.0 if annotators <= true_capacity else 500.0)

    runs = await sweep(measure, 200.0, most=64)

    found = capacity(runs, 200.0)
    assert (found.annotators if found else 0) == pytest.approx(true_capacity, rel=1 / 16)
    assert [run.annotators for run in runs] == sorted({run.annotators for run in runs})
    assert len(runs) <= 12


async def test_annotators_who_meet_errors_are_not_carried() -> None:
    async def measure(annotators: int) -> Figures:
        return measured(annotators, 1.0, errors={"full": 1} if annotators > 4 else {})

    found = capacity(await sweep(measure, 200.0, most=32), 200.0)

    assert found is not None
    assert found.annotators == 4


def test_a_run_is_long_enough_for_its_percentile_but_not_endless() -> None:
    clicks = plan(Scenario("clicks", "", Habits(clicks_per_s=1.0)), seconds=20.0)

    assert with_enough_clicks(clicks, 100).seconds == 20.0
    assert with_enough_clicks(clicks, 5).seconds == 40.0
    assert with_enough_clicks(clicks, 1).seconds == 80.0
