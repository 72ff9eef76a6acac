from pathlib import Path

import numpy as np
from PIL import Image

from training.sheets import COLUMNS, GUESS, SIDE, TRUTH, tile, write_sheets


def test_a_tile_outlines_the_truth_and_the_guess_around_the_object() -> None:
    truth = np.zeros((100, 100), np.bool_)
    truth[40:60, 40:60] = True
    made = tile(np.zeros((100, 100, 3), np.uint8), truth, np.roll(truth, 5, axis=1))
    assert made.shape == (SIDE, SIDE, 3)
    for colour, left in ((TRUTH, 36), (GUESS, 66)):
        ys, xs = np.nonzero((made == colour).all(axis=2))
        assert len(ys) > 50
        assert abs(xs.min() - left) < 4


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_sheets_are_sorted_from_best_to_worst(tmp_path: Path) -> None:
    ious = np.linspace(0, 1, 100)
    tiles = [np.full((SIDE, SIDE, 3), round(255 * value), np.uint8) for value in ious]
    write_sheets(tmp_path, tiles, ious)
    sheets = {name: read(tmp_path / f"{name}.png") for name in ("best", "median", "worst")}
    assert sheets["best"][0, 0, 0] == 255
    assert sheets["best"][0, 0, 0] > sheets["median"][0, 0, 0] > sheets["worst"][0, 0, 0]
    assert sheets["best"].shape[1] == COLUMNS * SIDE


def test_few_masks_fill_a_part_of_a_sheet(tmp_path: Path) -> None:
    write_sheets(tmp_path, [np.zeros((SIDE, SIDE, 3), np.uint8)] * 3, np.zeros(3))
    sheet = read(tmp_path / "worst.png")
    assert (sheet[0, 2 * SIDE] == 0).all()
    assert (sheet[0, 3 * SIDE] == 255).all()
