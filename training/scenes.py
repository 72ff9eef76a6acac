"""Training samples: a square picture and a few masks in it, made from the cache.

Six kinds, drawn by weight: a crop of an annotated photo; cut-outs pasted on a photo without
masks; cut-outs pasted on an annotated photo, whose masks lose what is covered; mosaics of four
annotated photos, where things are smaller and have other neighbours; collages of photo textures,
and photos split by colour alone, which teach that a region is what looks alike. Masks come at half
the picture's size, twice as fine as the decoder's logits, or, for the second look, at its own.
Kinds that the available sources cannot make are left out.

Source of the mosaics: Bochkovskiy et al., "YOLOv4" (2020).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cache import Cache
from training.crops import view_of
from training.pasting import paste
from training.recolour import recolour
from training.regions import colour_regions
from training.sample import MAX_MASKS, Masks, Pixels, Sample, Scale
from training.sources import (
    BACKGROUNDS,
    CUTOUTS,
    REAL,
    annotated,
    annotated_photo,
    background,
    drawn_by_weight,
    photo,
    present,
)

__all__ = ["make_sample"]


MIN_MASK_PIXELS = 8
"""On the masks' grid."""
MAX_MASK_SHARE = 0.9
CROSSING = (0.3, 0.7)
"""Where the photos of a mosaic meet, in shares of its side."""
MIXES = {
    "real": 0.56,
    "pasted": 0.04,
    "pasted_on_real": 0.23,
    "mosaic": 0.10,
    "collage": 0.03,
    "regions": 0.04,
}
"""How often each kind of sample is made."""


def make_sample(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    """One sample of a random kind; tries again until it has a usable mask.

    Raises:
        ValueError: the cache has no source of photos.
    """
    makers = {
        "real": _real,
        "pasted": _pasted,
        "pasted_on_real": _pasted_on_real,
        "mosaic": _mosaic,
        "collage": _collage,
        "regions": _regions,
    }
    mix = _mix(cache)
    while True:
        sample = makers[drawn_by_weight(mix, rng)](cache, scale, rng)
        masks = _usable(sample.masks, rng)
        if masks:
            return Sample(recolour(sample.pixels, rng), masks)


def _mix(cache: Cache) -> dict[str, float]:
    """How often each kind is made, of those that the cache's sources suffice for."""
    real = bool(annotated(cache))
    ground, cutout = (bool(present(cache, names)) for names in (BACKGROUNDS, CUTOUTS))
    possible = {
        "real": real,
        "pasted": ground and cutout,
        "pasted_on_real": real and cutout,
        "mosaic": real,
        "collage": (real or ground) and cutout,
        "regions": real or ground,
    }
    mix = {kind: weight for kind, weight in MIXES.items() if possible[kind]}
    if not mix:
        wanted = ", ".join(dict.fromkeys((*REAL, *BACKGROUNDS)))
        raise ValueError(f"expected photos of at least one of {wanted}; the cache has none")
    return mix


def _usable(masks: Masks, rng: np.random.Generator) -> Masks:
    fit = [m for m in masks if m.sum() >= MIN_MASK_PIXELS and m.mean() <= MAX_MASK_SHARE]
    order = rng.permutation(len(fit))[:MAX_MASKS]
    return [fit[i] for i in order]


def _real(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    return view_of(cache, annotated_photo(cache, rng), scale, rng)


def _mosaic(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    """Four annotated photos around a crossing."""
    size, grid = scale.size, scale.grid
    canvas, masks = np.zeros((size, size, 3), np.uint8), Masks()
    down, across = (round(grid * share) for share in rng.uniform(*CROSSING, 2))
    for rows in (slice(0, down), slice(down, grid)):
        for columns in (slice(0, across), slice(across, grid)):
            part = _quarter(cache, scale, rows, columns, rng)
            canvas[_enlarged(rows, scale), _enlarged(columns, scale)] = part.pixels
            for mask in part.masks:
                masks.append(np.zeros((grid, grid), np.bool_))
                masks[-1][rows, columns] = mask
    return Sample(canvas, masks)


def _enlarged(cells: slice, scale: Scale) -> slice:
    """Of the masks' grid, of the picture."""
    start, stop = (round(edge * scale.size / scale.grid) for edge in (cells.start, cells.stop))
    return slice(start, stop)


def _quarter(
    cache: Cache, scale: Scale, rows: slice, columns: slice, rng: np.random.Generator
) -> Sample:
    """A view as large as these cells of a sample."""
    height, width = (cells.stop - cells.start for cells in (rows, columns))
    tall, wide = (
        cells.stop - cells.start for cells in (_enlarged(part, scale) for part in (rows, columns))
    )
    own = Scale(max(tall, wide), max(height, width))
    view = view_of(cache, annotated_photo(cache, rng), own, rng, most=MAX_MASKS)
    return Sample(view.pixels[:tall, :wide], [mask[:height, :width] for mask in view.masks])


def _pasted(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    view = view_of(cache, background(cache, rng), scale, rng)
    base = Sample(view.pixels.copy(), [])
    return paste(cache, base, scale.grid, int(rng.integers(2, 8)), rng)


def _pasted_on_real(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    view = _real(cache, scale, rng)
    return paste(cache, view, scale.grid, int(rng.integers(1, 4)), rng)


def _collage(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    """Smooth random regions, each filled from another photo, some with objects on top."""
    count = int(rng.integers(2, 7))
    knots = int(rng.integers(2, 6))
    fields = rng.random((knots, knots, count)).astype(np.float32)
    size, grid = scale.size, scale.grid
    smooth = cv2.resize(fields, (grid, grid), interpolation=cv2.INTER_CUBIC)
    owner = np.argmax(smooth, axis=2)
    large = cv2.resize(owner.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
    pixels = np.zeros((size, size, 3), np.uint8)
    for region in range(count):
        texture = _texture(cache.pixels(photo(cache, 0.5, rng)), size, rng)
        where = large == region
        pixels[where] = recolour(texture, rng)[where]
    masks: Masks = []
    for region in range(count):
        _, parts = cv2.connectedComponents((owner == region).astype(np.uint8))
        masks.extend(np.asarray(parts == part) for part in range(1, int(parts.max()) + 1))
    sample = Sample(cv2.GaussianBlur(pixels, (3, 3), 0).astype(np.uint8), masks)
    return paste(cache, sample, grid, int(rng.integers(0, 3)), rng)


def _texture(pixels: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """A small window of a photo, enlarged: mostly one material."""
    window = _window(pixels, rng.uniform(0.15, 0.5), rng)
    return cv2.resize(window, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _window(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """A square of `share` of the shorter side, anywhere."""
    height, width = pixels.shape[:2]
    side = int(min(height, width) * share)
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    return pixels[y : y + side, x : x + side]


def _regions(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    pixels = cache.pixels(photo(cache, 0.7, rng))
    window = _window(pixels, rng.uniform(0.5, 1.0), rng)
    square = cv2.resize(window, (scale.size, scale.size), interpolation=cv2.INTER_AREA)
    regions = colour_regions(square.astype(np.uint8), rng)
    return Sample(square.astype(np.uint8), [_on_grid(region, scale.grid) for region in regions])


def _on_grid(mask: NDArray[np.bool_], grid: int) -> NDArray[np.bool_]:
    if len(mask) == grid:
        return mask
    enlarged = cv2.resize(mask.astype(np.uint8) * 255, (grid, grid))
    return np.asarray(enlarged > 127)
