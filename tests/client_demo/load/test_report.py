import json
from dataclasses import replace

from client_demo.load.figures import Figures, Latency
from client_demo.load.report import Report, Section, run_lines
from client_demo.load.scenarios import SCENARIOS
from client_demo.load.soak import Sample, Soaked
from tests.client_demo.load.test_running import measured


def section(**by_server: list[Figures]) -> Section:
    return Section(SCENARIOS["hovers"], 200.0, by_server)


def test_a_sweep_says_what_each_server_carries_and_how_they_compare() -> None:
    swept = section(
        samwire=[measured(4, 20.0), measured(8, 150.0), measured(16, 900.0)],
        lock=[measured(1, 90.0), measured(2, 190.0), measured(4, 2000.0)],
    )

    text = "\n".join(swept.lines())

    assert swept.ratio("samwire", "lock") == 4.0
    assert "samwire carries 8 annotators, 8.0 clicks/s, at p99 <= 200 ms" in text
    assert "lock carries 2 annotators" in text


def test_a_server_that_carries_nobody_is_told_and_not_divided_by() -> None:
    swept = section(samwire=[measured(1, 20.0)], lock=[measured(1, 900.0)])

    assert swept.ratio("samwire", "lock") is None
    assert swept.ratio("lock", "samwire") == 0.0
    assert "lock carries nobody" in "\n".join(swept.lines())


def test_a_plain_run_is_told_in_full() -> None:
    plain = Section(SCENARIOS["clicks"], None, {"samwire": [measured(3, 12.5, errors={"busy": 2})]})

    text = "\n".join(plain.lines())

    assert "3 annotators" in text
    assert "12.5" in text
    assert "2 x busy" in text


def test_a_load_test_that_was_late_is_a_caution_and_no_flaw_of_the_server() -> None:
    late = replace(measured(3, 12.5), sent_late_p99_ms=26.0)

    told = run_lines(late)

    assert "  went wrong: nothing" in told
    assert any("beware" in line and "p99 26 ms" in line for line in told)
    assert "sent late (p99 26 ms)" in "\n".join(section(samwire=[late]).lines())


def with_companion(annotators: int, p99_ms: float, companion: Figures) -> Figures:
    return replace(measured(annotators, p99_ms), companion=companion)


def opens(p50_ms: float) -> Figures:
    latency = {"open": Latency(5, p50_ms, p50_ms, p50_ms, p50_ms)}
    return replace(measured(1, 0.0), latency=latency)


def test_a_companion_has_its_own_lines_and_what_it_asked_for_did_not_go_wrong() -> None:
    greedy = replace(measured(1, 345.6), refused={"busy": 40})

    text = "\n".join(run_lines(with_companion(4, 20.0, greedy)))

    assert "4 annotators and a companion" in text
    assert "345.6" in text.split("the companion\n")[1]
    assert "refused, as expected: 40 x busy" in text
    assert "went wrong: nothing" in text


def test_what_went_wrong_for_a_companion_is_told_as_its_own() -> None:
    lost = measured(1, 1.0, errors={"closed with 4008": 1})

    text = "\n".join(run_lines(with_companion(4, 20.0, lost)))

    assert "went wrong: the companion's 1 x closed with 4008" in text


def test_clicks_beside_a_companion_are_compared_with_the_same_ones_alone() -> None:
    greedy = Section(
        SCENARIOS["beside_greedy"],
        None,
        {"samwire": [with_companion(4, 50.0, measured(1, 900.0))]},
        {"samwire": measured(4, 20.0)},
    )

    text, told = "\n".join(greedy.lines()), json.loads(json.dumps(greedy.as_json()))

    assert "samwire: clicks, p99 in company over p99 alone = 2.50 x" in text
    assert text.index("4 annotators, ") < text.index("4 annotators and a companion")
    assert told["slowdowns"]["samwire"][0] == {
        "kind": "clicks", "beside": "p99", "alone": "p99", "times": 2.5,
    }  # fmt: skip
    assert told["alone"][0]["latency"]["clicks"]["p99_ms"] == 20.0
    assert told["runs"][0]["companion"]["latency"]["clicks"]["p99_ms"] == 900.0


def test_opens_beside_hovers_are_the_companions() -> None:
    hovers = Section(
        SCENARIOS["opens_beside_hovers"],
        None,
        {"samwire": [with_companion(4, 50.0, opens(300.0))]},
        {"samwire": replace(with_companion(0, 0.0, opens(100.0)), latency={})},
    )

    text = "\n".join(hovers.lines())

    assert "samwire: the companion alone" in text
    assert "samwire: open, p50 in company over p50 alone = 3.00 x" in text


def test_where_nothing_was_measured_no_slowdown_is_claimed() -> None:
    silent = replace(measured(4, 0.0), latency={})
    beside = Section(SCENARIOS["beside_opens"], None, {"lock": [silent]}, {"lock": silent})

    assert "lock: clicks, p99 in company over p50 alone = -" in beside.lines()[-3]


def test_a_soak_is_told_and_goes_into_json() -> None:
    samples = tuple(Sample(opens, 50 << 20) for opens in (20, 60, 100))
    report = Report(soaked=Soaked(samples))

    assert "100 images" in report.text()
    assert "0.000 KiB an open" in report.text()
    assert json.loads(json.dumps(report.as_json()))["soak"]["samples"][0] == {
        "opens": 20, "resident_bytes": 50 << 20,
    }  # fmt: skip


def test_the_whole_goes_into_json() -> None:
    report = Report([section(samwire=[measured(2, 20.0)])], ["hovers: 2 annotators < 8"])

    told = json.loads(json.dumps(report.as_json()))

    assert told["sections"][0]["capacity"] == {"samwire": 2}
    assert told["sections"][0]["runs"][0]["latency"]["clicks"]["p99_ms"] == 20.0
    assert told["missed"] == ["hovers: 2 annotators < 8"]
    assert "MISSED: hovers: 2 annotators < 8" in report.text()
