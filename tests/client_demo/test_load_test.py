import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from client_demo.load_test import main
from tests.support.running_server import RunningServer

QUICK = ["--seconds", "1", "--warm-up", "0.1", "--annotators", "4"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*QUICK, *arguments])
    assert isinstance(ended.value.code, int), ended.value.code
    return ended.value.code


def test_a_scenario_is_told_in_text_and_json(
    fake: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "load.json"

    code = run("--server", fake.http, "--scenario", "hovers", "--json", str(told))

    (figures,) = json.loads(told.read_text())["sections"][0]["runs"]
    assert code == 0
    assert figures["annotators"] == 4
    assert "samwire: 4 annotators" in capsys.readouterr().out


def test_both_servers_are_swept_in_one_run_compared_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing, told = tmp_path / "load.svg", tmp_path / "load.json"

    code = run("--model", "fake", "--scenario", "hovers", "--sweep", "--most", "2",
               "--seconds", "0.5", "--limit-ms", "60000", "--peer", "lock", "--min-ratio", "1000",
               "--plot", str(drawing), "--json", str(told))  # fmt: skip

    (section,) = json.loads(told.read_text())["sections"]
    assert code == 1
    assert "x lock < 1000 x" in capsys.readouterr().out
    assert section["capacity"] == {"samwire": 2, "lock": 2}
    svg = ET.fromstring(drawing.read_text())  # noqa: S314 - our own
    assert len(svg.findall(".//{*}polyline")) == 4


@pytest.mark.parametrize(
    "threshold",
    [["--max-p99-ms", "0"], ["--sweep", "--most", "1", "--min-annotators", "2"]],
    ids=lambda threshold: threshold[-2],
)
def test_a_threshold_that_is_missed_is_the_exit_code(
    fake: RunningServer, threshold: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--server", fake.url, "--scenario", "clicks", *threshold) == 1

    assert "MISSED: clicks" in capsys.readouterr().out


def test_clicks_are_measured_alone_then_beside_a_companion_on_each_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "load.json"

    code = run("--model", "fake", "--scenario", "beside_opens", "--annotators", "12",
               "--peer", "lock", "--max-slowdown", "0.001", "--json", str(told))  # fmt: skip

    (section,) = json.loads(told.read_text())["sections"]
    text = capsys.readouterr().out
    assert code == 1
    assert "MISSED: beside_opens: clicks, p99 in company over p50 alone" in text
    assert set(section["slowdowns"]) == {"samwire", "lock"}
    assert [figures["companion"] for figures in section["alone"]] == [None, None]
    for figures in section["runs"]:
        assert figures["companion"]["latency"]["open"]["count"] > 0
        assert figures["annotators"] == 12


def test_opens_are_measured_alone_then_beside_hovers(
    fake: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "load.json"

    code = run("--server", fake.url, "--scenario", "opens_beside_hovers", "--max-slowdown", "1000",
               "--plot", str(tmp_path / "load.svg"), "--json", str(told))  # fmt: skip

    (section,) = json.loads(told.read_text())["sections"]
    assert code == 0, capsys.readouterr().out
    assert section["alone"][0]["annotators"] == 0
    assert section["slowdowns"]["samwire"][0]["times"] > 0


def test_the_greedy_one_stays_to_the_end(
    fake: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("--server", fake.url, "--scenario", "beside_greedy")

    assert code == 0, capsys.readouterr().out


def test_a_slowdown_that_could_not_be_measured_is_missed(
    fake: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("--server", fake.url, "--scenario", "beside_opens", "--seconds", "0",
               "--max-slowdown", "1000")  # fmt: skip

    assert code == 1
    assert "p50 alone: not measured" in capsys.readouterr().out


def test_a_soak_is_measured_and_its_threshold_is_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "soak.json"

    code = run("--model", "fake", "--soak", "100", "--max-kib-an-open", "-1000000",
               "--json", str(told))  # fmt: skip

    soaked = json.loads(told.read_text())["soak"]
    assert code == 1
    assert "MISSED: soak: " in capsys.readouterr().out
    assert len(soaked["samples"]) == 100
    assert all(sample["resident_bytes"] > 10 << 20 for sample in soaked["samples"])


@pytest.mark.parametrize("other", [["--server", "http://x"], ["--peer", "lock"], ["--sweep"]])
def test_a_soak_goes_with_nothing_that_it_would_ignore(
    other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--soak", "100", *other) == 2

    assert "--soak starts a server of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    "ignoring",
    [
        [],
        ["--scenario", "clicks"],
        ["--scenario", "beside_opens", "--scenario", "clicks"],
        ["--scenario", "beside_opens", "--sweep"],
        ["--soak", "100"],
    ],
    ids=" ".join,
)
def test_a_slowdown_goes_with_nothing_that_would_ignore_it(
    ignoring: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--max-slowdown", "2", *ignoring) == 2

    said = " ".join(capsys.readouterr().err.split())
    assert "needs --scenario of beside_opens, beside_greedy, opens_beside_hovers" in said


@pytest.mark.parametrize(
    ("threshold", "ignoring", "needed"),
    [
        ("--max-p99-ms", ["--sweep"], "a sweep has --limit-ms"),
        ("--max-p99-ms", ["--soak", "100"], "is of a plain run"),
        ("--min-annotators", [], "it needs --sweep"),
        ("--min-annotators", ["--soak", "100"], "it needs --sweep"),
        ("--min-ratio", ["--sweep"], "it needs --sweep and --peer"),
        ("--min-ratio", ["--peer", "lock"], "it needs --sweep and --peer"),
    ],
)
def test_no_threshold_goes_with_what_would_ignore_it(
    threshold: str, ignoring: list[str], needed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(threshold, "2", *ignoring) == 2

    assert needed in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("ignoring", [[], ["--scenario", "clicks"], ["--sweep"]], ids=" ".join)
def test_growth_goes_with_nothing_that_would_ignore_it(
    ignoring: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--max-kib-an-open", "0.5", *ignoring) == 2

    assert "--max-kib-an-open is measured in a soak" in capsys.readouterr().err


def test_a_soak_too_short_for_a_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--soak", "99") == 2

    assert "expected at least 100" in capsys.readouterr().err


def test_each_scenario_has_a_plot_of_its_own(fake: RunningServer, tmp_path: Path) -> None:
    run("--server", fake.url, "--plot", str(tmp_path / "load.svg"), "--seconds", "0.2")

    assert {path.name for path in tmp_path.iterdir()} == {"load-clicks.svg", "load-hovers.svg"}


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SystemExit, match="load test: "):
        main([*QUICK, "--server", "ws://127.0.0.1:9"])
