import numpy as np

from training.recolour import recolour


def test_colours_change_and_places_do_not() -> None:
    ys, xs = np.mgrid[:40, :40]
    bright = (xs - 20) ** 2 + (ys - 12) ** 2 < 60
    pixels = np.where(bright, 200, 60).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    rng, changed = np.random.default_rng(0), 0
    for _ in range(30):
        found = recolour(pixels, rng)
        grey = found.astype(float).mean(2)
        between = (grey[bright].mean() + grey[~bright].mean()) / 2
        assert ((grey > between) ^ bright).mean() < 0.03
        changed += int(np.abs(found.astype(int) - pixels).mean() > 2)
    assert changed > 25
    assert set(np.unique(pixels)) == {60, 200}


def test_a_picture_in_colour_is_now_and_then_grey_or_has_its_colours_changed_about() -> None:
    red = np.full((8, 8, 3), (220, 60, 30), np.uint8)
    rng, count = np.random.default_rng(0), 600
    middles = np.array([recolour(red, rng)[4, 4].astype(int) for _ in range(count)])
    grey = np.ptp(middles, axis=1) == 0
    swapped = ~grey & (middles.argmax(axis=1) != 0)
    assert 0.05 < grey.mean() < 0.11
    assert 0.03 < swapped.mean() < 0.08  # a third of those whose channels change places keep red
