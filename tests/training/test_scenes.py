"""Samples are made of what the cache has, drawn or guessed, at the places their masks say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.cache import Cache, CacheWriter, encode_rle, read_index, write_index
from training.sample import MAX_MASKS, Scale
from training.scenes import _mix, _mosaic, make_sample
from training.sources import BACKGROUNDS, CUTOUTS, REAL, annotated

SIZE = 64


def test_samples_have_usable_masks_of_half_the_pictures_size(folder: Path) -> None:
    cache, rng = Cache(folder), np.random.default_rng(0)
    for _ in range(60):
        sample = make_sample(cache, Scale(SIZE, SIZE // 2), rng)
        assert sample.pixels.shape == (SIZE, SIZE, 3)
        assert 1 <= len(sample.masks) <= MAX_MASKS
        for mask in sample.masks:
            assert mask.shape == (SIZE // 2, SIZE // 2)
            assert mask.any()
            assert not mask.all()


def test_a_seed_names_a_sample(folder: Path) -> None:
    cache = Cache(folder)
    one, two = (
        make_sample(cache, Scale(SIZE, SIZE // 2), np.random.default_rng(7)) for _ in range(2)
    )
    assert np.array_equal(one.pixels, two.pixels)
    assert np.array_equal(np.stack(one.masks), np.stack(two.masks))


def cache_of(folder: Path, *sources: str) -> Cache:
    cache = Cache(folder)
    cache.by_source = {source: cache.by_source[source] for source in sources}
    return cache


@pytest.mark.parametrize(
    "sources",
    [
        [next(iter(REAL))],
        [BACKGROUNDS[0]],
        [BACKGROUNDS[1], "kenney"],
        ["dsb2018", "kenney"],
        [*BACKGROUNDS, "feralcats"],
    ],
    ids=" ".join,
)
def test_samples_are_made_of_the_sources_there_are(folder: Path, sources: list[str]) -> None:
    cache, rng = cache_of(folder, *sources), np.random.default_rng(0)
    for _ in range(30):
        assert make_sample(cache, Scale(SIZE, SIZE // 2), rng).masks


@pytest.mark.parametrize("sources", [[], ["kenney"]], ids=["nothing", "cut-outs only"])
def test_a_cache_without_photos_is_refused_in_a_sentence(folder: Path, sources: list[str]) -> None:
    assert set(sources) <= set(CUTOUTS)
    with pytest.raises(ValueError, match="expected photos of at least one of coco_union, "):
        make_sample(cache_of(folder, *sources), Scale(SIZE, SIZE // 2), np.random.default_rng(0))


@pytest.mark.parametrize("source", BACKGROUNDS)
def test_photos_without_masks_are_annotated_ones_once_they_have_guesses(
    folder: Path, source: str, tmp_path: Path
) -> None:
    assert "real" not in _mix(cache_of(folder, source))
    cache = cache_with_guesses(tmp_path, source)
    assert annotated(cache) == [source]
    assert {"real", "mosaic"} <= set(_mix(cache))
    rng = np.random.default_rng(0)
    for _ in range(30):
        assert make_sample(cache, Scale(SIZE, SIZE // 2), rng).masks


def cache_with_guesses(folder: Path, source: str) -> Cache:
    """One grey photo with a bright square in the middle, which a model has found."""
    square = np.zeros((60, 60), np.bool_)
    square[15:45, 15:45] = True
    writer = CacheWriter(folder)
    writer.add(
        source, "", np.where(square, 240, 80).astype(np.uint8).repeat(3).reshape(60, 60, 3), []
    )
    writer.close()
    [picture] = read_index(folder)
    write_index(folder, [replace(picture, guesses=(encode_rle(square),))])
    return Cache(folder)


def test_in_a_mosaic_each_mask_lies_on_its_own_photos_object(tmp_path: Path) -> None:
    cache, rng = cache_with_guesses(tmp_path, BACKGROUNDS[0]), np.random.default_rng(0)
    covered = np.zeros((SIZE, SIZE), np.bool_)
    for _ in range(20):
        sample = _mosaic(cache, Scale(2 * SIZE, SIZE), rng)
        assert sample.pixels.shape == (2 * SIZE, 2 * SIZE, 3)
        assert len(sample.masks) == 4
        bright = sample.pixels[::2, ::2, 0] > 160
        together = np.any(sample.masks, axis=0)
        assert (bright ^ together).mean() < 0.05
        assert sum(mask.sum() for mask in sample.masks) == together.sum()
        covered |= together
    assert all(quarter.any() for half in np.split(covered, 2) for quarter in np.split(half, 2, 1))


def test_a_mosaics_photos_meet_at_another_place_each_time(tmp_path: Path) -> None:
    cache, rng = cache_with_guesses(tmp_path, BACKGROUNDS[0]), np.random.default_rng(0)
    whole = np.ones((60, 60), np.bool_)
    [picture] = cache.by_source[BACKGROUNDS[0]]
    cache.by_source[BACKGROUNDS[0]] = [replace(picture, guesses=(encode_rle(whole),))]
    shares = [_mosaic(cache, Scale(SIZE, SIZE // 2), rng).masks[0].mean() for _ in range(40)]
    assert max(shares) <= 0.5
    assert max(shares) - min(shares) > 0.15
