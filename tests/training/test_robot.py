import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from server.engine.models.tiny.closeup import CloseUp
from server.engine.models.tiny.model import TinyModel
from server.engine.models.tiny.networks import EMBED_DIM, Tiny, build_tiny
from training.robot import Photo, annotate_boxes, annotate_clicks, iou, next_click, tight_box


def square(y0: int, x0: int, side: int, size: int = 64) -> np.ndarray:
    mask = np.zeros((size, size), np.bool_)
    mask[y0 : y0 + side, x0 : x0 + side] = True
    return mask


def test_the_first_click_lands_in_the_middle_of_the_mask() -> None:
    x, y, label = next_click(np.zeros((64, 64), np.bool_), square(10, 20, 21))
    assert (x, y, label) == (30.5, 20.5, 1)


def test_the_next_click_excludes_when_the_extra_region_is_the_deeper_one() -> None:
    truth = square(0, 0, 20)
    guess = truth | square(30, 30, 31)
    x, y, label = next_click(guess, truth)
    assert label == 0
    assert (x, y) == (45.5, 45.5)


def test_a_perfect_guess_is_clicked_inside_the_truth() -> None:
    truth = square(5, 5, 9)
    x, y, label = next_click(truth, truth)
    assert label == 1
    assert truth[int(y), int(x)]


def test_of_two_regions_as_deep_the_missed_one_is_clicked_and_included() -> None:
    missed, extra = square(5, 5, 9), square(30, 40, 9)
    x, y, label = next_click(extra, missed)
    assert label == 1
    assert missed[int(y), int(x)]


@given(st.integers(0, 2**32 - 1))
def test_a_click_includes_what_is_in_the_mask_and_excludes_what_is_not(seed: int) -> None:
    noise = np.random.default_rng(seed).random((2, 12, 12)) < 0.5
    guess, truth = noise | square(4, 4, 4, size=12)
    x, y, label = next_click(guess, truth)
    assert bool(label) == bool(truth[int(y), int(x)])


def test_a_region_at_the_border_is_not_deeper_for_it() -> None:
    x, y, _ = next_click(np.zeros((64, 64), np.bool_), square(0, 0, 21))
    assert (x, y) == (10.5, 10.5)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (10, 1 / 3), (20, 0.0)])
def test_iou_of_shifted_squares(shift: int, expected: float) -> None:
    assert iou(square(0, 0, 20), square(0, shift, 20)) == pytest.approx(expected)


def test_a_tight_box_reaches_to_the_far_edges_of_the_last_pixels() -> None:
    assert tight_box(square(3, 7, 5)) == (7.0, 3.0, 12.0, 8.0)


def untrained_tiny() -> TinyModel:
    tiny = Tiny(build_tiny(64).eval(), CloseUp(EMBED_DIM).eval())
    cpu = torch.device("cpu")
    return TinyModel(tiny, fingerprint="f", device=cpu, dtype=torch.float32)


def test_an_untrained_model_is_annotated_to_the_end() -> None:
    torch.manual_seed(0)
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    photo = Photo(untrained_tiny(), rgb)
    truths = [square(2, 3, 20)[:48], square(20, 30, 12)[:48]]
    clicked = annotate_clicks(photo, truths, clicks=3)
    assert clicked.ious.shape == clicked.scores.shape == (2, 3)
    assert (clicked.best >= clicked.ious[:, 0]).all()
    assert annotate_boxes(photo, truths).ious.shape == (2, 1)
