"""Write the golden frames: `python -m tests.vectors.generate`.

The frames are packed by msgpack from plain maps, not by `server.protocol`, so that they can
disagree with it. Bytes are written as {"$hex": "..."}; a field that is absent is absent.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from tests.vectors.client_frames import CLIENT_FRAMES
from tests.vectors.refused_frames import REFUSED_FRAMES
from tests.vectors.server_frames import SERVER_FRAMES

__all__ = ["FILES", "from_json"]

HERE = Path(__file__).parent


def accepted(direction: str, frames: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Frames to be read, each also in forms that mean the same."""
    return [
        {
            "name": name,
            "direction": direction,
            "hex": _hex(fields),
            "fields": _to_json(fields),
            "variants": _variants(fields),
        }
        for name, fields in frames.items()
    ]


def refused() -> list[dict[str, Any]]:
    """Frames to be refused: with which code, about which field, for which request."""
    return [
        {
            "name": name,
            "direction": "client",
            "hex": frame.hex() if isinstance(frame, bytes) else _hex(frame),
            "code": code,
            "field": field,
            "id": request_id,
        }
        for name, (frame, code, field, request_id) in REFUSED_FRAMES.items()
    ]


def render(cases: list[dict[str, Any]]) -> str:
    """One case a line, so that a change reads well."""
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    return f"[\n{lines}\n]\n"


def from_json(value: Any) -> Any:
    """Read fields back."""
    if isinstance(value, dict):
        if set(value) == {"$hex"}:
            return bytes.fromhex(value["$hex"])
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$hex": value.hex()}
    return _each(value, _to_json)


def _variants(fields: dict[str, Any]) -> dict[str, str]:
    forms = {
        "keys in another order": _shuffled(fields),
        "whole floats as ints": _with_numbers(fields, _as_int),
        "ints as floats": _with_numbers(fields, float),
    }
    packed = {name: _hex(form) for name, form in forms.items()}
    return {name: frame for name, frame in packed.items() if frame != _hex(fields)}


def _shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        random.Random(len(items)).shuffle(items)
        value = dict(items)
    return _each(value, _shuffled)


def _with_numbers(value: Any, change: Callable[[float], float]) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return change(value)
    return _each(value, lambda item: _with_numbers(item, change))


def _as_int(number: float) -> float:
    return int(number) if number == int(number) else number


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: change(item) for key, item in value.items()}
    return [change(item) for item in value] if isinstance(value, list) else value


def _hex(fields: dict[Any, Any]) -> str:
    frame: bytes = msgpack.packb(fields, use_bin_type=True)
    return frame.hex()


FILES: dict[Path, Callable[[], str]] = {
    HERE / "client.json": lambda: render(accepted("client", CLIENT_FRAMES)),
    HERE / "server.json": lambda: render(accepted("server", SERVER_FRAMES)),
    HERE / "refused.json": lambda: render(refused()),
}

if __name__ == "__main__":
    for path, content in FILES.items():
        path.write_text(content(), encoding="utf-8")
