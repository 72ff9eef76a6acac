"""Cut-outs pasted on a picture: scaled, turned, shadowed; the masks below lose what is covered.

A cut-out is drawn art with its alpha, or an object cut from a photo along its drawn mask.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cache import Cache
from training.crops import warp
from training.recolour import recolour
from training.sample import Pixels, Sample
from training.sources import CUTOUTS, cut_out, present

__all__ = ["paste"]

LEAST_PIXELS = 400
"""Of a drawn mask that is worth cutting out."""
MOST_DRAWS = 1000
"""Until a cut-out is found."""


def paste(cache: Cache, base: Sample, grid: int, count: int, rng: np.random.Generator) -> Sample:
    """The sample with `count` cut-outs more, each on top of those before; masks are grid x grid."""
    canvas, masks = base.pixels.astype(np.float32), list(base.masks)
    size = len(canvas)
    for _ in range(count):
        layer = _cutout_layer(cache, size, rng)
        alpha = np.asarray(layer[:, :, 3:] / 255, np.float32)
        if rng.random() < 0.35:
            canvas *= 1 - rng.uniform(0.2, 0.6) * _shadow(alpha, size, rng)
        canvas += alpha * (layer[:, :, :3] - canvas)
        cover = cv2.resize(alpha[:, :, 0], (grid, grid), interpolation=cv2.INTER_AREA)
        opaque = cover > 0.5
        masks = [m & ~opaque for m in masks]
        masks.append(np.asarray(opaque))
    return Sample(np.clip(canvas, 0, 255).astype(np.uint8), masks)


def _cutout_layer(cache: Cache, size: int, rng: np.random.Generator) -> Pixels:
    """One object, scaled, turned and placed on a transparent square."""
    rgba = _cutout(cache, rng)
    height, width = rgba.shape[:2]
    extent = size * float(np.exp(rng.uniform(np.log(0.12), np.log(0.8))))
    scale = extent / max(height, width) * (-1 if rng.random() < 0.5 else 1)
    turn = rng.normal(0, 0.35) if rng.random() < 0.6 else 0.0
    squeeze = np.exp(rng.uniform(-0.2, 0.2))
    cos, sin = np.cos(turn) * abs(scale), np.sin(turn) * abs(scale)
    linear = np.array(
        [[cos * np.sign(scale) * squeeze, -sin], [sin * np.sign(scale), cos / squeeze]]
    )
    centre = rng.uniform(0.05, 0.95, 2) * size
    offset = centre - linear @ np.array([width / 2, height / 2])
    layer = warp(rgba, np.hstack([linear, offset[:, None]]), size)
    layer[:, :, :3] = recolour(layer[:, :, :3], rng)
    if rng.random() < 0.3:
        layer = cv2.GaussianBlur(layer, (3, 3), 0).astype(np.uint8)
    return layer


def _cutout(cache: Cache, rng: np.random.Generator) -> Pixels:
    for _ in range(MOST_DRAWS):
        picture = cut_out(cache, rng)
        pixels = cache.pixels(picture)
        if picture.channels == 4:
            return pixels
        mask = cache.mask(picture, int(rng.integers(len(picture.masks)))) if picture.masks else None
        if mask is not None and mask.sum() >= LEAST_PIXELS:
            return _cut(pixels, mask)
    sources = ", ".join(present(cache, CUTOUTS))
    raise ValueError(f"expected masks of at least {LEAST_PIXELS} pixels to cut out of {sources}")


def _cut(pixels: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    ys, xs = np.nonzero(mask)
    window = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    alpha = mask[window].astype(np.uint8) * 255
    return np.dstack([pixels[window], alpha]).astype(np.uint8)


def _shadow(alpha: NDArray[np.float32], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    moved = np.roll(alpha[:, :, 0], rng.integers(-size // 16, size // 16 + 1, 2), axis=(0, 1))
    soft: NDArray[np.float32] = cv2.GaussianBlur(moved, (0, 0), size / 40).astype(np.float32)
    return soft[:, :, None]
