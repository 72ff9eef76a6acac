"""What needs no model: the box itself, filled, and OpenCV's GrabCut from the same box or clicks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.robot import Mask, iou, next_click, tight_box

__all__ = ["box_baselines", "click_baseline"]

LONGEST_SIDE = 320
"""GrabCut works on a copy of this size: larger ones take seconds an object."""
ITERATIONS = 5
LEAST_SHARE = 0.05
"""Of the box; with less left GrabCut has found nothing, and the box itself is its answer."""


def box_baselines(rgb: NDArray[np.uint8], truths: list[Mask]) -> NDArray[np.float64]:
    """N x 2 IoUs of the filled box and of GrabCut in the box."""
    return np.array([[iou(_filled(t), t), iou(_grabcut(rgb, t), t)] for t in truths])


def _filled(truth: Mask) -> Mask:
    x0, y0, x1, y1 = (int(edge) for edge in tight_box(truth))
    filled = np.zeros_like(truth)
    filled[y0:y1, x0:x1] = True
    return filled


def _grabcut(rgb: NDArray[np.uint8], truth: Mask) -> Mask:
    small, scale = _small(rgb)
    x0, y0, x1, y1 = (edge * scale for edge in tight_box(truth))
    marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    inside = np.s_[
        int(y0) : max(int(np.ceil(y1)), int(y0) + 2), int(x0) : max(int(np.ceil(x1)), int(x0) + 2)
    ]
    marks[inside] = cv2.GC_PR_FGD
    if (marks == cv2.GC_BGD).sum() < 10:
        return _filled(truth)
    found = _cut(small, marks, truth.shape)
    if (marks == cv2.GC_PR_FGD).sum() < LEAST_SHARE * marks[inside].size:
        return _filled(truth)
    return found


def click_baseline(rgb: NDArray[np.uint8], truths: list[Mask], clicks: int) -> NDArray[np.float64]:
    """N x clicks IoUs of GrabCut, clicked by the same robot."""
    return np.array([_clicked(rgb, truth, clicks) for truth in truths])


def _clicked(rgb: NDArray[np.uint8], truth: Mask, clicks: int) -> list[float]:
    """A click is a small disc of certainty, and an included one a larger disc of likelihood."""
    small, scale = _small(rgb)
    reach = max(small.shape)
    known = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    guess = np.zeros_like(truth)
    ious = []
    for _ in range(clicks):
        x, y, label = next_click(guess, truth)
        middle = (int(x * scale), int(y * scale))
        if label:
            likely = np.zeros_like(known)
            cv2.circle(likely, middle, reach // 10, 1, -1)
            known[(likely > 0) & (known == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
        cv2.circle(known, middle, max(1, reach // 100), cv2.GC_FGD if label else cv2.GC_BGD, -1)
        guess = _cut(small, known.copy(), truth.shape)
        ious.append(iou(guess, truth))
    return ious


def _small(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    scale = min(1.0, LONGEST_SIDE / max(rgb.shape))
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), scale


def _cut(small: NDArray[np.uint8], marks: NDArray[np.uint8], size: tuple[int, ...]) -> Mask:
    """GrabCut from the marks, which it completes; the mask is of `size`, height and width."""
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    whole = (0, 0, 0, 0)  # not looked at: the marks say what may be mask
    cv2.grabCut(small, marks, whole, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    kept = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    return np.asarray(cv2.resize(kept.astype(np.uint8) * 255, size[::-1]) > 127)
