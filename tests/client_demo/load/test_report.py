import json

from client_demo.load.figures import Figures
from client_demo.load.report import Report, Section
from client_demo.load.scenarios import SCENARIOS
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


def test_the_whole_goes_into_json() -> None:
    report = Report([section(samwire=[measured(2, 20.0)])], ["hovers: 2 annotators < 8"])

    told = json.loads(json.dumps(report.as_json()))

    assert told["sections"][0]["capacity"] == {"samwire": 2}
    assert told["sections"][0]["runs"][0]["latency"]["clicks"]["p99_ms"] == 20.0
    assert told["missed"] == ["hovers: 2 annotators < 8"]
    assert "MISSED: hovers: 2 annotators < 8" in report.text()
