"""Generated scenes to measure on: nothing in them comes from any photo.

Smooth, grained grounds with bodies of smooth outline laid over each other, each of its own colour,
shading, stripes and grain; a mask is the visible part of a body.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from training.prepare import Record

__all__ = ["drawn_scenes"]

HEIGHT, WIDTH = 480, 640
LEAST_PIXELS = 200

Canvas = NDArray[np.float32]


def drawn_scenes(count: int) -> Iterator[Record]:
    """`count` scenes, always the same ones."""
    for number in range(count):
        yield _scene(number)


def _scene(number: int) -> Record:
    rng = np.random.default_rng(number)
    canvas = _material(rng)
    owner = np.zeros((HEIGHT, WIDTH), np.int64)
    bodies = int(rng.integers(4, 12))
    for body in range(1, bodies + 1):
        shape = _body(rng)
        soft = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 0.8)[:, :, None]
        canvas += soft * (_material(rng) - canvas)
        owner[shape] = body
    grain = rng.normal(0, rng.uniform(2, 8), canvas.shape)
    pixels = np.clip(canvas + grain, 0, 255).astype(np.uint8)
    masks = [owner == body for body in range(1, bodies + 1)]
    return Record(f"drawn-{number}", pixels, [m for m in masks if m.sum() >= LEAST_PIXELS], "")


def _body(rng: np.random.Generator) -> NDArray[np.bool_]:
    """A closed curve: a circle whose radius swings a few times."""
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = np.exp(rng.uniform(np.log(18), np.log(150)))
    swings = sum(
        rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
        for k in range(2, 6)
    )
    reach = radius * np.maximum(0.25, 1 + swings)
    x = rng.uniform(0, WIDTH) + reach * np.cos(angles) * rng.uniform(0.6, 1.4)
    y = rng.uniform(0, HEIGHT) + reach * np.sin(angles)
    shape = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(shape, [np.stack([x, y], axis=1).round().astype(np.int32)], 1)
    return np.asarray(shape > 0)


def _material(rng: np.random.Generator) -> Canvas:
    """A colour with light from one side, blotches, and sometimes stripes."""
    ys, xs = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    along = np.cos(turn) * xs + np.sin(turn) * ys
    shade = 1 + rng.uniform(0, 0.4) * along
    knots = rng.normal(0, 1, (int(rng.integers(3, 12)),) * 2)
    shade += rng.uniform(0, 0.15) * cv2.resize(
        knots, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
    )
    if rng.random() < 0.3:
        shade += rng.uniform(0.05, 0.3) * np.sign(np.sin(along * rng.uniform(20, 80)))
    return np.asarray(rng.uniform(30, 225, 3) * shade[:, :, None], np.float32)
