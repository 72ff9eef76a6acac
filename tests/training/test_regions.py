import numpy as np

from training.regions import colour_regions


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
