import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pydantic import BaseModel

from server.config import Settings
from server.errors import CLOSE_CODES, ERRORS
from server.protocol import (
    CLIENT_MESSAGES,
    FEATURES,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_POINTS,
    MAX_PRIOR_BYTES,
    SERVER_MESSAGES,
    SUBPROTOCOL,
    ClientMessage,
    Data,
    Limits,
    MaskBody,
    ModelInfo,
    Open,
    Opened,
    OpenTimings,
    RleBody,
    SegmentTimings,
    ServerMessage,
    unpack_client,
    unpack_server,
)
from server.rle import encode
from tests.vectors.generate import from_json

DOC = (Path(__file__).parent.parent / "docs/protocol.md").read_text("utf-8")
MESSAGES: dict[str, Any] = {**CLIENT_MESSAGES, **SERVER_MESSAGES}
READ: dict[str, Callable[[bytes], ClientMessage | ServerMessage]] = {
    ">": unpack_client,
    "<": unpack_server,
}
PARTS: list[type[BaseModel]] = [RleBody, ModelInfo, OpenTimings, SegmentTimings, MaskBody]


def section(title: str) -> str:
    level = title.split(" ", maxsplit=1)[0]
    start = DOC.index(f"\n{title}\n")
    following = re.search(rf"^#{{1,{len(level)}}} ", DOC[start + len(title) + 2 :], re.MULTILINE)
    return DOC[start : start + len(title) + 2 + following.start() if following else None]


def exchange() -> list[tuple[str, bytes, Any]]:
    """Each frame of the worked exchange: its direction, its bytes, its fields."""
    block = section("## A worked exchange").split("```text\n")[1].split("```")[0]
    frames = []
    for frame in block.strip().split("\n\n"):
        packed, fields = frame.split("    {", maxsplit=1)
        digits = re.sub(r"\s", "", packed[1:])
        frames.append((packed[0], bytes.fromhex(digits), from_json(json.loads("{" + fields))))
    return frames


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_field_of_every_message_has_a_row(kind: str) -> None:
    text = section(f"### `{kind}`")

    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)

    assert named == [field for field in fields_of(MESSAGES[kind]) if field != "type"]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_field_within_a_field_is_named(part: type[BaseModel]) -> None:
    for field in part.model_fields:
        assert f"`{field}`" in section("## What the server sends")


def test_the_messages_are_those_of_the_protocol() -> None:
    assert re.findall(r"^### `(\w+)`$", DOC, re.MULTILINE) == list(MESSAGES)


@pytest.mark.parametrize("code", ERRORS)
def test_every_error_has_its_row(code: str) -> None:
    spec = ERRORS[code]
    closes = f" {spec.close_code} " if spec.close_code else " "

    assert f"\n| `{code}` | {spec.fault} |{closes}| {spec.meaning} |\n" in section("## Errors")


def test_no_error_is_named_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", section("## Errors"), re.MULTILINE)) == set(ERRORS)


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_every_close_code_has_its_row(code: int) -> None:
    assert f"\n| {code} | {CLOSE_CODES[code]} |\n" in section("## Closing, and coming back")


def test_limits_and_features_are_those_of_the_protocol() -> None:
    limits = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", section("## Limits"), re.MULTILINE)
    values = {name: int(value.replace(",", "")) for name, value in limits}

    assert list(values) == list(Limits.model_fields)
    assert values["max_frame_bytes"] == MAX_FRAME_BYTES
    assert values["max_data_bytes"] == MAX_DATA_BYTES
    assert values["max_points"] == MAX_POINTS
    assert values["max_prior_bytes"] == MAX_PRIOR_BYTES
    assert re.findall(r"^\| `(\w+)` \|", section("## Features"), re.MULTILINE) == list(FEATURES)


def test_limits_are_the_servers_defaults() -> None:
    limits = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", section("## Limits"), re.MULTILINE)

    for name, value in limits:
        if name in Settings.model_fields:
            assert Settings.model_fields[name].default == int(value.replace(",", "")), name


def test_the_subprotocol_is_named() -> None:
    assert DOC.startswith(f"# The protocol, {SUBPROTOCOL}\n")


@pytest.mark.parametrize(("who", "frame", "fields"), exchange())
def test_a_frame_of_the_worked_exchange_is_what_it_says(
    who: str, frame: bytes, fields: dict[str, Any]
) -> None:
    assert msgpack.unpackb(frame) == fields
    assert READ[who](frame).type == fields["type"]


def test_the_worked_exchange_opens_a_real_image() -> None:
    messages = [READ[who](frame) for who, frame, _ in exchange()]
    (opening,) = [m for m in messages if isinstance(m, Open)]
    (data,) = [m for m in messages if isinstance(m, Data)]
    (opened,) = [m for m in messages if isinstance(m, Opened)]

    assert opening.size == len(data.bytes)
    assert opening.sha256 == opened.sha256 == hashlib.sha256(data.bytes).hexdigest()


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_the_rle_code_reads_what_pycocotools_writes(mask: NDArray[np.bool_]) -> None:
    lengths = rle_code()(encode(mask)["counts"])

    inside = np.arange(len(lengths)) % 2 == 1
    assert np.array_equal(np.repeat(inside, lengths).reshape(mask.shape, order="F"), mask)


def test_links_within_the_page_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", DOC, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    assert set(re.findall(r"\]\(#([^)]+)\)", DOC)) <= anchors


def fields_of(message: type[BaseModel]) -> list[str]:
    """In the order of the page, where a mask's id comes before its body."""
    own = list(message.model_fields)
    inherited = [name for name in own if name in MaskBody.model_fields] if "rle" in own else []
    first = [name for name in own if name in {"id", "object"}] if inherited else []
    return first + inherited + [name for name in own if name not in {*first, *inherited}]


def rle_code() -> Callable[[bytes], list[int]]:
    code = section("## Masks: COCO RLE").split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(code, scope)  # noqa: S102 - the page's own code is what is tested
    runs: Callable[[bytes], list[int]] = scope["runs"]
    return runs
