from xml.etree import ElementTree as ET

import pytest

from client_demo.load.plot import sweep_svg
from tests.client_demo.load.test_running import measured

SVG = "{http://www.w3.org/2000/svg}"


def drawn(title: str = "hovers", **by_server: list[tuple[int, float]]) -> ET.Element:
    runs = {name: [measured(n, ms) for n, ms in points] for name, points in by_server.items()}
    return ET.fromstring(sweep_svg(title, runs, 200.0))  # noqa: S314 - our own


def test_each_server_has_two_lines_and_a_dot_a_run() -> None:
    svg = drawn(samwire=[(1, 10.0), (8, 90.0), (64, 400.0)], lock=[(1, 20.0), (2, 900.0)])

    assert len(svg.findall(f"{SVG}polyline")) == 4
    assert len(svg.findall(f"{SVG}circle")) == 5


def test_everything_lies_inside_the_picture() -> None:
    svg = drawn(samwire=[(1, 0.5), (500, 20_000.0)])

    for dot in svg.findall(f"{SVG}circle"):
        assert 0 < float(dot.get("cx", -1)) < 760
        assert 0 < float(dot.get("cy", -1)) < 440


def test_more_load_is_further_right_and_more_latency_higher() -> None:
    first, second = drawn(samwire=[(1, 10.0), (8, 90.0)]).findall(f"{SVG}circle")

    assert float(first.get("cx", 0)) < float(second.get("cx", 0))
    assert float(first.get("cy", 0)) > float(second.get("cy", 0))


@pytest.mark.parametrize("points", [[], [(1, 10.0)]])
def test_few_runs_can_be_drawn_too(points: list[tuple[int, float]]) -> None:
    assert drawn(samwire=points).tag == f"{SVG}svg"


def test_a_title_is_only_text() -> None:
    svg = drawn("<script>&")

    assert svg.findall(f"{SVG}text")[0].text == "<script>&"
