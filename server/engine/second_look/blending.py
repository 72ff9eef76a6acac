"""How much the second look counts beside the first.

Its mask counts for every box and correction. For a lone click or a hover, which wants an answer at
once, it counts where it sees much more than the first did: in windows of up to a third of the
image, less and less in larger ones. Its verdict counts wherever it looked. Pure: numpy, no torch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.engine.second_look.window import Window
from server.engine.tokens import Token

__all__ = ["blend", "score_factor", "second_look_weight"]

FULL_WEIGHT_SIDE, NO_WEIGHT_SIDE = 0.35, 0.5
"""Sides of a lone click's window up to which the second look is believed, and from which not."""
LONE_CLICK_FACTOR = 0.7
"""Of a score of a lone click's mask: it says how good a mask of something it is, and what was meant
may be something else."""
SHARPEN = 2.5
"""The second network is right more often than it is sure."""

Field = NDArray[np.float32]


def second_look_weight(window: Window, tokens: Sequence[Token]) -> float:
    """How much the second look's answer counts, 0..1."""
    if len(tokens) > 1:
        return 1.0
    return min(1.0, max(0.0, (NO_WEIGHT_SIDE - window.side) / (NO_WEIGHT_SIDE - FULL_WEIGHT_SIDE)))


def score_factor(tokens: Sequence[Token]) -> float:
    """What either look's score is to be multiplied by, to be an IoU that can be expected."""
    return LONE_CLICK_FACTOR if len(tokens) == 1 else 1.0


def blend(first: Field, second: Field, weight: float) -> Field:
    """Both looks' logits in the window's cells, made one; `weight` 0..1 is the second's."""
    return np.asarray(weight * SHARPEN * second + (1 - weight) * first, np.float32)
