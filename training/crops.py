"""A photo, or a crop of it, as a sample: mirrored, turned and stretched together with its masks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cache import Cache, Picture, decode_rle
from training.sample import MAX_MASKS, Masks, Pixels, Sample, Scale

__all__ = ["view_of", "warp"]


TURNED_SHARE, TURN = 0.4, 0.25
"""Of the crops of photos, those that are turned; and the standard deviation of it, in radians."""
GUESSED_SHARE = 0.5
"""Of the guesses beside drawn masks, those that are taken: a drawn one is twice as likely."""
PAD = (124, 116, 104)
"""The mean colour: 0 after normalisation, as the predictor pads."""


def view_of(
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
    view = warp(pixels, matrix, scale.size)
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
        return _mirrored(scale, scale, 0.0, 0.0, width * scale, mirror=rng.random() < 0.5)
    side = max(height, width) * rng.uniform(0.35, 1.0)
    centre = _centre(masks, height, width, rng) + rng.uniform(-0.35, 0.35, 2) * side
    low = np.array([min(side, width), min(side, height)]) / 2
    centre = np.clip(centre, low, np.array([width, height]) - low)
    sx, sy = size / side * stretch, size / side / stretch
    x, y = size / 2 - centre[0] * sx, size / 2 - centre[1] * sy
    placed = _mirrored(sx, sy, x, y, float(size), mirror=rng.random() < 0.5)
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
    sx: float, sy: float, x: float, y: float, extent: float, *, mirror: bool
) -> NDArray[np.float64]:
    if not mirror:
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


def warp(pixels: Pixels, matrix: NDArray[np.float64], size: int) -> Pixels:
    """A size x size picture; the 2x3 matrix maps places of `pixels` to its own."""
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
