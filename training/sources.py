"""Where samples come from: the sources of the cache, and how often each is taken.

Sources that a cache lacks are left out. What `annotate` guessed counts as annotated too.
"""

from collections.abc import Iterable

import numpy as np

from training.cache import Cache, Picture

__all__ = [
    "BACKGROUNDS",
    "CUTOUTS",
    "REAL",
    "annotated",
    "annotated_photo",
    "background",
    "cut_out",
    "drawn_by_weight",
    "photo",
    "present",
]


REAL = {
    "coco_union": 0.42,
    "coco128_train": 0.30,
    "minto_person": 0.20,
    "feralcats": 0.06,
    "facade_ahwang": 0.05,
    "clothing_cc0": 0.04,
    "grocery": 0.04,
    "dsb2018": 0.03,
}
"""Photos with masks; of some sources only guessed ones."""
BACKGROUNDS = ("clothing_cc0", "grocery")
CUTOUTS = {
    "fluent3d": 0.30,
    "noto512": 0.15,
    "kenney": 0.05,
    "coco_union": 0.30,
    "minto_person": 0.20,
}


def present(cache: Cache, sources: Iterable[str]) -> list[str]:
    """Those of these sources that the cache has."""
    return [source for source in sources if source in cache.by_source]


def annotated(cache: Cache) -> list[str]:
    """The sources of annotated photos; some have none before the model has guessed."""
    return [source for source in present(cache, REAL) if source in cache.annotated]


def drawn_by_weight(weights: dict[str, float], rng: np.random.Generator) -> str:
    """One of the names, as often as its weight says."""
    names = list(weights)
    chances = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def _any_of(cache: Cache, source: str, rng: np.random.Generator) -> Picture:
    pictures = cache.by_source[source]
    return pictures[int(rng.integers(len(pictures)))]


def annotated_photo(cache: Cache, rng: np.random.Generator) -> Picture:
    """A photo of a source of which some have masks."""
    weights = {source: REAL[source] for source in annotated(cache)}
    return _any_of(cache, drawn_by_weight(weights, rng), rng)


def cut_out(cache: Cache, rng: np.random.Generator) -> Picture:
    """A picture of which something can be cut out."""
    weights = {source: CUTOUTS[source] for source in present(cache, CUTOUTS)}
    return _any_of(cache, drawn_by_weight(weights, rng), rng)


def background(cache: Cache, rng: np.random.Generator) -> Picture:
    """A photo without drawn masks."""
    sources = present(cache, BACKGROUNDS)
    return _any_of(cache, sources[int(rng.integers(len(sources)))], rng)


def photo(cache: Cache, share: float, rng: np.random.Generator) -> Picture:
    """A background in this share of cases, else an annotated photo; where one lacks, the other."""
    if not annotated(cache):
        share = 1.0
    elif not present(cache, BACKGROUNDS):
        share = 0.0
    return background(cache, rng) if rng.random() < share else annotated_photo(cache, rng)
