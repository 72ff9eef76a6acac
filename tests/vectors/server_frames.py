"""What the server sends: every message, every optional present and absent, fields in our order."""

from typing import Any

__all__ = ["SERVER_FRAMES"]

MAX_ID = 2**53 - 1
DIGEST = "fedcba9876543210" * 4
TIMINGS = {"queue_ms": 0.25, "decode_ms": 14.5, "post_ms": 1.0, "batch": 1}
SMALL = {
    "rle": {"size": [3, 4], "counts": b"426"},  # the pixels x 1, y 1-2
    "bbox": [1.0, 1.0, 1.0, 2.0],
    "area": 2,
    "score": 0.75,
}
WHOLE = {
    "rle": {"size": [3, 4], "counts": b"0<"},
    "bbox": [0.0, 0.0, 4.0, 3.0],
    "area": 12,
    "score": 1.0,
}
EMPTY = {
    "rle": {"size": [3, 4], "counts": b"<"},
    "bbox": [0.0, 0.0, 0.0, 0.0],
    "area": 0,
    "score": 0.0,
}
LIMITS = {
    "max_frame_bytes": 1 << 20,
    "max_data_bytes": 256 << 10,
    "max_image_bytes": 32 << 20,
    "max_image_pixels": 40_000_000,
    "max_points": 64,
    "max_waiting_clicks": 16,
    "idle_timeout_s": 300.0,
    "segments_per_s": 60.0,
    "max_prior_bytes": 256 << 10,
}
WELCOME = {
    "type": "welcome",
    "session": "s-5f2c9a",
    "protocol": "samwire.v1",
    "server": "samwire/0.1.0",
    "model": {"name": "tiny", "input_size": 384},
    "limits": LIMITS,
}


def _mask(body: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"type": "mask", **body, **fields}


SERVER_FRAMES: dict[str, dict[str, Any]] = {
    "welcome": {**WELCOME, "features": ["candidates", "prefetch", "prior_rle"]},
    "welcome without features": {**WELCOME, "features": []},
    "send": {"type": "send", "id": 1},
    "send of the biggest id": {"type": "send", "id": MAX_ID},
    "progress of an upload": {"type": "progress", "id": 1, "stage": "upload", "fraction": 0.5},
    "progress at the start": {"type": "progress", "id": 1, "stage": "download", "fraction": 0.0},
    "progress of decoding": {"type": "progress", "id": 1, "stage": "decode", "fraction": 1.0},
    "progress of encoding": {"type": "progress", "id": 1, "stage": "encode", "fraction": 0.125},
    "progress while waiting": {
        "type": "progress",
        "id": 1,
        "stage": "waiting",
        "fraction": 0.0,
        "ahead": 3,
    },
    "progress with nobody ahead": {
        "type": "progress",
        "id": 1,
        "stage": "waiting",
        "fraction": 0.0,
        "ahead": 0,
    },
    "opened": {
        "type": "opened",
        "id": 1,
        "width": 640,
        "height": 480,
        "sha256": DIGEST,
        "cached": False,
        "timings": {"wait_ms": 0.5, "decode_ms": 12.0, "encode_ms": 310.25},
    },
    "opened from the cache": {
        "type": "opened",
        "id": 2,
        "width": 1,
        "height": 65_536,
        "sha256": DIGEST,
        "cached": True,
        "timings": {"wait_ms": 0.0, "decode_ms": 0.0, "encode_ms": 0.0},
    },
    "mask": _mask(SMALL, id=6, object=0, prior=None, timings=TIMINGS),
    "mask refined from an earlier one": _mask(SMALL, id=7, object=3, prior=6, timings=TIMINGS),
    "mask of the biggest ids": _mask(
        SMALL, id=MAX_ID, object=MAX_ID, prior=MAX_ID - 1, timings=TIMINGS
    ),
    "mask of the whole image": _mask(WHOLE, id=8, object=0, prior=None, timings=TIMINGS),
    "mask without a pixel": _mask(EMPTY, id=9, object=0, prior=None, timings=TIMINGS),
    "mask with candidates, best first": _mask(
        WHOLE, id=10, object=1, prior=None, candidates=[WHOLE, SMALL, EMPTY], timings=TIMINGS
    ),
    "mask from a batch": _mask(
        SMALL, id=11, object=0, prior=None, timings={**TIMINGS, "batch": 64}
    ),
    "done": {"type": "done", "id": 12},
    "superseded": {"type": "superseded", "id": 13},
    "superseded by a newer one": {"type": "superseded", "id": 13, "by": 14},
    "error of a request": {
        "type": "error",
        "id": 15,
        "code": "not_open",
        "message": "expected an open image; send `open` first",
        "fault": "client",
    },
    "error of a field": {
        "type": "error",
        "id": 15,
        "code": "bad_field",
        "message": "expected a number",
        "field": "points.3.1",
        "fault": "client",
    },
    "error without a request": {
        "type": "error",
        "code": "bad_frame",
        "message": "expected one msgpack map with string keys",
        "fault": "client",
    },
    "error to try again after": {
        "type": "error",
        "id": 16,
        "code": "busy",
        "message": "16 clicks already wait; wait for a reply",
        "fault": "overload",
        "retry_after": 0.1,
    },
    "error of the server's": {
        "type": "error",
        "id": 17,
        "code": "internal",
        "message": "a fault of the server — its log says more",
        "fault": "server",
    },
    "draining": {"type": "draining", "deadline_s": 10.0},
}
