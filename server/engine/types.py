"""The engine's vocabulary: what goes in, what comes out. A leaf, without torch.

Coordinates are pixels of the opened image after EXIF orientation: x right, y down, (0, 0) the top
left corner of the top left pixel.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Box",
    "DecodeRequest",
    "Logits",
    "Mask",
    "MaskResult",
    "Point",
    "Prompt",
    "ReadImage",
    "RgbImage",
    "Size",
    "Timings",
    "Want",
]

Point = tuple[float, float, int]
"""x, y, label; label 1 = include, 0 = exclude."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 with x0 < x1 and y0 < y1."""

RgbImage = NDArray[np.uint8]
"""Height x width x 3."""

Size = tuple[int, int]
"""Width, height, in pixels."""

Logits = NDArray[np.float16]
"""Low-resolution logits, the mask decoder's own output: 256 x 256 for a 64 x 64 embedding."""

Want = Literal["single", "best", "all"]
"""Which mask tokens: 0 alone; the best of 1-3 by predicted IoU; 1-3, best first."""


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image that was read, upright."""

    rgb: RgbImage
    """All of its pixels, or a copy with fewer."""
    size: Size
    """Of the image itself, which prompts and masks are about."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Everything the annotator has said about one object."""

    points: tuple[Point, ...] = ()
    box: Box | None = None

    def extends(self, other: "Prompt") -> bool:
        """Whether `other` is a proper subset: the same box, its points a shorter prefix of ours."""
        shorter = len(other.points) < len(self.points)
        return (
            shorter and self.box == other.box and self.points[: len(other.points)] == other.points
        )


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One mask to decode on an open image; `prior` is the earlier logits to refine, if any."""

    prompt: Prompt
    want: Want
    prior: Logits | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask at the image's own size, as COCO compressed RLE."""

    size: tuple[int, int]
    """Height, width."""
    counts: bytes
    bbox: tuple[float, float, float, float]
    """x, y, width, height; all 0 for an empty mask."""
    area: int
    score: float
    """The predicted IoU, clipped to 0..1."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one decode went, in milliseconds; `batch` is how many shared the decode."""

    queue_ms: float
    decode_ms: float
    post_ms: float
    batch: int


@dataclass(frozen=True, slots=True)
class MaskResult:
    """The answer to one DecodeRequest: masks best first, and the logits each came from."""

    masks: tuple[Mask, ...]
    logits: tuple[Logits, ...]
    timings: Timings
