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


def test_each_scenario_has_a_plot_of_its_own(fake: RunningServer, tmp_path: Path) -> None:
    run("--server", fake.url, "--plot", str(tmp_path / "load.svg"), "--seconds", "0.2")

    assert {path.name for path in tmp_path.iterdir()} == {"load-clicks.svg", "load-hovers.svg"}


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SystemExit, match="load test: "):
        main([*QUICK, "--server", "ws://127.0.0.1:9"])
