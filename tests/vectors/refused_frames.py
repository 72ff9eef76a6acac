"""What a server must refuse: the frame, then the code, the field and the request it belongs to."""

from typing import Any

import msgpack

__all__ = ["REFUSED_FRAMES"]

Refusal = tuple[bytes | dict[Any, Any], str, str | None, int | None]
NAN, INFINITY = float("nan"), float("inf")


def _segment(**fields: object) -> dict[str, object]:
    return {"type": "segment", "id": 5, **fields}


def _bad_segment(field: str, **fields: object) -> Refusal:
    return _segment(**fields), "bad_field", field, 5


def _open(**fields: object) -> dict[str, object]:
    return {"type": "open", "id": 5, "size": 9, **fields}


def _twice(key: bytes) -> bytes:
    return b"\x83\xa4type\xa5close\xa2id\x01" + key + b"\x01"


UNREADABLE: dict[str, Refusal] = {
    name: (frame, "bad_frame", None, None)
    for name, frame in {
        "nothing at all": b"",
        "half a map": b"\x81\xa4type",
        "a map and a byte": b"\x81\xa4type\xa5hello\x00",
        "two maps": b"\x81\xa4type\xa5hello" * 2,
        "a byte msgpack never uses": b"\xc1",
        "a list": msgpack.packb(["type", "hello"]),
        "a number": b"\x01",
        "nil": b"\xc0",
        "a string": b"\xa5hello",
        "JSON": b'{"type": "hello"}',
        "an int as a key": b"\x82\xa4type\xa5hello\x01\x01",
        "bytes as a key": b"\x81\xc4\x04type\xa5hello",
        "nil as a key": b"\x82\xa4type\xa5hello\xc0\x01",
        "a map as a key": b"\x82\xa4type\xa5hello\x80\x01",
        "a key that comes twice": _twice(b"\xa2id"),
        "a type that comes twice": b"\x82\xa4type\xa5hello\xa4type\xa5close",
        "a string that is not UTF-8": b"\x82\xa4type\xa5hello\xa5token\xa1\xff",
        "half a surrogate pair": b"\x82\xa4type\xa5hello\xa5token\xa3\xed\xa0\x80",
        "a timestamp": b"\x82\xa4type\xa5hello\xa5token\xd6\xff\x00\x00\x00\x00",
        "an extension": b"\x82\xa4type\xa5hello\xa5token\xd4\x05\x00",
        "a list said to have 2^32 - 1 items": b"\x82\xa4type\xa7segment\xa6points\xdd"
        + b"\xff" * 4,
        "a map said to have 2^32 - 1 items": b"\xdf" + b"\xff" * 4,
        "bytes said to be 2^32 - 1 long": b"\x82\xa4type\xa4data\xa5bytes\xc6" + b"\xff" * 4,
        "a string said to be 2^32 - 1 long": b"\x82\xa4type\xa5hello\xa5token\xdb" + b"\xff" * 4,
        "lists in lists, 5,000 deep": b"\x82\xa4type\xa5hello\xa5token" + b"\x91" * 5000 + b"\xc0",
        "maps in maps, 5,000 deep": b"\x81\xa1a" * 5000 + b"\xc0",
        "a map of 65 fields": msgpack.packb({"type": "hello"} | {f"f{n}": n for n in range(64)}),
        "3,000 empty lists": msgpack.packb(
            _segment(points=[[[]] * 1000, [[]] * 1000, [[]] * 1000])
        ),
        "1,025 points": msgpack.packb(_segment(points=[0] * 1025)),
        "129 points": msgpack.packb(_segment(points=[0] * 129)),
        "21 points of 100 numbers": msgpack.packb(_segment(points=[[0] * 100] * 21)),
    }.items()
}

UNKNOWN: dict[str, Refusal] = {
    "no type": ({"id": 5}, "unknown_type", "type", 5),
    "an empty map": ({}, "unknown_type", "type", None),
    "a type nobody has": ({"type": "undo", "id": 5}, "unknown_type", "type", 5),
    "a type of the server's": ({"type": "mask", "id": 5}, "unknown_type", "type", 5),
    "a type that is a number": ({"type": 3, "id": 5}, "unknown_type", "type", 5),
    "a type that is bytes": ({"type": b"hello"}, "unknown_type", "type", None),
    "an unknown type with a bad id": ({"type": "undo", "id": True}, "unknown_type", "type", None),
    "a field nobody has": (_segment(simplify=True), "unknown_field", "simplify", 5),
    "hello with an id": ({"type": "hello", "id": 5}, "unknown_field", "id", 5),
    "cancel with an unknown field": (
        {"type": "cancel", "target": 3, "why": ""},
        "unknown_field",
        "why",
        None,
    ),
    "a field of a name that is no name": (_segment(**{"not a name": 1}), "unknown_field", None, 5),
    "a field of a very long name": (_segment(**{"n" * 300: 1}), "unknown_field", "n" * 100, 5),
    "a mask prior with an unknown field": (
        _segment(prior={"size": [1, 1], "counts": b"01", "order": "F"}),
        "unknown_field",
        "prior.order",
        5,
    ),
}

MISTYPED: dict[str, Refusal] = {
    "no id": ({"type": "close"}, "bad_field", "id", None),
    "nil as the id": ({"type": "close", "id": None}, "bad_field", "id", None),
    "an id of 0": ({"type": "close", "id": 0}, "bad_field", "id", None),
    "an id below 0": ({"type": "close", "id": -1}, "bad_field", "id", None),
    "an id of 2^53": ({"type": "close", "id": 2**53}, "bad_field", "id", None),
    "an id of 2^64 - 1": ({"type": "close", "id": 2**64 - 1}, "bad_field", "id", None),
    "an id that is true": ({"type": "close", "id": True}, "bad_field", "id", None),
    "an id with a fraction": ({"type": "close", "id": 5.5}, "bad_field", "id", None),
    "an id that is infinite": ({"type": "close", "id": INFINITY}, "bad_field", "id", None),
    "an id that is text": ({"type": "close", "id": "5"}, "bad_field", "id", None),
    "a token that is bytes": ({"type": "hello", "token": b"s"}, "bad_field", "token", None),
    "a token of 4,097": ({"type": "hello", "token": "x" * 4097}, "bad_field", "token", None),
    "a client's name of 257": ({"type": "hello", "client": "x" * 257}, "bad_field", "client", None),
    "open without a size": ({"type": "open", "id": 5}, "bad_field", "size", 5),
    "open of nothing": (_open(size=0), "bad_field", "size", 5),
    "open of half a byte": (_open(size=0.5), "bad_field", "size", 5),
    "a digest in capitals": (_open(sha256="A" * 64), "bad_field", "sha256", 5),
    "a digest of 63": (_open(sha256="a" * 63), "bad_field", "sha256", 5),
    "a digest with a line's end": (_open(sha256="a" * 64 + "\n"), "bad_field", "sha256", 5),
    "a digest as bytes": (_open(sha256=bytes(32)), "bad_field", "sha256", 5),
    "a prefetch that is 1": (_open(prefetch=1), "bad_field", "prefetch", 5),
    "data of no bytes": ({"type": "data", "id": 5, "bytes": b""}, "bad_field", "bytes", None),
    "data that is text": ({"type": "data", "id": 5, "bytes": "ff"}, "bad_field", "bytes", None),
    "data without bytes": ({"type": "data", "id": 5}, "bad_field", "bytes", None),
    "cancel without a target": ({"type": "cancel"}, "bad_field", "target", None),
    "release without an object": ({"type": "release"}, "bad_field", "object", None),
    "release of an object below 0": (
        {"type": "release", "object": -1},
        "bad_field",
        "object",
        None,
    ),
}

PROMPTS: dict[str, Refusal] = {
    "an object below 0": _bad_segment("object", object=-1),
    "an object of 2^53": _bad_segment("object", object=2**53),
    "an object that is nil": _bad_segment("object", object=None),
    "points that are nil": _bad_segment("points", points=None),
    "points that are a map": _bad_segment("points", points={"0": [1, 1, 1]}),
    "65 points": _bad_segment("points", points=[[1, 1, 1]] * 65),
    "a point of two": _bad_segment("points.0.2", points=[[1, 1]]),
    "a point of four": _bad_segment("points.1", points=[[1, 1, 1], [1, 1, 1, 1]]),
    "a point as a map": _bad_segment("points.0", points=[{"x": 1, "y": 1, "label": 1}]),
    "a coordinate that is text": _bad_segment("points.0.0", points=[["1", 1, 1]]),
    "a coordinate that is true": _bad_segment("points.0.1", points=[[1, True, 1]]),
    "a coordinate that is no number": _bad_segment("points.0.0", points=[[NAN, 1, 1]]),
    "a coordinate that is infinite": _bad_segment(
        "points.3.1", points=[[1, 1, 1]] * 3 + [[1, -INFINITY, 1]]
    ),
    "a label of 2": _bad_segment("points.0.2", points=[[1, 1, 2]]),
    "a label of -1": _bad_segment("points.0.2", points=[[1, 1, -1]]),
    "a label that is true": _bad_segment("points.0.2", points=[[1, 1, True]]),
    "a label of a half": _bad_segment("points.0.2", points=[[1, 1, 0.5]]),
    "a box of three": _bad_segment("box.3", box=[1, 1, 2]),
    "a box of five": _bad_segment("box", box=[1, 1, 2, 2, 3]),
    "a box with nil in it": _bad_segment("box.1", box=[1, None, 2, 2]),
    "a box with no number in it": _bad_segment("box.2", box=[1, 1, NAN, 2]),
    "a kind nobody has": _bad_segment("kind", kind="drag"),
    "candidates that are 1": _bad_segment("candidates", candidates=1),
    "a prior that is a number": _bad_segment("prior", prior=4),
    "a prior of one": _bad_segment("prior.1", prior=[4]),
    "a prior of the fourth candidate": _bad_segment("prior.1", prior=[4, 3]),
    "a prior of candidate -1": _bad_segment("prior.1", prior=[4, -1]),
    "a prior of request 0": _bad_segment("prior.0", prior=[0, 0]),
    "a prior of request true": _bad_segment("prior.0", prior=[True, 0]),
    "a prior that is an empty map": _bad_segment("prior.size", prior={}),
    "a mask prior without counts": _bad_segment("prior.counts", prior={"size": [1, 1]}),
    "a mask prior whose counts are text": _bad_segment(
        "prior.counts", prior={"size": [1, 1], "counts": "01"}
    ),
    "a mask prior of a negative size": _bad_segment(
        "prior.size.0", prior={"size": [-1, 1], "counts": b"01"}
    ),
    # Whole, and finite, but their product is not: what a mask costs is asked before its size.
    "a mask prior of a size beyond all numbers": _bad_segment(
        "prior.size.0", prior={"size": [1e308, 1e308], "counts": b"01"}
    ),
    "a mask prior of a size of 2^53": _bad_segment(
        "prior.size.1", prior={"size": [1, 2**53], "counts": b"01"}
    ),
    "a mask prior of one dimension": _bad_segment(
        "prior.size.1", prior={"size": [1], "counts": b"01"}
    ),
}

REFUSED_FRAMES: dict[str, Refusal] = {**UNREADABLE, **UNKNOWN, **MISTYPED, **PROMPTS}
