"""The command line: the only place that parses arguments. `samwire --help` says the rest."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from server import __version__
from server.config import Settings
from server.engine.models.base import Model

__all__ = ["main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
_out = Console()
_err = Console(stderr=True)

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
    shown = "localhost" if settings.host in {"127.0.0.1", "::1"} else settings.host
    _err.print(f"samwire {__version__}: http://{shown}:{listener.getsockname()[1]}", soft_wrap=True)
    raise typer.Exit(run(App(settings, functools.partial(_load, settings)), listener))


def _settings(**given: object) -> Settings:
    """The environment's settings, with what the command line says on top."""
    try:
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return Settings(**chosen)
    except ValidationError as invalid:
        faults = [f"{fault['loc'][0]}: {fault['msg']}" for fault in invalid.errors()]
        raise _stop("bad setting: " + "; ".join(faults)) from None


def _load(settings: Settings) -> Model:
    """Make the model; torch is imported only now."""
    if settings.model == "fake":
        from server.engine.fake import FakeModel

        return FakeModel()
    from server.engine.models.catalog import load_model
    from server.engine.models.device import choose_threads

    choose_threads(settings.threads)
    with _download_bar() as show:
        return load_model(
            settings.model,
            checkpoint=settings.checkpoint,
            device=settings.device,
            dtype=settings.dtype,
            progress=show,
        )


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
    _err.print(f"[red]samwire:[/red] {reason}", soft_wrap=True, highlight=False)
    return typer.Exit(2)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
