"""The report as tables for a person."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from server.bench.pictures import KINDS
from server.bench.stages import CLICK_STAGES, OPEN_STAGES

__all__ = ["show"]

_KIND_NAMES = {
    "first": "first click",
    "refined": "refined",
    "box": "box",
    "candidates": "candidates",
    "hover": "hover",
}
_PEER_NAMES = {
    "decode_ratio_upstream": "click, SamPredictor.predict",
    "decode_ratio_upstream_fp32": "click, SamPredictor.predict",
    "decode_ratio_onnxruntime": "click, ONNX Runtime",
    "decode_ratio_onnxruntime_fp32": "click, ONNX Runtime",
    "decode_ratio_mask_decoder": "logits, bare MaskDecoder",
    "decode_ratio_mask_decoder_fp32": "logits, bare MaskDecoder",
    "encode_ratio_upstream": "encode, .set_image",
}
_FLOOR_NAMES = {
    "decode_floor_ms": "decode, SAM's dimensions",
    "decode_floor_ms_fp32": "decode, SAM's dimensions",
    "decode_floor_ms_served": "decode, as served",
    "encode_floor_ms": "encode, SAM's ViT",
    "encode_floor_ms_served": "encode, as served",
}


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print every table."""
    console.print(Group(*_parts(report)))


def _parts(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(_about(report))
    for name, picture in report["pictures"].items():
        yield _clicks(name, picture["click_ms"])
        yield _trips(name, picture["round_trip"])
    yield _opens(report["pictures"])
    yield _peers(report)
    yield _floors(report)
    yield Text(_headlines(report))


def _about(report: Mapping[str, Any]) -> str:
    model, machine, method = report["model"], report["machine"], report["method"]
    where = machine["gpu"] or f"{machine['cores']} cores of {machine['processor']}"
    untrained = "\nrandom weights see no things: resize, rle and bytes are not a real mask's"
    return (
        f"{model['name']} ({model['weights']} weights), {model['dtype'] or 'no tensors'}, on "
        f"{where}; torch {machine['torch']}, {model['threads']} threads; load "
        f"{machine['load_average']} at the start\n"
        f"{method['warm_up']} warm-up + {method['timed']} timed rounds, one client, a "
        f"{method['picture']} picture; milliseconds: median (99th percentile)"
        f"{untrained if report['mask_wire_bytes'] is None else ''}"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=bool(column), justify="right" if column else "left")
    return table


def _clicks(name: str, click_ms: Mapping[str, Any]) -> Table:
    table = _table(f"a click in process, {name}", "", *_KIND_NAMES.values())
    for stage in CLICK_STAGES:
        table.add_row(stage, *(_ms(click_ms[kind][stage]["median"]) for kind in KINDS))
    table.add_row("total", *(_ms(click_ms[kind]["total"]["median"]) for kind in KINDS))
    table.add_row("99th percentile", *(_ms(click_ms[kind]["total"]["p99"]) for kind in KINDS))
    return table


def _trips(name: str, trips: Mapping[str, Any]) -> Table:
    columns = ("", "round trip", "of it queue", "decode", "post", "reply bytes")
    table = _table(f"a click through the socket, {name}", *columns)
    for kind in KINDS:
        trip = trips[kind]
        told = [_ms(trip["told_ms"][part]["median"]) for part in ("queue", "decode", "post")]
        wire = f"{trip['wire_bytes']['median']:.0f}"
        table.add_row(_KIND_NAMES[kind], _both(trip["trip_ms"]), *told, wire)
    return table


def _opens(taken: Mapping[str, Any]) -> Table:
    table = _table("an open", "", *taken)
    opens = [picture["open"] for picture in taken.values()]
    trips = [picture["round_trip"]["open"] for picture in taken.values()]
    for stage in OPEN_STAGES:
        table.add_row(stage, *(_ms(opened["stages_ms"][stage]["median"]) for opened in opens))
    table.add_row("total", *(_both(opened["stages_ms"]["total"]) for opened in opens))
    table.add_row("encode steps", *(str(opened["encode_steps"]) for opened in opens))
    table.add_row("longest step", *(_both(opened["longest_step_ms"]) for opened in opens))
    table.add_row("through the socket", *(_both(trip["upload_ms"]) for trip in trips))
    table.add_row("again, by sha256", *(_both(trip["reopen_ms"]) for trip in trips))
    return table


def _peers(report: Mapping[str, Any]) -> Table:
    columns = ("", "peer", "ours", "ours in", "pairs", "ratio")
    table = _table("peers, float32, in interleaved pairs", *columns)
    for key, name in _PEER_NAMES.items():
        ratio, detail = report[key], report[f"{key}_detail"]
        if ratio is None:
            table.add_row(Text(f"{name}: {detail['reason']}"))  # brackets are no markup
            continue
        table.add_row(
            name,
            _ms(detail["peer_median_ms"]),
            _ms(detail["our_median_ms"]),
            detail["our_dtype"],
            str(detail["pairs"]),
            f"{ratio:.2f}",
        )
    return table


def _floors(report: Mapping[str, Any]) -> Table:
    columns = ("", "floor", "ours", "times the floor", "in", "bound by")
    table = _table("the least time this machine could take", *columns)
    for key, name in _FLOOR_NAMES.items():
        floor_ms, detail = report[key], report[f"{key}_detail"]
        if floor_ms is None:
            table.add_row(Text(f"{name}: {detail['reason']}"))
            continue
        table.add_row(
            name,
            _ms(floor_ms),
            _ms(detail["measured_ms"]),
            f"{detail['times_the_floor']:.2f}",
            detail["limits"]["dtype"],
            detail["bound_by"],
        )
    return table


def _headlines(report: Mapping[str, Any]) -> str:
    detail = report["session_bytes_detail"]
    parts = f"{detail['embedding']} of embedding, {detail['logits']} of logits"
    lines = [
        f"the server adds {_ms(report['server_overhead_ms'])} ms to a first click",
        f"a session keeps at most {report['session_bytes']} bytes: {parts}",
    ]
    if report["mask_wire_bytes"] is not None:
        lines.append(f"a mask takes {report['mask_wire_bytes']:.0f} bytes on the wire (median)")
    if report["current_flow_ms"] is not None:
        flow = f"{report['current_flow_ms']:.0f} ms"
        lines.append(f"download, embed and decode at each click, by upstream's code: {flow}")
    return "\n".join(lines)


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _both(figure: Mapping[str, float]) -> str:
    return f"{_ms(figure['median'])} ({_ms(figure['p99'])})"
