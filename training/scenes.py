"""Training samples: a square picture and a few masks in it, made from the cache.

Six kinds, drawn by weight: a crop of an annotated photo; cut-outs pasted on a photo without
masks; cut-outs pasted on an annotated photo, whose masks lose what is covered; mosaics of four
annotated photos, where things are smaller and have other neighbours; collages of photo textures,
and photos split by colour alone, which teach that a region is what looks alike. What `annotate`
guessed counts as annotated too. Masks come at half the picture's size, twice as fine as the
decoder's logits, or, for the second look, at its own. Sources that the cache lacks, and the kinds
that cannot be made without them, are left out.

Source of the mosaics: Bochkovskiy et al., "YOLOv4" (2020).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cache import Cache, Picture, decode_rle
from training.regions import colour_regions

__all__ = ["BACKGROUNDS", "CUTOUTS", "MAX_MASKS", "REAL", "Sample", "Scale", "make_sample"]

Pixels = NDArray[np.uint8]
Masks = list[NDArray[np.bool_]]

MAX_MASKS = 8
MIN_MASK_PIXELS = 8
"""On the masks' grid."""
MAX_MASK_SHARE = 0.9
TURNED_SHARE, TURN = 0.4, 0.25
"""Of the crops of photos, those that are turned; and the standard deviation of it, in radians."""
SWAPPED_SHARE = 0.08
"""Of the pictures, those whose colours change places."""
GUESSED_SHARE = 0.5
"""Of the guesses beside drawn masks, those that are taken: a drawn one is twice as likely."""
CROSSING = (0.3, 0.7)
"""Where the photos of a mosaic meet, in shares of its side."""

REAL = {
    "coco_union": 0.42,
    "coco128_train": 0.30,
    "minto_person": 0.20,
    "feralcats": 0.06,
    "facade_ahwang": 0.05,
    "clothing_cc0": 0.04,
    "grocery": 0.04,
    "dsb2018": 0.03,
}
"""Photos with masks; of some sources only guessed ones."""
BACKGROUNDS = ("clothing_cc0", "grocery")
CUTOUTS = {
    "fluent3d": 0.30,
    "noto512": 0.15,
    "kenney": 0.05,
    "coco_union": 0.30,
    "minto_person": 0.20,
}

MIXES = {
    "real": 0.56,
    "pasted": 0.04,
    "pasted_on_real": 0.23,
    "mosaic": 0.10,
    "collage": 0.03,
    "regions": 0.04,
}
"""How often each kind of sample is made."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A size x size x 3 picture and at least one grid x grid mask."""

    pixels: Pixels
    masks: Masks


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a sample is."""

    size: int
    """Side of the picture."""
    grid: int
    """Side of its masks."""


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
        sample = makers[_draw(mix, rng)](cache, scale, rng)
        masks = _usable(sample.masks, rng)
        if masks:
            return Sample(_recolour(sample.pixels, rng), masks)


def _mix(cache: Cache) -> dict[str, float]:
    """How often each kind is made, of those that the cache's sources suffice for."""
    real = bool(_annotated(cache))
    ground, cutout = (bool(_present(cache, names)) for names in (BACKGROUNDS, CUTOUTS))
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


def _present(cache: Cache, sources: Iterable[str]) -> list[str]:
    return [source for source in sources if source in cache.by_source]


def _annotated(cache: Cache) -> list[str]:
    """The sources of annotated photos; some have none before the model has guessed."""
    return [source for source in _present(cache, REAL) if source in cache.annotated]


def _draw(weights: dict[str, float], rng: np.random.Generator) -> str:
    names = list(weights)
    chances = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def _pick(cache: Cache, source: str, rng: np.random.Generator) -> Picture:
    pictures = cache.by_source[source]
    return pictures[int(rng.integers(len(pictures)))]


def _annotated_photo(cache: Cache, rng: np.random.Generator) -> Picture:
    weights = {source: REAL[source] for source in _annotated(cache)}
    return _pick(cache, _draw(weights, rng), rng)


def _background(cache: Cache, rng: np.random.Generator) -> Picture:
    present = _present(cache, BACKGROUNDS)
    return _pick(cache, present[int(rng.integers(len(present)))], rng)


def _photo(cache: Cache, share: float, rng: np.random.Generator) -> Picture:
    """A background in this share of cases, else an annotated photo; where one lacks, the other."""
    if not _annotated(cache):
        share = 1.0
    elif not _present(cache, BACKGROUNDS):
        share = 0.0
    return _background(cache, rng) if rng.random() < share else _annotated_photo(cache, rng)


def _usable(masks: Masks, rng: np.random.Generator) -> Masks:
    fit = [m for m in masks if m.sum() >= MIN_MASK_PIXELS and m.mean() <= MAX_MASK_SHARE]
    order = rng.permutation(len(fit))[:MAX_MASKS]
    return [fit[i] for i in order]


# --- photos -----------------------------------------------------------------------------------


def _real(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    return _view(cache, _annotated_photo(cache, rng), scale, rng)


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
    view = _view(cache, _annotated_photo(cache, rng), own, rng, most=MAX_MASKS)
    return Sample(view.pixels[:tall, :wide], [mask[:height, :width] for mask in view.masks])


def _view(
    cache: Cache,
    picture: Picture,
    scale: Scale,
    rng: np.random.Generator,
    most: int = 2 * MAX_MASKS,
) -> Sample:
    """The whole photo with its longest side fitted, or a crop of it, both maybe mirrored."""
    pixels = cache.pixels(picture)
    known = _known(picture, rng)
    masks = [
        decode_rle(known[i], picture.height, picture.width)
        for i in rng.permutation(len(known))[:most]
    ]
    matrix = _placement(picture, masks, scale.size, rng)
    view = _warp(pixels, matrix, scale.size)
    shrunk = matrix * (scale.grid / scale.size)
    shrunk[:, 2] += (scale.grid / scale.size - 1) / 2  # middles of pixels lie on middles
    return Sample(view, [_warp_mask(m, shrunk, scale.grid) for m in masks])


def _known(picture: Picture, rng: np.random.Generator) -> list[str]:
    """The drawn masks, and of the guesses beside them a part; all where nothing is drawn."""
    guesses = picture.guesses
    if picture.masks:
        guesses = tuple(guess for guess in guesses if rng.random() < GUESSED_SHARE)
    return [*picture.masks, *guesses]


def _placement(
    picture: Picture, masks: Masks, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The affine map from the photo to the sample."""
    height, width = picture.height, picture.width
    scale = size / max(height, width)
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    if rng.random() < 0.35:
        return _mirrored(
            scale, scale, 0.0, 0.0, size if rng.random() < 0.5 else None, width * scale
        )
    side = max(height, width) * rng.uniform(0.35, 1.0)
    centre = _centre(masks, height, width, rng) + rng.uniform(-0.35, 0.35, 2) * side
    low = np.array([min(side, width), min(side, height)]) / 2
    centre = np.clip(centre, low, np.array([width, height]) - low)
    sx, sy = size / side * stretch, size / side / stretch
    x, y = size / 2 - centre[0] * sx, size / 2 - centre[1] * sy
    placed = _mirrored(sx, sy, x, y, size if rng.random() < 0.5 else None, float(size))
    return _turned(placed, size / 2, rng) if rng.random() < TURNED_SHARE else placed


def _turned(
    matrix: NDArray[np.float64], middle: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The same, then a turn of some degrees about the middle of the sample."""
    turn = rng.normal(0, TURN)
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, -sin], [sin, cos]])
    shift = np.array([middle, middle]) - rotation @ np.array([middle, middle])
    turned: NDArray[np.float64] = rotation @ matrix
    turned[:, 2] += shift
    return turned


def _mirrored(
    sx: float, sy: float, x: float, y: float, mirror: int | None, extent: float
) -> NDArray[np.float64]:
    if mirror is None:
        return np.array([[sx, 0.0, x], [0.0, sy, y]])
    return np.array([[-sx, 0.0, extent - x], [0.0, sy, y]])


def _centre(masks: Masks, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if not masks:
        return np.array([rng.uniform(0.0, width), rng.uniform(0.0, height)])
    ys, xs = np.nonzero(masks[int(rng.integers(len(masks)))][::4, ::4])
    if not len(ys):
        return np.array([width, height]) / 2.0
    pick = int(rng.integers(len(ys)))
    return np.array([xs[pick] * 4.0, ys[pick] * 4.0])


PAD = (124, 116, 104)
"""The mean colour: 0 after normalisation, as the predictor pads."""


def _warp(pixels: Pixels, matrix: NDArray[np.float64], size: int) -> Pixels:
    shrink = int(1 / max(float(np.hypot(*matrix[:, 0])), 1e-6))
    if shrink >= 2:
        # warpAffine does not average: bring the picture near the target scale first.
        small = cv2.resize(pixels, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        pixels, matrix = small.astype(np.uint8), matrix.copy()
        matrix[:, :2] *= shrink
    view = cv2.warpAffine(
        pixels,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=PAD if pixels.shape[2] == 3 else (0, 0, 0, 0),
    )
    return view.astype(np.uint8)


def _warp_mask(
    mask: NDArray[np.bool_], matrix: NDArray[np.float64], size: int
) -> NDArray[np.bool_]:
    warped = cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (size, size))
    return np.asarray(warped > 127)


# --- cut-outs ---------------------------------------------------------------------------------


def _pasted(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    view = _view(cache, _background(cache, rng), scale, rng)
    base = Sample(view.pixels.copy(), [])
    return _paste(cache, base, scale.grid, int(rng.integers(2, 8)), rng)


def _pasted_on_real(cache: Cache, scale: Scale, rng: np.random.Generator) -> Sample:
    view = _real(cache, scale, rng)
    return _paste(cache, view, scale.grid, int(rng.integers(1, 4)), rng)


def _paste(cache: Cache, base: Sample, grid: int, count: int, rng: np.random.Generator) -> Sample:
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
    layer = _warp(rgba, np.hstack([linear, offset[:, None]]), size)
    layer[:, :, :3] = _recolour(layer[:, :, :3], rng)
    if rng.random() < 0.3:
        layer = cv2.GaussianBlur(layer, (3, 3), 0).astype(np.uint8)
    return layer


def _cutout(cache: Cache, rng: np.random.Generator) -> Pixels:
    weights = {source: CUTOUTS[source] for source in _present(cache, CUTOUTS)}
    picture = _pick(cache, _draw(weights, rng), rng)
    pixels = cache.pixels(picture)
    if picture.channels == 4:
        return pixels
    mask = cache.mask(picture, int(rng.integers(len(picture.masks)))) if picture.masks else None
    if mask is None or mask.sum() < 400:
        return _cutout(cache, rng)
    ys, xs = np.nonzero(mask)
    window = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    alpha = mask[window].astype(np.uint8) * 255
    return np.dstack([pixels[window], alpha]).astype(np.uint8)


def _shadow(alpha: NDArray[np.float32], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    moved = np.roll(alpha[:, :, 0], rng.integers(-size // 16, size // 16 + 1, 2), axis=(0, 1))
    soft: NDArray[np.float32] = cv2.GaussianBlur(moved, (0, 0), size / 40).astype(np.float32)
    return soft[:, :, None]


# --- collages ---------------------------------------------------------------------------------


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
        texture = _texture(cache.pixels(_photo(cache, 0.5, rng)), size, rng)
        where = large == region
        pixels[where] = _recolour(texture, rng)[where]
    masks: Masks = []
    for region in range(count):
        _, parts = cv2.connectedComponents((owner == region).astype(np.uint8))
        masks.extend(np.asarray(parts == part) for part in range(1, int(parts.max()) + 1))
    sample = Sample(cv2.GaussianBlur(pixels, (3, 3), 0).astype(np.uint8), masks)
    return _paste(cache, sample, grid, int(rng.integers(0, 3)), rng)


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
    pixels = cache.pixels(_photo(cache, 0.7, rng))
    window = _window(pixels, rng.uniform(0.5, 1.0), rng)
    square = cv2.resize(window, (scale.size, scale.size), interpolation=cv2.INTER_AREA)
    regions = colour_regions(square.astype(np.uint8), rng)
    return Sample(square.astype(np.uint8), [_on_grid(region, scale.grid) for region in regions])


def _on_grid(mask: NDArray[np.bool_], grid: int) -> NDArray[np.bool_]:
    if len(mask) == grid:
        return mask
    enlarged = cv2.resize(mask.astype(np.uint8) * 255, (grid, grid))
    return np.asarray(enlarged > 127)


# --- colour -----------------------------------------------------------------------------------


def _recolour(pixels: Pixels, rng: np.random.Generator) -> Pixels:
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
