import json
from pathlib import Path
from typing import Any

import msgpack
import pytest

from server import rle
from server.protocol import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    FrameError,
    MaskReply,
    pack,
    unpack_client,
    unpack_server,
)
from tests.vectors.generate import FILES, from_json

HERE = Path(__file__).parent / "vectors"


def cases(name: str) -> list[Any]:
    return [
        pytest.param(case, id=case["name"]) for case in json.loads((HERE / name).read_text("utf-8"))
    ]


def is_optional(message: type[Any], field: str) -> bool:
    return field != "type" and not message.model_fields[field].is_required()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_what_its_generator_writes(path: Path) -> None:
    assert path.read_text("utf-8") == FILES[path](), "run `python -m tests.vectors.generate`"


@pytest.mark.parametrize("case", cases("client.json"))
def test_a_clients_frame_is_read_as_its_fields_say(case: dict[str, Any]) -> None:
    fields = from_json(case["fields"])

    message = unpack_client(bytes.fromhex(case["hex"]))

    assert message == CLIENT_MESSAGES[fields["type"]].model_validate(tuples(fields))
    given = {name: value for name, value in fields.items() if value is not None}
    sent = msgpack.unpackb(pack(message))
    assert {name: sent[name] for name in given} == given
    assert sent.get("prior", "absent") == fields.get("prior", "absent")


@pytest.mark.parametrize("case", cases("client.json"))
def test_a_clients_frame_may_be_written_otherwise(case: dict[str, Any]) -> None:
    expected = unpack_client(bytes.fromhex(case["hex"]))

    for variant in case["variants"].values():
        message = unpack_client(bytes.fromhex(variant))

        assert message == expected
        assert pack(message) == pack(expected)


@pytest.mark.parametrize("case", cases("server.json"))
def test_the_server_sends_exactly_these_bytes(case: dict[str, Any]) -> None:
    fields = from_json(case["fields"])

    message = SERVER_MESSAGES[fields["type"]].model_validate(tuples(fields))

    assert pack(message).hex() == case["hex"]
    assert unpack_server(bytes.fromhex(case["hex"])) == message


@pytest.mark.parametrize("case", cases("server.json"))
def test_a_servers_frame_may_be_written_otherwise(case: dict[str, Any]) -> None:
    for variant in case["variants"].values():
        assert pack(unpack_server(bytes.fromhex(variant))).hex() == case["hex"]


@pytest.mark.parametrize("case", [case for case in cases("server.json") if "mask" in str(case.id)])
def test_a_golden_mask_has_the_area_and_box_it_says(case: Any) -> None:
    reply = unpack_server(bytes.fromhex(case["hex"]))

    assert isinstance(reply, MaskReply)
    for mask in (reply, *(reply.candidates or ())):
        packed = rle.Rle(size=mask.rle.size, counts=mask.rle.counts)
        assert rle.encode(rle.decode(packed)) == packed
        assert (rle.area(packed), rle.bbox(packed)) == (mask.area, mask.bbox)


@pytest.mark.parametrize("case", cases("refused.json"))
def test_a_frame_is_refused_by_code_field_and_request(case: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refusal:
        unpack_client(bytes.fromhex(case["hex"]))

    error = refusal.value
    assert (error.code, error.field, error.request_id) == (case["code"], case["field"], case["id"])
    assert error.message


@pytest.mark.parametrize(
    ("name", "messages"),
    [("client.json", CLIENT_MESSAGES), ("server.json", SERVER_MESSAGES)],
    ids=["client", "server"],
)
def test_every_optional_field_is_seen_present_and_absent(
    name: str, messages: dict[str, type[Any]]
) -> None:
    seen = [from_json(case.values[0]["fields"]) for case in cases(name)]

    for kind, message in messages.items():
        frames = [fields for fields in seen if fields["type"] == kind]
        assert frames, kind
        for field in message.model_fields:
            assert any(field in fields for fields in frames), f"{kind}.{field}"
            if is_optional(message, field):
                assert any(field not in fields for fields in frames), f"{kind} without {field}"


def tuples(value: Any) -> Any:
    """The messages are strict: what msgpack reads as a tuple has to be one."""
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value
