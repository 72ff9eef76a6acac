"""Low-resolution logits -> masks at the image's size, as RLE; and a mask back to logits.

Runs on the post-processing thread. SAM enlarges its logits in two bilinear steps: to the model's
square input, then, without the padding, to the image. The same two steps are done here, so that
masks equal SamPredictor's; only the masks that are sent are enlarged.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from server import rle
from server.engine.models.base import Decoded
from server.engine.types import Logits, Mask
from server.errors import WireError
from server.geometry import Frame

__all__ = ["finish", "logits_of"]

_CERTAIN = 10.0  # logits of a pixel that a given mask covers wholly


def finish(decoded: Decoded, frame: Frame) -> tuple[tuple[Mask, ...], tuple[Logits, ...]]:
    """Each candidate's mask, and its logits as they are remembered.

    Raises:
        WireError: `internal` when the decoder gave something that is no number.
    """
    if not (np.isfinite(decoded.logits).all() and np.isfinite(decoded.scores).all()):
        raise WireError("internal", "the decoder gave no mask for this prompt")
    masks = tuple(
        _mask(plane, frame, float(score))
        for plane, score in zip(decoded.logits, decoded.scores, strict=True)
    )
    return masks, tuple(plane.astype(np.float16) for plane in decoded.logits)


def logits_of(mask: rle.Rle, frame: Frame, side: int) -> Logits:
    """Low-resolution logits (side x side) that say what `mask` says.

    Raises:
        WireError: `bad_field` for counts that are no RLE of this size.
    """
    try:
        pixels = rle.decode(mask)
    except ValueError as malformed:
        text = f"expected COCO RLE counts: {malformed}"
        raise WireError("bad_field", text, field="prior.counts") from None
    size = (frame.model_width, frame.model_height)
    covered = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    padded = np.zeros((frame.input_size, frame.input_size), np.float32)
    padded[: frame.model_height, : frame.model_width] = covered
    shrunk = cv2.resize(padded, (side, side), interpolation=cv2.INTER_AREA)
    return ((2.0 * shrunk - 1.0) * _CERTAIN).astype(np.float16)


def _mask(plane: NDArray[np.float32], frame: Frame, score: float) -> Mask:
    encoded = rle.encode(_enlarge(plane, frame))
    return Mask(
        size=encoded["size"],
        counts=encoded["counts"],
        bbox=rle.bbox(encoded),
        area=rle.area(encoded),
        score=min(1.0, max(0.0, score)),
    )


def _enlarge(plane: NDArray[np.float32], frame: Frame) -> rle.BinaryMask:
    size = (frame.input_size, frame.input_size)
    square = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    inside = square[: frame.model_height, : frame.model_width]
    full = cv2.resize(inside, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
    return full > 0.0
