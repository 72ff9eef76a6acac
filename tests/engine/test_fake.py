import numpy as np
import pytest
from numpy.typing import NDArray

from server.engine.fake import FakeModel
from server.engine.models.base import Embedding, Model, run_steps
from server.engine.types import Box, DecodeRequest, Logits, Point, Prompt, RgbImage, Want


def encoded(image: RgbImage, steps: int = 4) -> tuple[Embedding, list[float]]:
    fractions = []
    running = FakeModel(encode_steps=steps).encode(image)
    while True:
        try:
            fractions.append(next(running))
        except StopIteration as end:
            return end.value, fractions


def grey(value: int = 128, width: int = 160, height: int = 120) -> RgbImage:
    return np.full((height, width, 3), value, np.uint8)


def logits_of(
    *points: Point,
    box: Box | None = None,
    image: RgbImage | None = None,
    prior: Logits | None = None,
) -> NDArray[np.float32]:
    embedding, _ = encoded(grey() if image is None else image)
    request = DecodeRequest(Prompt(points, box), "single", prior)
    (answer,) = FakeModel().decode([(embedding, request)])
    logits: NDArray[np.float32] = answer.logits[0]
    return logits


def test_it_is_a_model() -> None:
    model: Model = FakeModel(max_batch=5)

    assert model.warm_up(30.0) == 5


def test_an_encode_has_the_steps_it_was_told() -> None:
    embedding, fractions = encoded(grey(), steps=4)

    assert fractions == [0.0, 0.25, 0.5, 0.75]
    assert (embedding.width, embedding.height, embedding.nbytes) == (160, 120, 128 * 128 * 4)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (3000, 1, 3), (7, 5, 3)])
def test_pictures_of_any_shape_are_encoded(shape: tuple[int, ...]) -> None:
    embedding, _ = encoded(np.zeros(shape, np.uint8))

    assert (embedding.height, embedding.width) == shape[:2]


def test_a_copy_with_fewer_pixels_stands_for_the_image() -> None:
    embedding = run_steps(FakeModel().encode(grey(width=80, height=60), (159, 120)))

    assert (embedding.width, embedding.height) == (159, 120)


def test_near_an_include_point_is_mask_and_far_is_not() -> None:
    logits = logits_of((80, 60, 1))  # in the middle: 64, 48 of the logits

    assert logits[48, 64] > 0
    assert logits[48, 5] < 0
    assert logits.dtype == np.float32


def test_near_an_exclude_point_is_no_mask() -> None:
    assert logits_of((80, 60, 1), (80, 60, 0))[48, 64] < 0


def test_inside_the_box_is_mask() -> None:
    logits = logits_of(box=(40, 30, 120, 90))

    assert logits[48, 64] > 0
    assert logits[10, 10] < 0


def test_the_image_shows_in_the_mask() -> None:
    dark, bright = (logits_of((80, 60, 1), image=grey(value)) for value in (0, 255))

    assert bright[48, 64] - dark[48, 64] == pytest.approx(0.05, abs=1e-6)


def test_the_prior_shows_in_the_mask() -> None:
    prior = np.full((128, 128), 5, np.float16)

    assert logits_of((80, 60, 1), prior=prior)[5, 5] > 0


@pytest.mark.parametrize(("want", "count"), [("single", 1), ("best", 1), ("all", 3)])
def test_as_many_masks_as_wanted_best_first(want: Want, count: int) -> None:
    embedding, _ = encoded(grey())
    request = DecodeRequest(Prompt(((80, 60, 1),)), want)
    (answer,) = FakeModel().decode([(embedding, request)])

    assert answer.logits.shape == (count, 128, 128)
    assert answer.scores.shape == (count,)
    assert np.all(np.diff(answer.scores) < 0)


def test_each_answer_is_independent_of_its_batch() -> None:
    embeddings = [encoded(grey(value))[0] for value in (0, 255)]
    requests = [DecodeRequest(Prompt(((x, 60, 1),)), "single") for x in (30, 120)]
    batch = list(zip(embeddings, requests, strict=True))

    together = FakeModel().decode(batch)

    for member, answer in zip(batch, together, strict=True):
        (alone,) = FakeModel().decode([member])
        assert np.array_equal(alone.logits, answer.logits)
