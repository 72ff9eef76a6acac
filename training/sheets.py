"""Contact sheets: the best, the median and the worst masks, to be looked at.

A tile shows one object with some surroundings, the true mask outlined in green, the model's in red.
They show photos of the measured shard: not for publication.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.robot import Mask, tight_box

__all__ = ["Tile", "tile", "write_sheets"]

Tile = NDArray[np.uint8]
"""`SIDE` x `SIDE` x 3."""

SIDE = 192
COLUMNS, ROWS = 8, 4
MARGIN = 0.3
TRUTH, GUESS = (40, 220, 90), (255, 60, 60)


def tile(rgb: NDArray[np.uint8], truth: Mask, guess: Mask) -> Tile:
    """One object, close up."""
    x0, y0, x1, y1 = tight_box(truth)
    side = max(x1 - x0, y1 - y0) * (1 + 2 * MARGIN)
    scale = SIDE / side
    shift = SIDE / 2 - scale * np.array([x0 + x1, y0 + y1]) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    canvas = np.ascontiguousarray(cv2.warpAffine(rgb, matrix, (SIDE, SIDE)))
    for mask, colour in ((truth, TRUTH), (guess, GUESS)):
        near = cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (SIDE, SIDE))
        outlines, _ = cv2.findContours(
            (near > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(canvas, outlines, -1, colour, 1)
    return np.asarray(canvas, np.uint8)


def write_sheets(folder: Path, tiles: list[Tile], ious: NDArray[np.float64]) -> None:
    """`best.png`, `median.png` and `worst.png` by IoU."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.argsort(-ious)
    count = min(COLUMNS * ROWS, len(order))
    middle = (len(order) - count) // 2
    starts = {"best": 0, "median": middle, "worst": len(order) - count}
    for name, start in starts.items():
        chosen = [tiles[int(at)] for at in order[start : start + count]]
        Image.fromarray(_sheet(chosen)).save(folder / f"{name}.png")


def _sheet(tiles: list[Tile]) -> NDArray[np.uint8]:
    sheet = np.full((ROWS * SIDE, COLUMNS * SIDE, 3), 255, np.uint8)
    for place, one in enumerate(tiles):
        row, column = divmod(place, COLUMNS)
        sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = one
    return sheet
