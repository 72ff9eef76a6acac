from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training.cache import Cache
from training.sources import BACKGROUNDS, CUTOUTS, cut_out, drawn_by_weight, photo


def test_names_are_drawn_as_often_as_they_weigh() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(drawn_by_weight({"a": 3.0, "b": 1.0}, rng) for _ in range(2000))
    assert drawn["a"] == pytest.approx(1500, abs=80)
    assert set(drawn) == {"a", "b"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_photo_is_a_background_or_an_annotated_one_by_share(folder: Path, share: float) -> None:
    cache, rng = Cache(folder), np.random.default_rng(0)
    found = {photo(cache, share, rng).source for _ in range(40)}
    assert (found <= set(BACKGROUNDS)) == (share == 1)


@pytest.mark.parametrize("kept", ["coco_union", "grocery"])
def test_where_one_kind_of_photo_lacks_the_other_is_taken(folder: Path, kept: str) -> None:
    cache, rng = Cache(folder), np.random.default_rng(0)
    cache.by_source = {kept: cache.by_source[kept]}
    assert {photo(cache, 0.5, rng).source for _ in range(20)} == {kept}


def test_cut_outs_are_of_the_sources_there_are(folder: Path) -> None:
    cache, rng = Cache(folder), np.random.default_rng(0)
    del cache.by_source["fluent3d"]
    found = {cut_out(cache, rng).source for _ in range(200)}
    assert found == set(CUTOUTS) - {"fluent3d"}
