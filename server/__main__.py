"""The command line: the only place that parses arguments. `samwire --help` says the rest."""

import contextlib
import functools
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from client_demo.errors import SamwireError
from server import __version__
from server.config import Settings, stray_variables
from server.engine.models.base import Model
from server.errors import WireError
from server.load import load

__all__ = ["main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


class _Stderr(Console):
    """Where nobody may be listening: a full disk or a closed pipe keeps nothing from running."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - rich's own types
        """As rich does it, as long as it can be written."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.quiet = True  # rich would keep what was not written, and try it with the next

    def on_broken_pipe(self) -> None:
        """Say no more; rich would end the process."""
        self.quiet = True


_out = Console()
_err = _Stderr(stderr=True)

ModelName = Annotated[str | None, typer.Option(help="tiny, vit_b, vit_l, vit_h or fake.")]
Checkpoint = Annotated[Path | None, typer.Option(help="Weights instead of the model's own.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")]


@app.callback()
def _root() -> None:
    """Segment Anything over a WebSocket."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 = any free one.")] = None,
    model: ModelName = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Serve until stopped. Every other setting is an environment variable: SAMWIRE_*."""
    from server.app import App
    from server.process import give_memory_back, raise_descriptors
    from server.serve import PortTakenError, bind, run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it narrates its own start and stop
    settings = _settings(
        host=host, port=port, model=model, checkpoint=checkpoint, device=device, dtype=dtype
    )
    try:
        listener = bind(settings)
    except PortTakenError as taken:
        raise _stop(str(taken)) from None
    give_memory_back()
    raise_descriptors()
    shown = "localhost" if settings.host in {"127.0.0.1", "::1"} else settings.host
    _err.print(f"samwire {__version__}: http://{shown}:{listener.getsockname()[1]}", soft_wrap=True)
    raise typer.Exit(run(App(settings, functools.partial(_load, settings)), listener))


@app.command()
def segment(
    photo: Annotated[Path, typer.Argument(help="An image file.", exists=True, dir_okay=False)],
    point: Annotated[list[str] | None, typer.Option(help="x,y on the object; repeatable.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="x,y not on it; repeatable.")] = None,
    box: Annotated[str | None, typer.Option(help="x0,y0,x1,y1 around the object.")] = None,
    normalized: Annotated[bool, typer.Option("--normalized", help="Coordinates are 0..1.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the mask as PNG.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Write the photo with the mask.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print RLE, bbox, area, score.")] = False,
    server: Annotated[str | None, typer.Option(help="Ask this server instead: its URL.")] = None,
    token: Annotated[str | None, typer.Option(help="If that server wants one.")] = None,
    model: ModelName = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Segment one object of a photo, in this process or on a server."""
    from client_demo.command_line import Wanted, parse_prompts
    from server.local import segment_here, segment_there

    wanted = Wanted(out=out, overlay=overlay, as_json=as_json)
    try:
        prompts = parse_prompts(point or [], exclude or [], box)
        if server is not None:
            segment_there(server, token, photo, prompts, normalized=normalized, wanted=wanted)
            return
        settings = _settings(model=model, checkpoint=checkpoint, device=device, dtype=dtype)
        loaded = _load(settings)
        with _bar("encoding the photo") as progress:
            segment_here(
                loaded,
                photo,
                prompts,
                normalized=normalized,
                wanted=wanted,
                max_pixels=settings.max_image_pixels,
                reduced_jpeg=settings.reduced_jpeg,
                progress=progress,
            )
    except (ValueError, OSError, WireError, SamwireError) as wrong:
        raise _stop(str(wrong)) from None


@app.command()
def models() -> None:
    """List the models that can be served, and where their weights are."""
    from server.engine.models.catalog import MODELS, OFFICIAL, weights_path

    for name in MODELS:
        path = weights_path(name)
        here = path.exists()
        size = path.stat().st_size if here else OFFICIAL[name].size
        where = path if here else f"downloaded when first served: {OFFICIAL[name].url}"
        typer.echo(f"{name:6}{size / 1e6:7,.0f} MB  {where}")


@app.command()
def bench(
    model: ModelName = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
    dtype: Dtype = None,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="The true architecture, untrained: no download."),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Leave out upstream's image encoder, which takes minutes."),
    ] = False,
    count: Annotated[int, typer.Option(min=1, help="Timed rounds of clicks.")] = 2000,
    warm_up: Annotated[int, typer.Option(min=1, help="Rounds before those.")] = 100,
    photo: Annotated[Path | None, typer.Option(help="Click this instead of a drawing.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time the stages of a click and of an open, here and through the socket, beside peers'."""
    from server.bench import harness
    from server.bench.roundtrip import ServerFailedError
    from server.bench.table import show
    from server.bench.weights import write_random_checkpoint

    settings = _settings(model=model, checkpoint=checkpoint, device=device, dtype=dtype)
    weights = "its own" if settings.checkpoint is None else "given"
    with tempfile.TemporaryDirectory() as folder:
        try:
            if random_weights:
                path = write_random_checkpoint(settings.model, Path(folder))
                settings, weights = settings.model_copy(update={"checkpoint": path}), harness.RANDOM
            options = harness.Options(settings, weights, count, warm_up, quick, photo)
            report = harness.run(options, functools.partial(_load, settings), _err)
        except (ValueError, OSError, WireError, ServerFailedError) as wrong:
            raise _stop(str(wrong)) from None
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        show(report, _out)


def _settings(**given: object) -> Settings:
    """The environment's settings, with what the command line says on top."""
    for stray in stray_variables():
        _say(stray, "yellow")
    try:
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return Settings(**chosen)
    except ValidationError as invalid:
        faults = [_fault(fault["loc"], fault["msg"]) for fault in invalid.errors()]
        raise _stop("bad setting: " + "; ".join(faults)) from None


def _fault(place: tuple[int | str, ...], text: str) -> str:
    """What is wrong with a setting, or with several together, which have no one place."""
    reason = text.removeprefix("Value error, ")
    return f"{place[0]}: {reason}" if place else reason


def _load(settings: Settings) -> Model:
    with _download_bar() as show:
        return load(settings, show)


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Callable[[float], None]]:
    """A progress bar for what may take over a second."""
    with Progress(TextColumn(what), BarColumn(), console=_err, transient=True) as bars:
        task = bars.add_task(what, total=1.0)
        yield lambda fraction: bars.update(task, completed=fraction)


@contextlib.contextmanager
def _download_bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar that appears when there is something to download."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_err, transient=True) as bars:
        task = bars.add_task("downloading the model", visible=False)

        def show(had: int, size: int) -> None:
            bars.update(task, completed=had, total=size, visible=True)

        yield show


def _stop(reason: str) -> typer.Exit:
    _say(reason, "red")
    return typer.Exit(2)


def _say(sentence: str, color: str) -> None:
    _err.print(f"[{color}]samwire:[/{color}] {escape(sentence)}", soft_wrap=True, highlight=False)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
