"""Prompts painted into the mask that the bundled model is given as its prior.

The prompt encoder says where a click is by sines, which a small model trained briefly learns to
read only roughly. Its other input is a picture: the earlier mask. So the clicks and the box are
painted there too, and the model has them in front of its eyes. Free of torch; training paints with
twins of these lines (`training.twins`).

Logits that come back are clamped to the box, and raised a little first (more for a small box, of
which the model sees few cells and which is a good guess itself).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from server.engine.tokens import (
    EXCLUDE,
    INCLUDE,
    Token,
    box_coverage,
    clamp_to_box,
    tokens_of,
)
from server.engine.types import DecodeRequest
from server.geometry import Frame

__all__ = ["fit_to_box", "paint_prompt", "painted"]


PRIOR_LIMIT = 6.0
"""An earlier mask's logits are clipped to it, so that a click stands out."""
CLICK_LOGIT = 12.0
CLICK_RADIUS = 0.02
"""As a share of the side."""
INSIDE_BOX, OUTSIDE_BOX = 1.0, -4.0

LIFT, SMALL_LIFT, SMALL_SHARE = 0.5, 3.0, 0.015
"""Added to the logits of a box without clicks: to all, and to boxes under a share of the input."""


def painted(request: DecodeRequest, frame: Frame, side: int) -> DecodeRequest:
    """The same request with its prompt painted into its prior."""
    canvas = paint_prompt(tokens_of(request.prompt, frame), request.prior, side)
    return replace(request, prior=canvas.astype(np.float16))


def fit_to_box(logits: NDArray[np.float32], tokens: Sequence[Token]) -> NDArray[np.float32]:
    """K x side x side logits, clamped to the prompt's box if it has one."""
    side = logits.shape[-1]
    share = box_coverage(tokens, side)
    if share is None:
        return logits
    lift = 0.0
    if len(tokens) == 2:
        smallness = 1 - np.sqrt(share.mean() / SMALL_SHARE)
        lift = LIFT + SMALL_LIFT * max(0.0, float(smallness))
    return clamp_to_box(logits + np.float32(lift), share)


def paint_prompt(
    tokens: Sequence[Token],
    prior: NDArray[np.floating] | None,
    side: int,
) -> NDArray[np.float32]:
    """A side x side picture of the prompt over the earlier logits, if any."""
    if prior is not None:
        canvas: NDArray[np.float32] = np.clip(prior, -PRIOR_LIMIT, PRIOR_LIMIT).astype(np.float32)
    else:
        canvas = _box(tokens, side)
    middles = (np.arange(side, dtype=np.float32) + 0.5) / side
    for x, y, label in tokens:
        if label in {EXCLUDE, INCLUDE}:
            near = (middles[:, None] - y) ** 2 + (middles - x) ** 2 <= CLICK_RADIUS**2
            canvas[near] = CLICK_LOGIT if label == INCLUDE else -CLICK_LOGIT
    return canvas


def _box(tokens: Sequence[Token], side: int) -> NDArray[np.float32]:
    share = box_coverage(tokens, side)
    if share is None:
        return np.zeros((side, side), np.float32)
    return (OUTSIDE_BOX + (INSIDE_BOX - OUTSIDE_BOX) * share).astype(np.float32)
