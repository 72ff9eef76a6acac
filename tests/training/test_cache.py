from pathlib import Path

import numpy as np
import pytest

from training.cache import Cache, CacheWriter, decode_rle, encode_rle, forbids


def disc(height: int, width: int) -> np.ndarray:
    ys, xs = np.mgrid[:height, :width]
    return np.asarray((ys - 10) ** 2 + (xs - 12) ** 2 < 50)


def write(folder: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    writer = CacheWriter(folder)
    writer.add("a", "CC BY 2.0 (photo)", pixels, [disc(30, 40)])
    writer.add("a", "CC BY-NC-SA 2.0 (photo)", pixels[:20], [np.ones((20, 40), np.bool_)])
    writer.add("b", "", np.dstack([pixels, pixels[:, :, :1]]), [])
    writer.close()
    return pixels


def test_pictures_come_back_as_they_were_written(tmp_path: Path) -> None:
    pixels = write(tmp_path)
    cache = Cache(tmp_path)
    first, second = cache.by_source["a"]
    assert np.array_equal(cache.pixels(first), pixels)
    assert np.array_equal(cache.pixels(second), pixels[:20])
    assert cache.pixels(cache.by_source["b"][0]).shape == (30, 40, 4)
    assert np.array_equal(cache.mask(first, 0), disc(30, 40))


def test_a_mask_of_the_whole_picture_is_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    assert Cache(tmp_path).by_source["a"][1].masks == ()


def test_photos_that_bar_commercial_use_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    cache = Cache(tmp_path, exclude_nc_nd=True)
    assert [picture.licence for picture in cache.by_source["a"]] == ["CC BY 2.0 (photo)"]


@pytest.mark.parametrize(
    ("licence", "barred"),
    [
        ("CC BY-NC-ND 2.0 (photo, per its COCO licence id)", True),
        ("CC BY-ND 2.0 (photo, per its COCO licence id)", True),
        ("CC BY-NC 2.0 (photo, per its COCO licence id)", True),
        ("CC BY-SA 2.0 (photo, per its COCO licence id)", False),
        ("no known copyright restrictions (photo)", False),
        ("Public Domain (data.yaml); repository licence MIT", False),
        ("", False),
    ],
)
def test_which_licences_bar(licence: str, barred: bool) -> None:
    assert forbids(licence) is barred


def test_rle_round_trip() -> None:
    mask = disc(33, 47)
    assert np.array_equal(decode_rle(encode_rle(mask), 33, 47), mask)
