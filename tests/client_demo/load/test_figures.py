import json

import pytest

from client_demo.load.figures import Figures, figures_of, times_longer
from client_demo.load.ledger import Records
from client_demo.load.scenarios import Slowdown


def figures(records: Records, *may_be_refused: str, companion: Figures | None = None) -> Figures:
    return figures_of(
        records,
        server="samwire",
        scenario="clicks",
        annotators=2,
        seconds=10.0,
        metrics={},
        may_be_refused=may_be_refused,
        companion=companion,
    )


def clicked(*latencies_ms: float) -> Figures:
    records = Records()
    records.latencies_s["click"] = [ms / 1e3 for ms in latencies_ms]
    return figures(records)


def test_percentiles_are_values_that_were_measured() -> None:
    records = Records()
    records.latencies_s["click"] = [n / 1000 for n in range(1, 201)]

    latency = figures(records).latency["click"]

    assert latency.count == 200
    assert latency.max_ms == pytest.approx(200)
    assert latency.p50_ms == pytest.approx(101)
    assert latency.p95_ms == pytest.approx(191)
    assert latency.p99_ms == pytest.approx(199)


def test_of_a_few_the_99th_percentile_is_the_largest() -> None:
    records = Records()
    records.latencies_s["refine"] = [0.010, 0.5]

    assert figures(records).clicks_p99_ms == pytest.approx(500)


def test_first_clicks_and_refinements_are_told_together_too() -> None:
    records = Records()
    records.latencies_s["click"] = [0.001]
    records.latencies_s["refine"] = [0.002]
    records.asked.update({"click": 10, "refine": 20, "hover": 300})
    records.superseded["hover"] = 150

    told = figures(records)

    assert told.latency["clicks"].count == 2
    assert told.clicks_per_s == 3.0
    assert told.superseded_share == {"hover": 0.5}


def test_without_a_click_nothing_is_claimed() -> None:
    assert figures(Records()).clicks_p99_ms == float("inf")
    assert figures(Records()).latency == {}


def test_errors_and_silence_are_flaws() -> None:
    assert figures(Records()).is_flawless
    refused, silent = Records(), Records()
    refused.errors["busy"] = 1
    silent.unanswered["click"] = 1

    assert not figures(refused).is_flawless
    assert not figures(silent).is_flawless


def test_only_refusals_that_were_not_to_be_expected_are_flaws() -> None:
    records = Records()
    records.errors.update({"busy": 3, "closed with 4008": 1})

    told = figures(records, "busy", "rate_limited")

    assert told.refused == {"busy": 3}
    assert told.errors == {"closed with 4008": 1}


def test_a_companions_flaws_are_the_runs() -> None:
    silent = Records()
    silent.unanswered["hover"] = 1

    assert figures(Records(), companion=figures(Records())).is_flawless
    assert not figures(Records(), companion=figures(silent)).is_flawless


def test_a_slowdown_is_a_percentile_in_company_over_one_alone() -> None:
    alone, beside = clicked(*[10.0] * 98, 20.0, 20.0), clicked(*[30.0] * 98, 80.0, 80.0)

    assert times_longer(Slowdown("clicks", "p99", "p50"), alone, beside) == pytest.approx(8.0)
    assert times_longer(Slowdown("clicks", "p99", "p99"), alone, beside) == pytest.approx(4.0)
    assert times_longer(Slowdown("clicks", "p50", "p50"), alone, beside) == pytest.approx(3.0)


def test_without_latencies_there_is_no_slowdown() -> None:
    clicks = Slowdown("clicks", "p99", "p99")

    assert times_longer(clicks, clicked(), clicked(1.0)) is None
    assert times_longer(clicks, clicked(1.0), clicked()) is None


def test_a_load_test_that_was_late_knows() -> None:
    late = Records(lateness_s=[0.0] * 90 + [0.5] * 10)

    assert figures(late).was_late
    assert not figures(Records(lateness_s=[0.001])).was_late


def test_figures_go_into_json() -> None:
    records = Records()
    records.latencies_s["click"] = [0.1]

    assert json.loads(json.dumps(figures(records).as_json()))["latency"]["click"]["count"] == 1
