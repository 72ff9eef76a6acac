from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from training import learner
from training.cache import CacheWriter
from training.sources import BACKGROUNDS, CUTOUTS, REAL


@pytest.fixture(scope="session", autouse=True)
def _in_float32() -> Iterator[None]:
    """On every processor: training says the same on those that multiply bfloat16, but roughly."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learner, "choose_dtype", lambda _name, _device: torch.float32)
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cache with every source: a dark disc on a bright noisy ground."""
    path = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    writer = CacheWriter(path)
    ys, xs = np.mgrid[:80, :100]
    disc = (ys - 40) ** 2 + (xs - 45) ** 2 < 900
    ground = rng.integers(150, 256, (80, 100, 3), np.uint8)
    ground[disc] //= 4
    for source in sorted({*REAL, *BACKGROUNDS, *CUTOUTS}):
        if source in BACKGROUNDS:
            writer.add(source, "", ground, [])
        elif source in REAL:
            writer.add(source, "", ground, [disc])
        else:
            writer.add(source, "", np.dstack([ground, disc * np.uint8(255)]), [])
    writer.close()
    return path
