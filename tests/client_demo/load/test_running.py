import pytest

from client_demo.load.figures import Figures, Latency
from client_demo.load.pictures import Pictures
from client_demo.load.running import Plan, capacity, run, sweep, with_enough_clicks
from client_demo.load.scenarios import Scenario
from tests.support.running_server import RunningServer
from tests.support.scripted_server import Peer, scripted_server

BUSY = Scenario(
    "busy", "everything at once", clicks_per_s=8.0, hovers_per_s=30.0, image_changes_per_min=40.0
)


def plan(scenario: Scenario = BUSY, seconds: float = 2.0) -> Plan:
    return Plan(
        scenario=scenario,
        seconds=seconds,
        warm_up_s=0.2,
        drain_s=10.0,
        pictures=Pictures(width=160, height=120),
    )


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
    figures = await run(plan(Scenario("clicks", "", clicks_per_s=20.0)), fake.url, 2)

    asked = round(figures.clicks_per_s * figures.seconds)
    assert figures.latency["clicks"].count == asked > 40


async def test_a_server_that_ends_a_connection_is_told() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.hangs_up(4008, "abuse: no")

    async with scripted_server(script) as url:
        figures = await run(plan(Scenario("clicks", "", clicks_per_s=20.0)), url, 1)

    assert figures.errors == {"closed with 4008": 1}
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
    clicks = plan(Scenario("clicks", "", clicks_per_s=1.0), seconds=20.0)

    assert with_enough_clicks(clicks, 100).seconds == 20.0
    assert with_enough_clicks(clicks, 5).seconds == 40.0
    assert with_enough_clicks(clicks, 1).seconds == 80.0
