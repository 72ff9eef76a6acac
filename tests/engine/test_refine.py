import numpy as np

from server.engine.refine import MOST_DOUBTFUL, STRENGTH, SURE, refine


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red square with noise on a green ground, and its mask."""
    rng = np.random.default_rng(0)
    truth = np.zeros((96, 128), np.bool_)
    truth[30:70, 40:90] = True
    rgb = np.where(truth[..., None], (200, 40, 40), (40, 160, 60)) + rng.integers(
        -20, 20, (96, 128, 3)
    )
    return rgb.clip(0, 255).astype(np.uint8), truth


def blunt(truth: np.ndarray, shift: int) -> np.ndarray:
    """Unsure logits of a mask that is off by some pixels, sure only in the middle and far away."""
    logits = np.where(np.roll(truth, shift, axis=(0, 1)), 1.0, -1.0)
    logits[45:55, 55:75] = 6.0
    logits[:15], logits[85:] = -6.0, -6.0
    logits[:, :30], logits[:, 100:] = -6.0, -6.0
    return logits.astype(np.float32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_blunt_mask_is_drawn_to_the_edge_of_the_colour() -> None:
    rgb, truth = scene()
    logits = blunt(truth, 5)
    assert iou(logits > 0, truth) < 0.75
    assert iou(refine(rgb, logits) > 0, truth) > 0.97


def test_refined_logits_keep_the_shape_and_stay_moderate() -> None:
    rgb, truth = scene()
    refined = refine(rgb, blunt(truth, 3))
    assert refined.shape == truth.shape
    assert refined.dtype == np.float32
    assert np.abs(refined[30:70, 40:90]).max() <= STRENGTH


def test_a_mask_that_is_unsure_of_nearly_everything_is_left_alone() -> None:
    rgb, truth = scene()
    logits = np.where(truth, 1.0, -1.0).astype(np.float32)
    logits[0, 0] = logits[-1, -1] = 1.0  # the whole picture is in doubt
    assert (np.abs(logits) <= SURE).sum() > MOST_DOUBTFUL
    assert np.array_equal(refine(rgb, logits), logits)


def test_an_empty_mask_and_a_full_one_stay_what_they_are() -> None:
    rgb, _ = scene()
    for value in (-3.0, 3.0):
        logits = np.full((96, 128), value, np.float32)
        assert np.array_equal(refine(rgb, logits), logits)


def test_the_same_mask_is_refined_alike_every_time() -> None:
    rgb, truth = scene()
    one, two = (refine(rgb, blunt(truth, 4)) for _ in range(2))
    assert np.array_equal(one, two)
