import numpy as np

from training.drawn import HEIGHT, LEAST_PIXELS, WIDTH, drawn_scenes


def test_scenes_hold_bodies_that_do_not_overlap_and_stay_the_same() -> None:
    scenes, again = list(drawn_scenes(3)), list(drawn_scenes(3))
    for scene, same in zip(scenes, again, strict=True):
        assert scene.pixels.shape == (HEIGHT, WIDTH, 3)
        assert scene.masks
        assert min(mask.sum() for mask in scene.masks) >= LEAST_PIXELS
        assert np.sum(scene.masks, axis=0).max() == 1
        np.testing.assert_array_equal(scene.pixels, same.pixels)
    assert not np.array_equal(scenes[0].pixels, scenes[1].pixels)


def test_a_body_differs_from_what_is_around_it() -> None:
    for scene in drawn_scenes(3):
        inside = [scene.pixels[mask].mean(axis=0) for mask in scene.masks]
        outside = [scene.pixels[~mask].mean(axis=0) for mask in scene.masks]
        gaps = [np.abs(a - b).max() for a, b in zip(inside, outside, strict=True)]
        assert np.median(gaps) > 15
