"""Every setting, read once from the environment (`SAMWIRE_*`) or the command line. The only reader.

A bad value is an error at start, never a silent default; an unknown `SAMWIRE_*` variable is warned
about, since it may be a misspelt setting. Each setting is described here and listed in
docs/operations.md; a test keeps the two the same.

In a pod, Kubernetes adds variables for every Service of the namespace. Those of a Service called
`samwire` or `samwire-...` start with our prefix, so they are not warned about. One of them,
SAMWIRE_PORT, clashes with a setting.
"""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.origins import is_origin

__all__ = ["Settings", "stray_variables"]

_PREFIX = "SAMWIRE_"
_SERVICE_VARIABLE = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_MIB = 1 << 20
_PILLOWS_PIXELS = 178_956_970  # above it Pillow refuses an image as a bomb
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Positive = Annotated[int, Field(gt=0)]
_NotNegative = Annotated[int, Field(ge=0)]


class Settings(BaseSettings):
    """What an operator may choose."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    # Where it listens, and to whom.
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="Port; 0 = any free one."
    )
    origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins allowed besides the server's own, comma-separated."
    )
    tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Bearer tokens accepted in `hello`, comma-separated; none = no token needed.",
    )

    # The model.
    model: Literal["tiny", "vit_b", "vit_l", "vit_h", "fake"] = Field(
        default="tiny",
        description="`tiny` (bundled), `vit_b`, `vit_l`, `vit_h` (official) or `fake` (tests).",
    )
    checkpoint: Path | None = Field(
        default=None, description="Weights to load instead of the model's own."
    )
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Precision: `auto` (what the device does well; float32 for the bundled "
        "model), `float32`, `bfloat16` or `float16`.",
    )
    threads: _NotNegative = Field(
        default=0, description="CPU threads of torch and ONNX Runtime; 0 = one per core."
    )
    max_decode_ms: _Seconds = Field(
        default=30.0,
        description="Longest a batch may take, ms; used only where batching saves time.",
    )

    reduced_jpeg: bool = Field(
        default=False,
        description=(
            "1 = read a JPEG much larger than the model's input at 1/2, 1/4 or 1/8 scale: faster "
            "opens, slightly different masks."
        ),
    )

    # Memory.
    cache_bytes: _NotNegative = Field(
        default=2048 * _MIB,
        description="Bytes of embeddings and remembered logits; 0 keeps no unused embedding.",
    )
    max_uploads_bytes: _Positive = Field(
        default=1024 * _MIB,
        description="Bytes of images being uploaded; as many again may wait for the encoder.",
    )
    max_sessions: _Positive = Field(
        default=256, description="Concurrent sessions, counted from `hello`."
    )
    max_sessions_per_address: _NotNegative = Field(
        default=0, description="Connections per client address; 0 = no limit."
    )
    max_image_bytes: _Positive = Field(default=32 * _MIB, description="Bytes of one image file.")
    max_image_pixels: Annotated[int, Field(gt=0, le=_PILLOWS_PIXELS)] = Field(
        default=40_000_000,
        description="Pixels of one image, checked in its header before any is decoded.",
    )
    max_outbox_bytes: _Positive = Field(
        default=4 * _MIB,
        description="Bytes of replies that may wait for a slow reader before it is closed.",
    )
    max_waiting_clicks: _Positive = Field(
        default=16, description="Clicks of one session that may wait at once."
    )
    kept_logits: _Positive = Field(
        default=32, description="Masks whose low-resolution logits a session keeps as priors."
    )

    # Time.
    hello_timeout_s: _Seconds = Field(default=5.0, description="Seconds for `hello` to arrive.")
    idle_timeout_s: _Seconds = Field(
        default=300.0, description="Seconds without a valid message before a session is closed."
    )
    spare_after_s: _Seconds = Field(
        default=30.0,
        description="Seconds idle until a session may be closed for its place or memory.",
    )
    upload_timeout_s: _Seconds = Field(
        default=30.0, description="Seconds between two `data` frames of an upload."
    )
    min_upload_bytes_per_s: _Positive = Field(
        default=4096, description="Bytes a second; a slower upload is ended, however fast it began."
    )
    request_timeout_s: _Seconds = Field(default=20.0, description="Seconds for a mask.")
    open_timeout_s: _Seconds = Field(
        default=120.0, description="Seconds for an image to be encoded, after its upload."
    )
    device_timeout_s: _Seconds = Field(
        default=30.0,
        description="Seconds for one piece of work; beyond it the server is not ready.",
    )
    send_timeout_s: _Seconds = Field(
        default=10.0, description="Seconds for one frame to be sent to a slow reader."
    )
    drain_timeout_s: _Seconds = Field(
        default=10.0, description="Seconds to finish work when stopping."
    )

    # Rates, per session.
    segments_per_s: _Seconds = Field(default=200.0, description="`segment` messages a second.")
    segment_burst: _Positive = Field(default=400, description="`segment` messages in one burst.")
    messages_per_s: _Positive = Field(
        default=2000, description="Messages of any kind a second; more is abuse."
    )
    max_errors_per_min: _Positive = Field(
        default=600, description="Failed frames, clicks and opens a minute; more is abuse."
    )

    @field_validator("port", mode="before")
    @classmethod
    def _is_no_address(cls, value: object) -> object:
        if isinstance(value, str) and _SERVICE_ADDRESS.match(value):
            raise ValueError(
                f"expected a number, got {value!r}. Kubernetes sets SAMWIRE_PORT to that because a "
                "Service is called samwire. Put `enableServiceLinks: false` into the pod's spec, "
                "or set SAMWIRE_PORT there yourself, e.g. to 8000"
            )
        return value

    @field_validator("origins", "tokens", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.strip():
            return ()
        parts = tuple(part.strip() for part in value.split(","))
        # A variable that expanded to nothing must not open the door.
        if not all(parts):
            raise ValueError("expected no empty part between the commas")
        return parts

    @field_validator("origins")
    @classmethod
    def _can_be_compared(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not is_origin(origin):
                raise ValueError(f"expected origins like https://example.org, got {origin!r}")
        return value

    @model_validator(mode="after")
    def _one_image_fits(self) -> Self:
        if self.max_image_bytes > self.max_uploads_bytes:
            raise ValueError("expected max_uploads_bytes to hold at least one max_image_bytes")
        return self


def stray_variables() -> list[str]:
    """A sentence about each `SAMWIRE_*` variable that is no setting, and so has no effect."""
    known = [name.upper() for name in Settings.model_fields]
    sentences = []
    for variable, value in sorted(os.environ.items()):
        prefix, name = variable[: len(_PREFIX)].upper(), variable[len(_PREFIX) :].upper()
        if prefix == _PREFIX and name not in known and not _is_a_services(name, value):
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {_PREFIX}{nearest[0]}?" if nearest else "see docs/operations.md"
            sentences.append(f"{variable} is no setting and has no effect; {hint}")
    return sentences


def _is_a_services(name: str, value: str) -> bool:
    links_to_it = name.endswith("_PORT") and _SERVICE_ADDRESS.match(value)
    return bool(links_to_it or _SERVICE_VARIABLE.fullmatch(name))
