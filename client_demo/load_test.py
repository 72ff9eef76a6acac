"""How many annotators can a server carry, and how long does each of them wait?

    python -m client_demo.load_test                                  # clicks, then hovers
    python -m client_demo.load_test --sweep --peer lock --plot load.svg
    python -m client_demo.load_test --scenario beside_greedy         # how much longer, in company
    python -m client_demo.load_test --soak 10000 --model fake        # does its memory grow?

Open loop: latency counts from when an annotator would have clicked, not from when the last reply
allowed it. Without --server it starts the servers it measures. Exits with 1 when a threshold is
missed, or when anything goes wrong in a plain run; a sweep goes on until something does.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from client_demo.errors import SamwireError
from client_demo.link import socket_url
from client_demo.load.figures import Figures
from client_demo.load.pictures import Pictures
from client_demo.load.plot import sweep_svg
from client_demo.load.report import Report, Section, who
from client_demo.load.running import Plan, alone, run, sweep, with_enough_clicks
from client_demo.load.scenarios import SCENARIOS
from client_demo.load.servers import started
from client_demo.load.soak import LEAST_OPENS, SETTINGS, Soaked, soak

__all__ = ["main"]

OURS = "samwire"
_SPARE_SESSIONS = 16  # a run's connections may come before the last run's have gone


def main(argv: list[str] | None = None) -> None:
    """Run the load test; exits with 1 when a threshold is missed."""
    arguments = _arguments(argv)
    try:
        report = asyncio.run(_soak(arguments) if arguments.soak else _measure(arguments))
    except (SamwireError, OSError) as error:
        sys.exit(f"load test: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(report.text(), end="")
    _write(arguments, report)
    sys.exit(1 if report.missed else 0)


async def _measure(arguments: argparse.Namespace) -> Report:
    report = Report()
    pictures = Pictures(arguments.photo)
    for name in _scenarios(arguments):
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
                if plan.scenario.companion is not None and not arguments.sweep:
                    fewer, annotators = alone(plan, arguments.annotators)
                    section.alone[server] = await _run(fewer, url, annotators, server)
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
    async with started(server, arguments.model, max_sessions=most) as running:
        yield running.url


async def _measure_server(
    arguments: argparse.Namespace, plan: Plan, url: str, server: str
) -> list[Figures]:
    async def measure(annotators: int) -> Figures:
        return await _run(with_enough_clicks(plan, annotators), url, annotators, server)

    if arguments.sweep:
        return await sweep(measure, arguments.limit_ms, arguments.most)
    return [await _run(plan, url, arguments.annotators, server)]


async def _run(plan: Plan, url: str, annotators: int, server: str) -> Figures:
    crowd = who(annotators, beside=plan.scenario.companion is not None)
    _say(f"{server}, {plan.scenario.name}: {crowd}, {plan.seconds:g} s")
    figures = await run(plan, url, annotators, server=server)
    if figures.clicks_per_s:
        _say(f"  clicks p99 {figures.clicks_p99_ms:.0f} ms, {figures.clicks_per_s:.1f} clicks/s")
    return figures


async def _soak(arguments: argparse.Namespace) -> Report:
    pictures = Pictures(arguments.photo, width=64, height=48)
    samples = []
    async with started(OURS, arguments.model, **SETTINGS) as server:
        async for sample in soak(
            server.url, arguments.token, pictures, arguments.soak, server.resident_bytes
        ):
            _say(f"{sample.opens} opens: {sample.resident_bytes >> 10} KiB")
            samples.append(sample)
    soaked, most = Soaked(tuple(samples)), arguments.max_kib_an_open
    report = Report(soaked=soaked)
    if most is not None and soaked.kib_an_open > most:
        report.missed.append(f"soak: {soaked.kib_an_open:.3f} KiB an open > {most:g} KiB")
    return report


def _missed(arguments: argparse.Namespace, section: Section) -> list[str]:
    """The thresholds that this scenario did not hold."""
    name = section.scenario.name
    if not arguments.sweep:
        return [f"{name}: {reason}" for reason in _missed_in_run(arguments, section)]
    missed = []
    carried = section.capacity(OURS)
    annotators = carried.annotators if carried else 0
    if arguments.min_annotators is not None and annotators < arguments.min_annotators:
        missed.append(f"{name}: {annotators} annotators < {arguments.min_annotators}")
    if arguments.min_ratio is not None:
        ratio = section.ratio(OURS, arguments.peer)
        if carried is None:
            missed.append(f"{name}: carries nobody, so there is no ratio")
        elif ratio is not None and ratio < arguments.min_ratio:
            missed.append(f"{name}: {ratio:.2f} x {arguments.peer} < {arguments.min_ratio:g} x")
    return missed


def _missed_in_run(arguments: argparse.Namespace, section: Section) -> list[str]:
    (figures,) = section.by_server[OURS]
    flawless = all(run.is_flawless for run in section.runs(OURS))
    missed = [] if flawless else ["something went wrong"]
    if arguments.max_p99_ms is not None and figures.clicks_p99_ms > arguments.max_p99_ms:
        missed.append(f"clicks p99 {figures.clicks_p99_ms:.1f} ms > {arguments.max_p99_ms:g} ms")
    return missed + _missed_beside(arguments, section)


def _missed_beside(arguments: argparse.Namespace, section: Section) -> list[str]:
    """The first slowdown of a scenario with a companion; one that was not measured is missed."""
    most = arguments.max_slowdown
    if most is None or section.scenario.companion is None:
        return []
    slowdown = section.scenario.companion.slowdowns[0]
    times = section.slowdowns(OURS)[slowdown]
    if times is None:
        return [f"{slowdown}: not measured"]
    return [f"{slowdown}: {times:.2f} x > {most:g} x"] if times > most else []


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


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    others = ("server", "scenario", "sweep", "peer", "plot")
    if arguments.soak and any(getattr(arguments, other) for other in others):
        parser.error(f"--soak starts a server of its own and goes with none of {', '.join(others)}")
    if arguments.max_kib_an_open is not None and not arguments.soak:
        parser.error("--max-kib-an-open is measured in a soak: it needs --soak")
    if arguments.max_slowdown is not None and not _tells_slowdowns(arguments):
        names = ", ".join(name for name, one in SCENARIOS.items() if one.companion is not None)
        parser.error(f"--max-slowdown is measured in plain runs: it needs --scenario of {names}")
    if arguments.max_p99_ms is not None and (arguments.sweep or arguments.soak):
        parser.error("--max-p99-ms is of a plain run; a sweep has --limit-ms")
    if arguments.min_annotators is not None and not arguments.sweep:
        parser.error("--min-annotators are those that a sweep finds: it needs --sweep")
    if arguments.min_ratio is not None and not (arguments.sweep and arguments.peer):
        parser.error("--min-ratio compares two sweeps: it needs --sweep and --peer")
    return arguments


def _tells_slowdowns(arguments: argparse.Namespace) -> bool:
    """Whether in every scenario asked for somebody is measured alone, then in company."""
    companions = [SCENARIOS[name].companion for name in _scenarios(arguments)]
    return not (arguments.soak or arguments.sweep or None in companions)


def _scenarios(arguments: argparse.Namespace) -> list[str]:
    return arguments.scenario or ["clicks", "hovers"]


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
    add(
        "--seconds",
        type=_seconds,
        default=20.0,
        help="measured per run, in a sweep up to four times as long; default: %(default)s",
    )
    add("--warm-up", type=_seconds, default=3.0, help="seconds before; default: %(default)s")
    add("--drain", type=_seconds, default=5.0, help="seconds after, at most; default: %(default)s")
    add("--photo", type=Path, action="append", default=[], help="repeatable; default: drawn ones")
    add("--sweep", action="store_true", help="find how many annotators are carried")
    add("--limit-ms", type=_seconds, default=200.0, help="a sweep's p99; default: %(default)s")
    add("--most", type=_count, default=512, metavar="N", help="annotators; default: %(default)s")
    add("--soak", type=_opens, metavar="N", help="open N images instead, and watch the memory")
    add("--peer", choices=["lock"], help="also the same model behind one lock, in the same run")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--plot", type=Path, metavar="FILE.svg", help="write latency against load")
    thresholds = parser.add_argument_group("thresholds (exit code 1 when missed)")
    threshold = thresholds.add_argument
    threshold("--max-p99-ms", type=_seconds, help="of clicks, in a plain run")
    threshold("--max-slowdown", type=float, metavar="X", help="in company, in a plain run")
    threshold("--min-annotators", type=_count, metavar="N", help="carried in a sweep")
    threshold("--min-ratio", type=float, metavar="X", help="clicks/s carried against the peer")
    threshold("--max-kib-an-open", type=float, metavar="KIB", help="in a soak")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return value


def _opens(text: str) -> int:
    value = int(text)
    if value < LEAST_OPENS:
        raise argparse.ArgumentTypeError(f"expected at least {LEAST_OPENS}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("expected no less than 0")
    return value


if __name__ == "__main__":
    main()
