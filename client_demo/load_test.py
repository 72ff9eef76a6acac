"""How many annotators does a server carry, and how long does each of them wait?

    python -m client_demo.load_test                                  # clicks, then hovers
    python -m client_demo.load_test --sweep --peer lock --plot load.svg

Open loop: latency counts from when an annotator would have clicked, not from when the last reply
made it possible to send. Without --server it starts the servers it measures. Exits with 1 when a
threshold is missed, or anything goes wrong in a plain run.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from client_demo.errors import ConnectionLost
from client_demo.link import socket_url
from client_demo.load.figures import Figures
from client_demo.load.pictures import Pictures
from client_demo.load.plot import sweep_svg
from client_demo.load.report import Report, Section
from client_demo.load.running import Plan, run, sweep, with_enough_clicks
from client_demo.load.scenarios import SCENARIOS
from client_demo.load.servers import started

__all__ = ["main"]

OURS = "samwire"
_SPARE_SESSIONS = 16  # a run's connections may come before the last run's have gone


def main(argv: list[str] | None = None) -> None:
    """Run the load test; exits with 1 when a threshold is missed."""
    arguments = _parser().parse_args(argv)
    try:
        report = asyncio.run(_measure(arguments))
    except (ConnectionLost, OSError) as error:
        sys.exit(f"load test: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(report.text(), end="")
    _write(arguments, report)
    sys.exit(1 if report.missed else 0)


async def _measure(arguments: argparse.Namespace) -> Report:
    report = Report()
    pictures = Pictures(arguments.photo)
    for name in arguments.scenario or ["clicks", "hovers"]:
        limit_ms = arguments.limit_ms if arguments.sweep else None
        section = Section(SCENARIOS[name], limit_ms)
        plan = Plan(
            scenario=SCENARIOS[name],
            seconds=arguments.seconds,
            warm_up_s=arguments.warm_up,
            drain_s=arguments.drain,
            pictures=pictures,
            token=arguments.token,
        )
        report.sections.append(section)
        for server in [OURS, *([arguments.peer] if arguments.peer else [])]:
            async with _serving(arguments, server) as url:
                section.by_server[server] = await _measure_server(arguments, plan, url, server)
        report.missed += _missed(arguments, section)
    return report


@asynccontextmanager
async def _serving(arguments: argparse.Namespace, server: str) -> AsyncIterator[str]:
    """One server at a time: two would share the machine, and neither be measured."""
    if server == OURS and arguments.server is not None:
        yield socket_url(arguments.server)
        return
    most = max(arguments.most, arguments.annotators) + _SPARE_SESSIONS
    async with started(server, arguments.model, most) as url:
        yield url


async def _measure_server(
    arguments: argparse.Namespace, plan: Plan, url: str, server: str
) -> list[Figures]:
    async def measure(annotators: int) -> Figures:
        now = with_enough_clicks(plan, annotators) if arguments.sweep else plan
        _say(f"{server}, {plan.scenario.name}: {annotators} annotators, {now.seconds:g} s")
        figures = await run(now, url, annotators, server=server)
        _say(f"  clicks p99 {figures.clicks_p99_ms:.0f} ms, {figures.clicks_per_s:.1f} clicks/s")
        return figures

    if arguments.sweep:
        return await sweep(measure, arguments.limit_ms, arguments.most)
    return [await measure(arguments.annotators)]


def _missed(arguments: argparse.Namespace, section: Section) -> list[str]:
    """The thresholds that this scenario did not hold."""
    name = section.scenario.name
    if not arguments.sweep:
        return [f"{name}: {reason}" for reason in _missed_in_run(arguments, section)]
    missed = []
    carried = section.capacity(OURS)
    annotators = carried.annotators if carried else 0
    if annotators < arguments.min_annotators:
        missed.append(f"{name}: {annotators} annotators < {arguments.min_annotators}")
    if arguments.peer and arguments.min_ratio:
        ratio = section.ratio(OURS, arguments.peer)
        if ratio is not None and ratio < arguments.min_ratio:
            missed.append(f"{name}: {ratio:.2f} x {arguments.peer} < {arguments.min_ratio:g} x")
    return missed


def _missed_in_run(arguments: argparse.Namespace, section: Section) -> list[str]:
    (figures,) = section.by_server[OURS]
    missed = [] if figures.is_flawless else ["something went wrong"]
    if arguments.max_p99_ms is not None and figures.clicks_p99_ms > arguments.max_p99_ms:
        missed.append(f"clicks p99 {figures.clicks_p99_ms:.1f} ms > {arguments.max_p99_ms:g} ms")
    return missed


def _write(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    if arguments.plot is None:
        return
    for section in report.sections:
        title = f"{section.scenario.name}: {section.scenario.summary}"
        path: Path = arguments.plot
        if len(report.sections) > 1:
            path = path.with_stem(f"{path.stem}-{section.scenario.name}")
        drawn = sweep_svg(title, section.by_server, section.limit_ms or arguments.limit_ms)
        path.write_text(drawn, encoding="utf-8")
        _say(f"wrote {path}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m client_demo.load_test",
        description="Simulated annotators on a samwire server.",
        epilog="scenarios: " + "; ".join(f"{s.name} ({s.summary})" for s in SCENARIOS.values()),
    )
    add = parser.add_argument
    add("--server", metavar="URL", help="measure this one instead of starting one")
    add("--model", help="of the servers that are started (tiny, vit_b, ..., fake)")
    add("--token", help="if the server wants one")
    add(
        "--scenario", action="append", choices=SCENARIOS, help="repeatable; default: clicks, hovers"
    )
    add("--annotators", type=_count, default=8, metavar="N", help="default: %(default)s")
    add("--seconds", type=_seconds, default=20.0, help="measured, a run; default: %(default)s")
    add("--warm-up", type=_seconds, default=3.0, help="seconds before; default: %(default)s")
    add("--drain", type=_seconds, default=5.0, help="seconds after, at most; default: %(default)s")
    add("--photo", type=Path, action="append", default=[], help="repeatable; default: drawn ones")
    add("--sweep", action="store_true", help="find how many annotators are carried")
    add("--limit-ms", type=_seconds, default=200.0, help="a sweep's p99; default: %(default)s")
    add("--most", type=_count, default=512, metavar="N", help="annotators; default: %(default)s")
    add("--peer", choices=["lock"], help="also the same model behind one lock, in the same run")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--plot", type=Path, metavar="FILE.svg", help="write latency against load")
    thresholds = parser.add_argument_group("thresholds (exit code 1 when missed)")
    threshold = thresholds.add_argument
    threshold("--max-p99-ms", type=_seconds, help="of clicks, in a plain run")
    threshold("--min-annotators", type=int, default=0, metavar="N", help="carried in a sweep")
    threshold("--min-ratio", type=float, metavar="X", help="clicks/s carried against the peer")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("expected no less than 0")
    return value


if __name__ == "__main__":
    main()
