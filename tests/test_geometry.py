"""The image's place inside a model's input, against segment-anything's own arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.geometry import Frame

sides = st.integers(1, 20_000)
frames = st.builds(Frame, sides, sides, st.sampled_from([256, 512, 1024]))


@pytest.mark.parametrize(
    ("width", "height", "model"),
    [
        (1024, 1024, (1024, 1024)),
        (1280, 960, (1024, 768)),
        (960, 1280, (768, 1024)),
        (1500, 1001, (1024, 683)),
        (1, 1, (1024, 1024)),
        (10, 20_000, (1, 1024)),
        (3, 20_000, (1, 1024)),
    ],
)
def test_the_longest_side_fills_the_input_and_the_other_keeps_the_ratio(
    width: int, height: int, model: tuple[int, int]
) -> None:
    frame = Frame(width, height, 1024)
    assert (frame.model_width, frame.model_height) == model


@given(frames)
def test_the_longest_side_is_always_the_input_size(frame: Frame) -> None:
    assert max(frame.model_width, frame.model_height) == frame.input_size


@given(frames)
def test_the_images_far_corner_lands_on_the_far_corner_of_the_valid_input(frame: Frame) -> None:
    corner = frame.to_model(np.array([frame.width, frame.height], dtype=np.float64))
    np.testing.assert_allclose(corner, [frame.model_width, frame.model_height], rtol=1e-12)


@given(
    st.builds(Frame, st.integers(64, 4096), st.integers(64, 4096), st.just(1024)),
    st.lists(st.tuples(st.floats(0, 64), st.floats(0, 64)), min_size=1, max_size=8),
)
def test_a_point_carried_to_the_model_and_back_is_the_same_point(
    frame: Frame, points: list[tuple[float, float]]
) -> None:
    xy = np.array(points)
    np.testing.assert_allclose(frame.to_image(frame.to_model(xy)), xy, atol=1e-9)


def test_boxes_are_carried_corner_by_corner() -> None:
    box = np.array([[10.0, 20.0], [30.0, 40.0]])
    np.testing.assert_allclose(Frame(2048, 1024, 1024).to_model(box), [[5, 10], [15, 20]])


def test_the_valid_logits_may_end_inside_a_pixel() -> None:
    assert Frame(1500, 1001, 1024).valid_logits(256) == (170.75, 256.0)
