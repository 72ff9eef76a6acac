from pathlib import Path

import numpy as np
import pytest

from training.cache import Cache, CacheWriter
from training.pasting import paste
from training.sample import Sample


@pytest.fixture
def blank() -> Sample:
    """Green, of which a mask covers everything."""
    pixels = np.full((64, 64, 3), (0, 255, 0), np.uint8)
    return Sample(pixels, [np.ones((32, 32), np.bool_)])


def test_masks_below_lose_what_a_cut_out_covers(folder: Path, blank: Sample) -> None:
    cache, rng = Cache(folder), np.random.default_rng(0)
    for _ in range(20):
        found = paste(cache, blank, 32, 3, rng)
        assert len(found.masks) == 4
        assert np.array_equal(np.sum(found.masks, axis=0), np.ones((32, 32)))


def test_what_no_cut_out_covers_stays_but_for_shadows(folder: Path, blank: Sample) -> None:
    cache, rng = Cache(folder), np.random.default_rng(0)
    found = paste(cache, blank, 32, 2, rng)
    untouched = found.pixels[::2, ::2][found.masks[0]]
    assert (untouched[:, [0, 2]] == 0).mean() > 0.9


def test_the_sample_below_is_left_as_it_was(folder: Path, blank: Sample) -> None:
    paste(Cache(folder), blank, 32, 2, np.random.default_rng(0))
    assert (blank.pixels == (0, 255, 0)).all()
    assert blank.masks[0].all()


def test_sources_of_which_nothing_can_be_cut_out_are_named(tmp_path: Path, blank: Sample) -> None:
    writer = CacheWriter(tmp_path)
    small = np.zeros((64, 64), np.bool_)
    small[:9, :9] = True
    writer.add("minto_person", "", blank.pixels, [small])
    writer.close()
    with pytest.raises(ValueError, match="at least 400 pixels to cut out of"):
        paste(Cache(tmp_path), blank, 32, 1, np.random.default_rng(0))
