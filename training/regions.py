"""Regions suggested by a photo's colours alone, as extra targets where nobody drew any.

Watershed basins of the colour gradient, merged pair by pair while two neighbours look alike and
have little contrast between them. Crude compared with drawn masks, but free and in any photo.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["colour_regions"]

Labels = NDArray[np.int32]

MIN_BASIN_SHARE = 1 / 2000
MIN_REGION_SHARE = 0.006
MAX_BASINS = 160


def colour_regions(pixels: NDArray[np.uint8], rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Masks of half the picture's size; how alike neighbours must be to merge is random."""
    half = pixels.shape[0] // 2, pixels.shape[1] // 2
    small = cv2.resize(pixels, half[::-1], interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_RGB2LAB)
    labels = _basins(lab.astype(np.uint8))
    if labels.max() < 2:
        return []
    merged = _merge(labels, lab.astype(np.float32), float(np.exp(rng.uniform(2.3, 3.6))))
    least = MIN_REGION_SHARE * merged.size
    counts = np.bincount(merged.ravel())
    return [np.asarray(merged == i) for i in np.flatnonzero(counts >= least)]


def _basins(lab: NDArray[np.uint8]) -> Labels:
    steep = np.zeros(lab.shape[:2], np.float32)
    for channel in cv2.split(lab):
        dx, dy = cv2.Sobel(channel, cv2.CV_32F, 1, 0), cv2.Sobel(channel, cv2.CV_32F, 0, 1)
        steep = np.maximum(steep, cv2.magnitude(dx, dy))
    flat = (steep <= np.percentile(steep, 45)).astype(np.uint8)
    _, markers, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    order = np.argsort(-areas)[:MAX_BASINS]
    kept = order[areas[order] >= max(4, MIN_BASIN_SHARE * flat.size)]
    rename = np.zeros(len(areas), np.int32)
    rename[kept] = np.arange(1, len(kept) + 1)
    labels = cv2.watershed(lab, rename[markers])
    # The one-pixel dams, marked -1, go to a neighbour.
    grown = cv2.dilate(np.maximum(labels, 0).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.where(labels > 0, labels, grown).astype(np.int32)


def _merge(labels: Labels, lab: NDArray[np.float32], limit: float) -> Labels:
    """Join the most alike neighbours until the next pair differs by more than `limit`."""
    count = int(labels.max()) + 1
    sizes = np.bincount(labels.ravel(), minlength=count).astype(np.float64)
    means: NDArray[np.float64] = np.stack(
        [np.bincount(labels.ravel(), c.ravel(), count) for c in cv2.split(lab)], axis=1
    ).astype(np.float64)
    means /= np.maximum(sizes, 1)[:, None]
    touch, contrast = _borders(labels, lab, count)
    owner = np.arange(count)
    cost = np.full((count, count), np.inf)
    for i in range(count):
        cost[i] = _cost(i, means, sizes, touch, contrast, labels.size)
    while True:
        i, j = divmod(int(cost.argmin()), count)
        if cost[i, j] > limit:
            return owner[labels].astype(np.int32)
        means[i] = (means[i] * sizes[i] + means[j] * sizes[j]) / (sizes[i] + sizes[j])
        sizes[i] += sizes[j]
        for borders in (touch, contrast):
            borders[i] += borders[j]
            borders[:, i] += borders[:, j]
            borders[j] = borders[:, j] = 0
            borders[i, i] = 0
        owner[owner == j] = i
        cost[j] = cost[:, j] = np.inf
        cost[i] = cost[:, i] = _cost(i, means, sizes, touch, contrast, labels.size)


def _borders(
    labels: Labels, lab: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each two regions: the length of their border, and the colour steps summed along it."""
    touch, contrast = np.zeros((count, count)), np.zeros((count, count))
    for one, two in ((np.s_[:, 2:], np.s_[:, :-2]), (np.s_[2:], np.s_[:-2])):
        a, b = labels[one].ravel(), labels[two].ravel()
        step = np.linalg.norm(lab[one] - lab[two], axis=-1).ravel()
        other = a != b
        for i, j in ((a, b), (b, a)):
            np.add.at(touch, (i[other], j[other]), 1.0)
            np.add.at(contrast, (i[other], j[other]), step[other])
    return touch, contrast


def _cost(
    i: int,
    means: NDArray[np.float64],
    sizes: NDArray[np.float64],
    touch: NDArray[np.float64],
    contrast: NDArray[np.float64],
    area: int,
) -> NDArray[np.float64]:
    """How unlike region i and each neighbour are; small ones count as more alike."""
    apart = np.linalg.norm(means - means[i], axis=1)
    step = contrast[i] / np.maximum(touch[i], 1)
    smaller = np.minimum(sizes, sizes[i]) / area
    cost = (0.5 * apart + 0.5 * step) * np.clip(smaller / 0.02, 0.15, 1.0)
    cost[(touch[i] == 0) | (sizes == 0)] = np.inf
    cost[i] = np.inf
    return np.asarray(cost)
