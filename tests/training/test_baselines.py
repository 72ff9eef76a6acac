import numpy as np

from training.baselines import box_baselines, click_baseline
from training.robot import iou


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red disc with noise on a green ground, and its mask."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:160, :200]
    truth = np.hypot(ys - 80, xs - 90) < 45
    rgb = np.where(truth[..., None], (200, 40, 40), (40, 160, 60))
    return (rgb + rng.integers(-20, 20, rgb.shape)).clip(0, 255).astype(np.uint8), truth


def test_a_filled_box_is_as_good_as_the_object_is_square_and_grabcut_finds_plain_colours() -> None:
    rgb, truth = scene()
    [[filled, grabcut]] = box_baselines(rgb, [truth])
    assert abs(filled - np.pi / 4) < 0.03
    assert grabcut > 0.95


def test_where_grabcut_finds_nothing_the_box_is_its_answer() -> None:
    _, truth = scene()
    even = np.full((*truth.shape, 3), 128, np.uint8)
    [[filled, grabcut]] = box_baselines(even, [truth])
    assert grabcut == filled


def test_grabcut_is_clicked_by_the_robot() -> None:
    rgb, truth = scene()
    [ious] = click_baseline(rgb, [truth], clicks=3)
    assert len(ious) == 3
    assert ious[-1] > 0.9
    assert iou(truth, truth) == 1.0
