import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.cache import (
    Cache,
    CacheWriter,
    decode_rle,
    encode_rle,
    forbids,
    read_index,
    write_index,
)


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


def test_guesses_come_back_beside_the_masks_and_pixels_they_were_added_to(tmp_path: Path) -> None:
    pixels = write(tmp_path)
    pictures = read_index(tmp_path)
    assert [picture.guesses for picture in pictures] == [(), (), ()]
    write_index(tmp_path, [replace(picture, guesses=("1", "2")) for picture in pictures])
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "pixels.bin"}
    cache = Cache(tmp_path)
    first, second = cache.by_source["a"]
    assert first.guesses == second.guesses == ("1", "2")
    assert np.array_equal(cache.mask(first, 0), disc(30, 40))
    assert np.array_equal(cache.pixels(second), pixels[:20])


def test_an_index_from_before_there_were_guesses_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    pictures = read_index(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    for entry in index:
        del entry["guesses"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert read_index(tmp_path) == pictures


def test_a_source_is_annotated_where_a_picture_has_a_mask_or_a_guess(tmp_path: Path) -> None:
    write(tmp_path)
    assert Cache(tmp_path).annotated == {"a"}
    first, second, other = read_index(tmp_path)
    write_index(tmp_path, [first, second, replace(other, guesses=first.masks)])
    assert Cache(tmp_path).annotated == {"a", "b"}


def test_an_index_that_could_not_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    pictures = read_index(tmp_path)

    def full(path: Path, text: str) -> None:
        with path.open("w") as file:
            file.write(text[:10])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        write_index(tmp_path, pictures[:1])
    assert read_index(tmp_path) == pictures


def test_rle_round_trip() -> None:
    mask = disc(33, 47)
    assert np.array_equal(decode_rle(encode_rle(mask), 33, 47), mask)


def test_the_second_looks_samples_know_no_guesses(tmp_path: Path) -> None:
    write(tmp_path)
    pictures = read_index(tmp_path)
    write_index(tmp_path, [replace(picture, guesses=("1",)) for picture in pictures])
    cache = Cache(tmp_path, drawn_only=True)
    assert cache.annotated == {"a"}
    assert all(picture.guesses == () for picture in cache.by_source["a"])
    assert np.array_equal(cache.mask(cache.by_source["a"][0], 0), disc(30, 40))
