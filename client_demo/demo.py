"""The demo behind `python -m client_demo.client photo.jpg --point 320,240 --overlay out.png`."""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from client_demo import overlay
from client_demo.client import DEFAULT_URL, Mask, Opened, Progress, SamwireError, connect
from client_demo.command_line import Prompts, Wanted, parse_prompts, write

__all__ = ["main"]

_STAGES = {
    "upload": "sending the photo",
    "waiting": "waiting for the encoder",
    "download": "fetching the photo",
    "decode": "reading the photo",
    "encode": "encoding the photo",
}
_QUIET_S = 1.0  # what is done sooner needs no progress bar
_BAR = 24


def main(argv: list[str] | None = None) -> None:
    """Run the demo; exits with 1 when there is no mask to show."""
    arguments = _parser().parse_args(argv)
    try:
        prompts = parse_prompts(arguments.point, arguments.exclude, arguments.box)
    except ValueError as wrong:
        _parser().error(str(wrong))
    try:
        asyncio.run(_run(arguments, prompts))
    except (SamwireError, OSError) as error:
        sys.exit(f"samwire: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


async def _run(arguments: argparse.Namespace, prompts: Prompts) -> None:
    bar = _ProgressBar()
    async with connect(arguments.server, token=arguments.token, name="samwire-demo") as sam:
        begun = time.perf_counter()
        opened = await sam.open(arguments.photo, on_progress=bar.show)
        bar.clear()
        if arguments.normalized:
            prompts = prompts.in_pixels(opened.width, opened.height)
        opened_at = time.perf_counter()
        mask = await sam.segment(points=prompts.points, box=prompts.box)
        ended = time.perf_counter()
    wanted = Wanted(arguments.out, arguments.overlay)
    write(wanted, mask.mask(), prompts, lambda: overlay.load_rgb(arguments.photo))
    _tell(arguments, mask, opened, open_s=opened_at - begun, click_s=ended - opened_at)


def _tell(
    arguments: argparse.Namespace, mask: Mask, opened: Opened, *, open_s: float, click_s: float
) -> None:
    if arguments.json:
        told = overlay.as_json(mask.rle, mask.bbox, mask.area, mask.score)
        timings = {**mask.timings.model_dump(), "open_ms": open_s * 1e3, "click_ms": click_s * 1e3}
        print(json.dumps({**told, "cached": opened.cached, "timings": timings}))
        return
    print(overlay.summary(mask.rle["size"], mask.bbox, mask.area, mask.score))
    cached = ", cached" if opened.cached else ""
    print(f"open {open_s * 1e3:.0f} ms{cached}; click {click_s * 1e3:.0f} ms")
    for path in (arguments.out, arguments.overlay):
        if path is not None:
            print(f"wrote {path}")


class _ProgressBar:
    """On a terminal, and only for what takes over a second."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._shown = False

    def show(self, progress: Progress) -> None:
        if not sys.stderr.isatty() or time.perf_counter() - self._begun < _QUIET_S:
            return
        done = round(progress.fraction * _BAR)
        ahead = f", {progress.ahead} ahead" if progress.ahead else ""
        bar = "█" * done + "░" * (_BAR - done)
        print(
            f"\r\x1b[K{bar} {_STAGES[progress.stage]}{ahead}", end="", file=sys.stderr, flush=True
        )
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m client_demo.client",
        description="Segment one object of a photo on a samwire server.",
    )
    add = parser.add_argument
    add("photo", type=Path, help="an image file")
    add("--point", action="append", default=[], metavar="X,Y", help="on the object")
    add("--exclude", action="append", default=[], metavar="X,Y", help="not on it")
    add("--box", metavar="X0,Y0,X1,Y1", help="around the object")
    add("--normalized", action="store_true", help="coordinates are 0..1 of width and height")
    add("--server", default=DEFAULT_URL, metavar="URL", help="default: %(default)s")
    add("--token", help="if the server wants one")
    add("--out", type=Path, metavar="PNG", help="write the mask, black and white")
    add("--overlay", type=Path, metavar="PNG", help="write the photo with the mask on it")
    add("--json", action="store_true", help="print the mask as JSON (COCO RLE)")
    return parser
