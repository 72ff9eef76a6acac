from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.cache import Cache, Picture
from training.crops import _known, view_of, warp
from training.sample import Scale


def test_a_drawn_mask_is_twice_as_likely_as_a_guess_beside_it() -> None:
    picture = Picture("a", "", 4, 4, 3, 0, masks=("d", "e"), guesses=("g", "h"))
    rng = np.random.default_rng(0)
    seen = Counter(rle for _ in range(2000) for rle in _known(picture, rng))
    assert seen["d"] == seen["e"] == 2000
    assert seen["g"] == pytest.approx(1000, abs=80)
    assert seen["h"] == pytest.approx(1000, abs=80)


def test_where_nothing_is_drawn_all_guesses_count() -> None:
    picture = Picture("a", "", 4, 4, 3, 0, masks=(), guesses=("g", "h"))
    assert _known(picture, np.random.default_rng(0)) == ["g", "h"]


def test_a_views_masks_lie_on_what_they_are_of(folder: Path) -> None:
    cache, rng = Cache(folder), np.random.default_rng(0)
    [picture] = cache.by_source["coco_union"]
    for _ in range(30):
        view = view_of(cache, picture, Scale(96, 48), rng)
        assert view.pixels.shape == (96, 96, 3)
        dark = cv2.resize(view.pixels, (48, 48), interpolation=cv2.INTER_AREA)[:, :, 0] < 85
        assert (dark ^ view.masks[0]).mean() < 0.05


def test_a_picture_made_much_smaller_is_averaged_not_sampled() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 200
    small = warp(stripes, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 16)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 50).max() <= 2
