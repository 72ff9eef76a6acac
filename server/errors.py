"""Every error a client can meet: its code, whose fault, its close code if it closes the connection.

The table is complete. Only a `WireError`'s own text leaves the process; any other exception
becomes `internal`, with its details in the log. Close codes tell a client what to do next: 40xx,
1002, 1003, 1009 stop and say so; 41xx, 1011, 1012, 1013 reconnect with back-off; 42xx reconnect
when the user next acts.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["CLOSE_CODES", "ERRORS", "ErrorSpec", "Fault", "WireError", "close_reason"]

Fault = Literal["client", "server", "overload"]


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the table."""

    fault: Fault
    close_code: int | None
    meaning: str


ERRORS: dict[str, ErrorSpec] = {
    # What arrived cannot be read.
    "text_frame": ErrorSpec("client", 1003, "A text frame; samwire speaks binary frames only."),
    "frame_too_big": ErrorSpec("client", 1009, "A frame over `max_frame_bytes`."),
    "bad_frame": ErrorSpec("client", None, "Not one msgpack map with a `type`."),
    "unknown_type": ErrorSpec("client", None, "A `type` this version does not have."),
    "unknown_field": ErrorSpec("client", None, "A field the message does not have."),
    "bad_field": ErrorSpec("client", None, "A field is missing, of a wrong type or out of range."),
    "bad_id": ErrorSpec("client", None, "`id` did not grow; it is never reused."),
    # This server has every feature and never sends it; one that lacks a feature would.
    "unsupported": ErrorSpec("client", None, "A feature that `welcome.features` does not list."),
    # The connection itself.
    "version": ErrorSpec("client", 1002, "No common protocol version."),
    "hello_required": ErrorSpec(
        "client", 1002, "The first message was not `hello`, or it came late."
    ),
    "unauthorized": ErrorSpec("client", 4001, "`hello.token` is missing or wrong."),
    "forbidden_origin": ErrorSpec("client", 4003, "The page's Origin is not allowed."),
    "abuse": ErrorSpec("client", 4008, "Kept sending over the rate, or kept sending errors."),
    "slow_reader": ErrorSpec("client", 4102, "Replies pile up because they are not read."),
    "idle": ErrorSpec(
        "client", 4204, "No valid message for `idle_timeout_s`, or the place was needed."
    ),
    "full": ErrorSpec(
        "overload",
        1013,
        "No free place, in all or for this address, or the model is not ready.",
    ),
    "restarting": ErrorSpec("server", 1012, "The server is going away; reconnect."),
    # Images.
    "not_open": ErrorSpec("client", None, "No image is open."),
    "image_too_large": ErrorSpec("client", None, "More bytes than `max_image_bytes`."),
    "too_many_pixels": ErrorSpec(
        "client", None, "More pixels than `max_image_pixels`, or over 65,535 a side."
    ),
    "bad_image": ErrorSpec("client", None, "Not a readable image of an accepted format."),
    "sha256_mismatch": ErrorSpec("client", None, "The bytes do not have the `sha256` announced."),
    "bad_data": ErrorSpec("client", None, "`data` nobody waits for, or more of it than `size`."),
    "upload_stalled": ErrorSpec(
        "client", None, "No `data` for `upload_timeout_s`, or under `min_upload_bytes_per_s`."
    ),
    # Prompts.
    "no_positive_prompt": ErrorSpec("client", None, "No include point, no box and no prior."),
    "prior_gone": ErrorSpec("client", None, "The logits named by `prior` are no longer kept."),
    "mask_too_complex": ErrorSpec("client", None, "The mask's RLE does not fit a frame."),
    # Load.
    "busy": ErrorSpec(
        "overload",
        None,
        "`max_waiting_clicks` clicks of this session, or 1 MiB of given masks, already wait.",
    ),
    "rate_limited": ErrorSpec("overload", None, "Over `segments_per_s`; slow down."),
    "overload": ErrorSpec("overload", None, "No memory or no time for this now; try again."),
    "timeout": ErrorSpec(
        "server",
        None,
        "No mask within `request_timeout_s`, or image not encoded within `open_timeout_s`.",
    ),
    "internal": ErrorSpec("server", None, "A fault of the server; its log says more."),
}

CLOSE_CODES: dict[int, str] = {
    1000: "Done.",
    1002: "Protocol: no common version, or no `hello` first. Stop and say so.",
    1003: "A text frame. Stop and say so.",
    1009: "A frame too big. Stop and say so.",
    1011: "The server's fault. Reconnect with back-off.",
    1012: "The server restarts. Reconnect with back-off.",
    1013: "Full. Reconnect with back-off.",
    4001: "Token missing or wrong. Stop and say so.",
    4003: "Origin not allowed. Stop and say so.",
    4008: "Abuse. Stop and say so.",
    4102: "Slow reader. Reconnect with back-off.",
    4204: "Idle. Reconnect when the user next acts.",
}


_REASON_BYTES = 123  # what a close frame has room for


def close_reason(code: str, sentence: str) -> str:
    """What a close frame says, cut to what it holds."""
    return f"{code}: {sentence}".encode()[:_REASON_BYTES].decode(errors="ignore")


class WireError(Exception):
    """An error fit for the wire.

    Args:
        code: a key of `ERRORS`.
        message: one sentence that says what was expected.
        field: the offending field of the request, dotted (`points.3.1`).
        retry_after: seconds after which the same request may succeed.

    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.spec = ERRORS[code]
        self.message = message
        self.field = field
        self.retry_after = retry_after

    def __str__(self) -> str:
        where = f" ({self.field})" if self.field else ""
        return f"{self.code}{where}: {self.message}"
