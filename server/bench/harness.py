"""Runs everything and makes one report of it: plain dicts, lists and numbers, ready for JSON.

One thing is measured at a time: first the machine's limits, then the stages in this process, then,
with the model gone again, the server in its own, then the peers.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from server import __version__
from server.bench.encoders import duel_of_encoders
from server.bench.figures import Comparison, Figure
from server.bench.floor import (
    HIDDEN_BY_A_GRAPH,
    Floor,
    Limits,
    Work,
    decode_work,
    encode_work,
    floor_of,
    limits_of,
    without_floor,
)
from server.bench.machine import describe_machine, load_average, short_name
from server.bench.peers import duel_of_decoders
from server.bench.pictures import Picture, pictures
from server.bench.roundtrip import measure_trips, running_server
from server.bench.stages import click_stages, open_stages, session_bytes
from server.bench.weights import random_sam
from server.config import Settings
from server.engine import images
from server.engine.models.base import Embedding, Model, run_steps
from server.engine.models.device import choose_device, choose_dtype, choose_threads
from server.engine.models.sam import SamModel
from server.engine.types import RgbImage
from server.geometry import Frame

__all__ = ["RANDOM", "Options", "Report", "run"]

Report = dict[str, Any]

RANDOM = "random"
"""What untrained weights are called."""

_BUSY = 0.5  # load average from which on figures are not to be trusted
_DECODE_WARM_UP = 20  # rounds at most
_MODEL_STAGES = ("prompt", "decode", "resize", "rle")
"""What a click costs without a server."""
_LimitsByDtype = Mapping[torch.dtype, Limits]


@dataclass(frozen=True, slots=True)
class _Works:
    """What an open and a first click are, and what they are computed in."""

    encode: Work
    decode: Work
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and how often."""

    settings: Settings
    """Which model, on which device, in which numbers."""
    weights: str
    """What to call the weights in the report."""
    count: int
    """Timed rounds of clicks; peers, opens and encodes, which take longer, get a share of it."""
    warm_up: int
    quick: bool
    """Leave out what takes minutes: upstream's image encoder."""
    photo: Path | None
    """Clicked instead of a drawn picture."""

    @property
    def untrained(self) -> bool:
        """Whether masks are of nothing: then resize, RLE and bytes are not a thing's."""
        return self.weights == RANDOM

    @property
    def decode_pairs(self) -> int:
        """Interleaved rounds of the decoders."""
        return max(1, self.count // 10)

    @property
    def opens(self) -> int:
        """Timed opens of each picture."""
        return max(1, min(20, self.count // 50))

    @property
    def encode_pairs(self) -> int:
        """Interleaved rounds of the image encoders, seconds each."""
        return max(1, min(5, self.count // 200))


def run(options: Options, load: Callable[[], Model], console: Console) -> Report:
    """Measure it all.

    Args:
        options: what and how often.
        load: makes the model for the stages; the server of the round trips makes its own.
        console: where progress is shown; the report is returned.
    """
    busy = load_average()
    if busy > _BUSY:
        console.print(f"samwire: other work goes on (load {busy:g}): trust no figure of this run")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        return _Harness(options, bars).run(load)


class _Harness:
    def __init__(self, options: Options, bars: Progress) -> None:
        self._options = options
        self._bars = bars
        choose_threads(options.settings.threads)
        self._device = choose_device(options.settings.device)
        self._dtype = choose_dtype(options.settings.dtype, self._device)

    def run(self, load: Callable[[], Model]) -> Report:
        photo = self._options.photo.read_bytes() if self._options.photo else None
        taken = pictures(photo)
        limits = self._limits()
        report = {
            "version": __version__,
            "machine": describe_machine(self._device),
            "method": self._method(),
            **self._in_process(load, taken, limits),
        }
        for name, trips in self._round_trips(taken).items():
            report["pictures"][name]["round_trip"] = trips
        report |= _overhead(report["pictures"][taken[0].name])
        report |= self._wire_bytes(report["pictures"][taken[0].name])
        report |= self._decoders(taken[0], limits)
        report |= self._encoders(taken[0], limits[self._dtype])
        return report

    def _limits(self) -> _LimitsByDtype:
        """By dtype, those that something is measured in."""
        dtypes = {torch.float32, self._dtype}
        with self._bar("the machine's limits", len(dtypes)):
            return {dtype: limits_of(self._device, dtype, self._synchronize) for dtype in dtypes}

    def _method(self) -> Report:
        options = self._options
        return {
            "warm_up": options.warm_up,
            "timed": options.count,
            "opens": options.opens,
            "decode_pairs": options.decode_pairs,
            "encode_pairs": options.encode_pairs,
            "picture": "drawn" if options.photo is None else "photo",
            "reduced_jpeg": options.settings.reduced_jpeg,
            "clients": 1,
        }

    def _in_process(
        self, load: Callable[[], Model], taken: tuple[Picture, ...], limits: _LimitsByDtype
    ) -> Report:
        """The model lives in here alone: the server needs its memory afterwards."""
        settings = self._options.settings
        self._bars.stop()  # a download shows a bar of its own
        model = load()
        self._bars.start()
        with self._bar("counting operations", 1):
            work = self._count(model, taken[0])
        with self._bar("warming up", 1):
            model.warm_up(settings.max_decode_ms)
        stages, embeddings = {}, []
        for picture in taken:
            stages[picture.name], embedding = self._stages(model, picture)
            embeddings.append(embedding)
        held = session_bytes(model, embeddings[0], taken[0], kept_logits=settings.kept_logits)
        floors = self._served_floors(work, stages[taken[0].name], limits)
        return {
            "model": self._description(model),
            "pictures": stages,
            "session_bytes": held.total,
            "session_bytes_detail": dataclasses.asdict(held),
            **_flat(floors, "floor_ms"),
        }

    def _count(self, model: Model, picture: Picture) -> _Works | str:
        """What an open and a first click are, or why nobody can tell.

        Before the model is warm: compiled code shows no operations.
        """
        if not isinstance(model, SamModel):
            return "this model has no tensors"
        if self._device.type == "cuda":
            return HIDDEN_BY_A_GRAPH
        pixels = images.decode(picture.data, images.MAX_PIXELS)
        embedding = run_steps(model.encode(pixels))
        return _Works(
            encode_work(model, pixels),
            decode_work(model, embedding, picture),
            model.dtype,
        )

    def _served_floors(
        self, work: _Works | str, stages: Report, limits: _LimitsByDtype
    ) -> dict[str, Floor]:
        """Of a first click and of an open, by the model that is served."""
        if isinstance(work, str):
            none = without_floor(work)
            return {"decode_floor_ms_served": none, "encode_floor_ms_served": none}
        encode_ms = stages["open"]["stages_ms"]["encode"]["median"]
        decode_ms = stages["click_ms"]["first"]["decode"]["median"]
        return {
            "decode_floor_ms_served": floor_of(work.decode, limits[work.dtype], decode_ms),
            "encode_floor_ms_served": floor_of(work.encode, limits[work.dtype], encode_ms),
        }

    def _description(self, model: Model) -> Report:
        device = dtype = None
        if isinstance(model, SamModel):
            device, dtype = str(self._device), short_name(model.dtype)
        return {
            "name": model.name,
            "weights": self._options.weights,
            "input_size": model.input_size,
            "device": device,
            "dtype": dtype,
            "threads": torch.get_num_threads(),
        }

    def _stages(self, model: Model, picture: Picture) -> tuple[Report, Embedding]:
        options = self._options
        with self._bar(f"opens in process, {picture.name}", 1 + options.opens) as tick:
            opened, embedding = open_stages(
                model,
                picture,
                resize=_resize_of(model),
                synchronize=self._synchronize,
                count=options.opens,
                tick=tick,
                side=model.needed_side if options.settings.reduced_jpeg else None,
            )
        with self._bar(f"clicks in process, {picture.name}", self._rounds) as tick:
            clicks = click_stages(
                model,
                embedding,
                picture,
                warm_up=options.warm_up,
                count=options.count,
                tick=tick,
            )
        return {
            "jpeg_bytes": len(picture.data),
            "open": dataclasses.asdict(opened),
            "click_ms": {kind: _plain(figures) for kind, figures in clicks.items()},
        }, embedding

    def _round_trips(self, taken: tuple[Picture, ...]) -> dict[str, Report]:
        with contextlib.ExitStack() as stack:
            with self._bar("starting the server", 1):
                chosen = self._options.settings.model_dump(
                    include={"model", "checkpoint", "device", "dtype"}
                )
                address = stack.enter_context(running_server(chosen))
            return {picture.name: self._trips(address, picture) for picture in taken}

    def _trips(self, address: str, picture: Picture) -> Report:
        options = self._options
        steps = 1 + options.opens + self._rounds
        with self._bar(f"round trips, {picture.name}", steps) as tick:
            clicks, opens = measure_trips(
                address,
                picture,
                warm_up=options.warm_up,
                count=options.count,
                opens=options.opens,
                tick=tick,
            )
        return {**_plain(clicks), "open": dataclasses.asdict(opens)}

    def _wire_bytes(self, picture: Report) -> Report:
        """A first click's reply on the wire."""
        if self._options.untrained:
            detail = {"reason": "random weights see no things"}
            return {"mask_wire_bytes": None, "mask_wire_bytes_detail": detail}
        wire = picture["round_trip"]["first"]["wire_bytes"]
        return {"mask_wire_bytes": wire["median"], "mask_wire_bytes_detail": wire}

    def _decoders(self, picture: Picture, limits: _LimitsByDtype) -> Report:
        warm_up = min(_DECODE_WARM_UP, self._options.warm_up)
        rounds = warm_up + self._options.decode_pairs
        with self._bar("decoders in turn", rounds) as tick:
            duel = duel_of_decoders(
                picture,
                device=self._device,
                best=self._dtype,
                warm_up=warm_up,
                pairs=self._options.decode_pairs,
                limits=limits,
                tick=tick,
            )
        ratios, floors = _flat(duel.comparisons, "ratio"), _flat(duel.floors, "floor_ms")
        return ratios | floors | {"decode_largest_difference_fp32": duel.largest_difference}

    def _encoders(self, picture: Picture, limits: Limits) -> Report:
        options, chosen = self._options, self._options.settings.model
        name = chosen if chosen.startswith("vit") else "vit_b"
        if options.quick:
            reason = "left out by --quick"
            skipped = _encode_report(name, Comparison(None, reason), without_floor(reason))
            return skipped | {"current_flow_ms": None}
        with self._bar(f"encoders in turn, {name}", 1 + 2 * options.encode_pairs) as tick:
            duel = duel_of_encoders(
                random_sam(name),
                picture,
                device=self._device,
                best=self._dtype,
                pairs=options.encode_pairs,
                limits=limits,
                tick=tick,
            )
        return _encode_report(name, duel.comparison, duel.floor) | {
            "current_flow_ms": duel.current_flow_ms.median,
            "current_flow_ms_detail": {"model": name, **dataclasses.asdict(duel.current_flow_ms)},
        }

    @property
    def _rounds(self) -> int:
        return self._options.warm_up + self._options.count

    def _synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @contextlib.contextmanager
    def _bar(self, what: str, steps: int) -> Iterator[Callable[[], None]]:
        """A progress bar; call what it yields after each step."""
        task = self._bars.add_task(what, total=steps)
        try:
            yield partial(self._bars.advance, task)
        finally:
            self._bars.remove_task(task)


def _resize_of(model: Model) -> Callable[[RgbImage], object] | None:
    """What this model does to an image's pixels first, where it can be done apart."""
    if not isinstance(model, SamModel):
        return None

    def resize(pixels: RgbImage) -> object:
        return list(
            model.resized(pixels, Frame(pixels.shape[1], pixels.shape[0], model.input_size))
        )

    return resize


def _overhead(picture: Report) -> Report:
    """What the server adds to a first click."""
    stages = picture["click_ms"]["first"]
    inside_ms = sum(stages[stage]["median"] for stage in _MODEL_STAGES)
    trip_ms = picture["round_trip"]["first"]["trip_ms"]["median"]
    return {
        "server_overhead_ms": round(trip_ms - inside_ms, 4),
        "server_overhead_ms_detail": {
            "round_trip_median_ms": trip_ms,
            "in_process_median_ms": round(inside_ms, 4),
        },
    }


def _encode_report(name: str, comparison: Comparison, floor: Floor) -> Report:
    report = _flat({"encode_ratio_upstream": comparison}, "ratio")
    report |= _flat({"encode_floor_ms": floor}, "floor_ms")
    report["encode_floor_ms_detail"]["model"] = name
    return report


def _flat(found: Mapping[str, Comparison] | Mapping[str, Floor], number: str) -> Report:
    """Each one's `number` under its name, and where it comes from beside it."""
    flat: Report = {}
    for name, one in found.items():
        detail = dataclasses.asdict(one)
        flat[name] = detail.pop(number)
        flat[f"{name}_detail"] = detail
    return flat


def _plain(measured: Mapping[str, Figure] | Mapping[str, Any]) -> Report:
    return {name: dataclasses.asdict(figures) for name, figures in measured.items()}
