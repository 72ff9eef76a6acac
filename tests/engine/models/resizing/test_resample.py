"""Byte for byte what Pillow gives."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from server.engine.models.base import run_steps
from server.engine.models.resizing import resample as module
from server.engine.models.resizing.resample import resample, resamples
from server.engine.types import RgbImage


def noise(height: int, width: int, seed: int = 0) -> RgbImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_pillow(image: RgbImage, size: tuple[int, int]) -> RgbImage:
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def by_torch(image: RgbImage, size: tuple[int, int], device: str = "cpu") -> RgbImage:
    return run_steps(resample(image, size, torch.device(device))).cpu().numpy()


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (960, 1280, (1024, 768)),
        (1280, 960, (768, 1024)),
        (1500, 2000, (1024, 768)),
        (100, 200, (1024, 512)),
        (1024, 1024, (1024, 1024)),
        (300, 1024, (1024, 300)),
        (30, 3000, (1024, 10)),
        (1, 7, (1024, 146)),
        (1920, 1080, (576, 1024)),
    ],
)
def test_photos_are_resized_as_pillow_resizes_them(
    height: int, width: int, size: tuple[int, int]
) -> None:
    image = noise(height, width)
    assert resamples(height, width, max(size))
    np.testing.assert_array_equal(by_torch(image, size), by_pillow(image, size))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 300),
    shape=st.floats(0.05, 16 / 9),
    side=st.integers(1, 400),
    seed=st.integers(0, 9),
)
def test_any_image_that_is_not_tall_is_resized_as_pillow_resizes_it(
    width: int, shape: float, side: int, seed: int
) -> None:
    height = max(1, int(width * shape))
    assume(resamples(height, width, side))
    scale = side / max(height, width)
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    image = noise(height, width, seed)
    np.testing.assert_array_equal(by_torch(image, size), by_pillow(image, size))


def test_a_large_image_goes_along_its_rows_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BAND_PIXELS", 5000)
    image = noise(90, 160)
    told: list[float] = []
    found = run_steps(resample(image, (64, 36), torch.device("cpu")), told.append)
    np.testing.assert_array_equal(found.numpy(), by_pillow(image, (64, 36)))
    assert len(told) == 3  # of 31, 31 and 28 rows


@pytest.mark.parametrize("view", ["turned", "sealed"])
def test_pixels_may_lie_anyhow(view: str) -> None:
    image = noise(30, 50)
    if view == "turned":
        image = image[::-1, :, ::-1]
    else:
        image.setflags(write=False)
    expected = by_pillow(np.array(image), (64, 38))
    np.testing.assert_array_equal(by_torch(image, (64, 38)), expected)


@pytest.mark.parametrize(
    ("height", "width"), [(1921, 1080), (3000, 100), (10, 32769), (32769, 32769)]
)
def test_the_tall_and_the_huge_are_left_to_pillow(height: int, width: int) -> None:
    assert not resamples(height, width, 1024)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_gives_the_same_bytes() -> None:
    image = noise(3000, 4000)
    np.testing.assert_array_equal(
        by_torch(image, (1024, 768), "cuda"), by_pillow(image, (1024, 768))
    )
