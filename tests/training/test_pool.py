from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.pool import Pool, Workers
from training.sample import MAX_MASKS, Scale

SIZE = 64
SCALE = Scale(SIZE, SIZE // 2)


@pytest.fixture
def workers(folder: Path) -> Iterator[Workers]:
    made = Workers(folder, SCALE, 1, seed=(1,), exclude_nc_nd=False)
    yield made
    made.close()


def kinds(pixels: Tensor) -> set[bytes]:
    return {one.numpy().tobytes() for one in pixels}


def test_a_pool_draws_pictures_with_their_masks(workers: Workers) -> None:
    pool = Pool(workers, SCALE, capacity=Workers.CHUNK, device=torch.device("cpu"))
    pixels, masks = pool.draw(20)
    assert pixels.shape == (20, SIZE, SIZE, 3)
    assert masks.shape == (20, MAX_MASKS, SIZE // 2, SIZE // 2)
    assert masks.dtype == torch.bool
    assert masks.any(-1).any(-1).any(-1).all()


def test_refreshing_replaces_the_oldest_part(workers: Workers) -> None:
    pool = Pool(workers, SCALE, capacity=2 * Workers.CHUNK, device=torch.device("cpu"))
    before = kinds(pool.draw(1000)[0])
    pool.refresh(1)  # a whole chunk at least
    after = kinds(pool.draw(1000)[0])
    assert len(before - after) == Workers.CHUNK
    assert len(after - before) == Workers.CHUNK


def test_beside_a_gpu_what_is_made_comes_in_without_waiting(workers: Workers) -> None:
    pool = Pool(workers, SCALE, capacity=Workers.CHUNK, device=torch.device("cpu"))
    before = kinds(pool.draw(500)[0])
    assert not pool.keep_fresh()  # begins it
    workers._asked[0].result()
    assert pool.keep_fresh()
    assert not before & kinds(pool.draw(500)[0])


def test_a_pool_smaller_than_a_part_is_refused(workers: Workers) -> None:
    with pytest.raises(ValueError, match="at least 25 samples, not 24"):
        Pool(workers, SCALE, capacity=Workers.CHUNK - 1, device=torch.device("cpu"))


def test_masks_lie_on_the_pictures_they_were_made_with(workers: Workers) -> None:
    """Most photos are a dark disc on bright noise."""
    pool = Pool(workers, SCALE, capacity=4 * Workers.CHUNK, device=torch.device("cpu"))
    pixels, masks = pool.draw(100)
    grey = pixels.float().mean(-1)
    small = torch.nn.functional.avg_pool2d(grey[:, None], 2)
    inside = (small * masks).sum((-2, -1)) / masks.sum((-2, -1)).clamp(min=1)
    outside = (small * ~masks).sum((-2, -1)) / (~masks).sum((-2, -1)).clamp(min=1)
    some = masks.any(-1).any(-1)
    assert (inside < outside)[some].float().mean() > 0.7
