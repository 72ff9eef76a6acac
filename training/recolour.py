"""A picture in other light and colours, its content unchanged."""

import cv2
import numpy as np

from training.sample import Pixels

__all__ = ["recolour"]


SWAPPED_SHARE = 0.08
"""Of the pictures, those whose colours change places."""


def recolour(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Brightness, contrast, gamma, tint; sometimes channels swapped, grey or blurred."""
    levels = np.arange(256, dtype=np.float32) / 255
    gain = np.exp(rng.uniform(-0.3, 0.3)) * np.exp(rng.uniform(-0.12, 0.12, 3))
    gamma, shift = np.exp(rng.uniform(-0.35, 0.35)), rng.uniform(-0.1, 0.1)
    table = np.stack([np.clip(levels**gamma * g + shift, 0, 1) * 255 for g in gain], axis=1)
    out = cv2.LUT(np.ascontiguousarray(pixels), table.astype(np.uint8)[:, None, :])
    if rng.random() < SWAPPED_SHARE:
        out = np.ascontiguousarray(out[:, :, rng.permutation(3)])
    if rng.random() < 0.08:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.15:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    return out.astype(np.uint8)
