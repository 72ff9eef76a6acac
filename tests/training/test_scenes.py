from pathlib import Path

import numpy as np
import pytest

from training.cache import Cache
from training.regions import colour_regions
from training.scenes import BACKGROUNDS, CUTOUTS, MAX_MASKS, REAL, Scale, make_sample

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


def test_a_dark_disc_on_bright_ground_is_a_colour_region() -> None:
    ys, xs = np.mgrid[:64, :64]
    disc = (ys - 30) ** 2 + (xs - 34) ** 2 < 225
    pixels = np.full((64, 64, 3), 200, np.uint8)
    pixels[disc] = 40
    small = disc[::2, ::2]
    regions = colour_regions(pixels, np.random.default_rng(0))
    overlaps = [(r & small).sum() / (r | small).sum() for r in regions]
    assert max(overlaps) > 0.8


def test_a_flat_picture_has_no_colour_regions() -> None:
    assert colour_regions(np.full((64, 64, 3), 90, np.uint8), np.random.default_rng(0)) == []
