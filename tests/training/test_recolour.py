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
