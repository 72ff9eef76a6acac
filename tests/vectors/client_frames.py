"""What clients may send: every message, every optional present and absent."""

from typing import Any

__all__ = ["CLIENT_FRAMES"]

MAX_ID = 2**53 - 1
DIGEST = "0123456789abcdef" * 4
POINT = [320.0, 240.0, 1]

CLIENT_FRAMES: dict[str, dict[str, Any]] = {
    "hello with nothing else": {"type": "hello"},
    "hello with a token": {"type": "hello", "token": "s3cret"},
    "hello with a client's name": {"type": "hello", "client": "samwire-python/0.1.0"},
    "hello with both": {"type": "hello", "token": "s3cret", "client": "marées & 図 🖍"},
    "hello with empty strings": {"type": "hello", "token": "", "client": ""},
    "hello with nil for what is absent": {"type": "hello", "token": None, "client": None},
    "open of one byte": {"type": "open", "id": 1, "size": 1},
    "open by digest": {"type": "open", "id": 2, "size": 184_320, "sha256": DIGEST},
    "open as a prefetch": {"type": "open", "id": 3, "size": 9, "sha256": DIGEST, "prefetch": True},
    "open that is no prefetch": {"type": "open", "id": 4, "size": 9, "prefetch": False},
    "open with the biggest id": {"type": "open", "id": MAX_ID, "size": 32 << 20},
    "data of one byte": {"type": "data", "id": 2, "bytes": b"\xff"},
    "data that looks like text": {"type": "data", "id": 2, "bytes": b"plain ASCII"},
    "data with a 16-bit length": {"type": "data", "id": 2, "bytes": bytes(range(256)) * 2},
    "segment with nothing but an id": {"type": "segment", "id": 5},
    "segment of one click": {"type": "segment", "id": 6, "points": [POINT]},
    "segment with every field": {
        "type": "segment",
        "id": 7,
        "object": 3,
        "points": [POINT, [10.5, 20.25, 0]],
        "box": [0.0, 0.0, 640.0, 480.0],
        "kind": "click",
        "candidates": True,
        "prior": [6, 2],
    },
    "segment without a prior": {"type": "segment", "id": 8, "points": [POINT], "prior": None},
    "segment from the first candidate": {
        "type": "segment",
        "id": 9,
        "points": [POINT],
        "prior": [1, 0],
    },
    "segment from the biggest id": {"type": "segment", "id": MAX_ID, "prior": [MAX_ID - 1, 0]},
    "segment from a mask": {
        "type": "segment",
        "id": 10,
        "prior": {"size": [480, 640], "counts": b"PP\\9"},
    },
    "segment from a mask of a map in another order": {
        "type": "segment",
        "id": 11,
        "prior": {"counts": b"01", "size": [1, 1]},
    },
    "segment of a box": {"type": "segment", "id": 12, "box": [1.5, 2.5, 3.5, 4.5]},
    "segment with nil for the box": {"type": "segment", "id": 13, "points": [POINT], "box": None},
    "segment as a hover": {"type": "segment", "id": 14, "points": [POINT], "kind": "hover"},
    "segment without candidates": {"type": "segment", "id": 15, "candidates": False},
    "segment of the biggest object": {
        "type": "segment",
        "id": 16,
        "object": MAX_ID,
        "points": [POINT],
    },
    "segment of 64 points": {
        "type": "segment",
        "id": 17,
        "points": [[float(n), n + 0.5, n % 2] for n in range(64)],
    },
    "segment on the corners of a big image": {
        "type": "segment",
        "id": 18,
        "points": [[0.0, 0.0, 1], [65535.0, 65535.0, 0]],
    },
    "segment whose numbers are not exact": {
        "type": "segment",
        "id": 19,
        "points": [[0.1, 1 / 3, 1], [1e-300, 5e-324, 0]],
    },
    "segment of an empty prompt": {"type": "segment", "id": 20, "points": []},
    "cancel": {"type": "cancel", "target": 7},
    "cancel of the biggest id": {"type": "cancel", "target": MAX_ID},
    "release of the default object": {"type": "release", "object": 0},
    "release": {"type": "release", "object": 3},
    "close": {"type": "close", "id": 21},
}
