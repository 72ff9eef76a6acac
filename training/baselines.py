"""What needs no model: the box itself, filled, and OpenCV's GrabCut from the same box or clicks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.robot import Mask, iou, tight_box

__all__ = ["box_baselines"]

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
    height, width = truth.shape
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = (edge * scale for edge in tight_box(truth))
    marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    inside = np.s_[
        int(y0) : max(int(np.ceil(y1)), int(y0) + 2), int(x0) : max(int(np.ceil(x1)), int(x0) + 2)
    ]
    marks[inside] = cv2.GC_PR_FGD
    if (marks == cv2.GC_BGD).sum() < 10:
        return _filled(truth)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    whole = (0, 0, 0, 0)  # not looked at: the marks say what may be mask
    cv2.grabCut(small, marks, whole, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    kept = marks == cv2.GC_PR_FGD
    if kept.sum() < LEAST_SHARE * kept[inside].size:
        return _filled(truth)
    return np.asarray(cv2.resize(kept.astype(np.uint8) * 255, (width, height)) > 127)
