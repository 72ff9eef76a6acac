"""Latency against load as an SVG: a line a server and percentile, log scales, the limit drawn in.

Written here because it is a hundred lines, and a plotting library would be the client's largest
dependency.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from client_demo.load.figures import Figures

__all__ = ["sweep_svg"]

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 64, 56
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea")
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#334155}.title{font-size:16px;font-weight:600}"
    ".grid{stroke:#e2e8f0}.limit{stroke:#dc2626;stroke-dasharray:6 4}"
    ".line{fill:none;stroke-width:2.2}.thin{stroke-width:1.4;stroke-dasharray:2 4}"
)
_TICKS = (1, 2, 5)


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis, from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * min(share, 1.0)

    def ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        marks = [tick * 10.0**power for power in range(first, last + 1) for tick in _TICKS]
        return [mark for mark in marks if self.low <= mark <= self.high]


def sweep_svg(title: str, by_server: dict[str, list[Figures]], limit_ms: float) -> str:
    """Click latency (p50 thin, p99 thick) against annotators, for each server."""
    runs = [figures for measured in by_server.values() for figures in measured]
    x = _axis([float(f.annotators) for f in runs], LEFT, WIDTH - RIGHT)
    latencies = [ms for f in runs for ms in (_p50(f), _p99(f)) if ms > 0]
    y = _axis([*latencies, limit_ms], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
        *_grid(x, y),
        *_limit(y, limit_ms),
    ]
    for index, (server, measured) in enumerate(by_server.items()):
        parts += _curves(server, measured, x, y, COLOURS[index % len(COLOURS)], index)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values, default=1.0), max(values, default=10.0)
    low = low / 1.25
    return _Axis(low, max(high * 1.25, low * 4), start, end)


def _grid(x: _Axis, y: _Axis) -> list[str]:
    parts = []
    for tick in y.ticks():
        parts.append(_line("grid", LEFT, y.at(tick), WIDTH - RIGHT, y.at(tick)))
        parts.append(_text(LEFT - 8, y.at(tick) + 4, f"{tick:g}", "end"))
    for tick in x.ticks():
        parts.append(_line("grid", x.at(tick), TOP, x.at(tick), HEIGHT - BOTTOM))
        parts.append(_text(x.at(tick), HEIGHT - BOTTOM + 20, f"{tick:g}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "annotators", "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 18 {middle:.0f})"'
    parts.append(_text(18, middle, "click, ms from when it was due", "middle", turned))
    return parts


def _limit(y: _Axis, limit_ms: float) -> list[str]:
    at = y.at(limit_ms)
    return [
        _line("limit", LEFT, at, WIDTH - RIGHT, at),
        _text(WIDTH - RIGHT, at - 6, f"{limit_ms:g} ms", "end"),
    ]


def _curves(
    server: str, measured: Sequence[Figures], x: _Axis, y: _Axis, colour: str, index: int
) -> list[str]:
    parts = []
    for percentile, style in ((_p50, "line thin"), (_p99, "line")):
        points = [(x.at(f.annotators), y.at(percentile(f))) for f in measured if percentile(f) > 0]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline class="{style}" stroke="{colour}" points="{path}"/>')
        if percentile is _p99:
            parts += [
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.2" fill="{colour}"/>'
                for px, py in points
            ]
    left = LEFT + 240 * index
    parts.append(f'<rect x="{left}" y="40" width="14" height="4" fill="{colour}"/>')
    parts.append(_text(left + 20, 47, f"{server}: p99, p50 dotted"))
    return parts


def _p50(figures: Figures) -> float:
    return figures.latency["clicks"].p50_ms if "clicks" in figures.latency else 0.0


def _p99(figures: Figures) -> float:
    return figures.latency["clicks"].p99_ms if "clicks" in figures.latency else 0.0


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
