"""The reference decoder is nothing but SamPredictor's, prompt by prompt."""

import numpy as np
import pytest
import torch

from server.engine.models.decoder.simple import SimpleDecoder
from server.engine.models.upstream import Sam, SamPredictor
from server.engine.types import DecodeRequest, Prompt, RgbImage, Want
from server.geometry import Frame


@pytest.fixture
def predictor(sam: Sam, photo: RgbImage) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(photo)
    return predictor


@pytest.mark.parametrize(("want", "kept"), [("single", 1), ("best", 1), ("all", 3)])
@pytest.mark.parametrize("with_prior", [False, True])
def test_masks_are_sam_predictors_best_first(
    sam: Sam, predictor: SamPredictor, want: Want, kept: int, *, with_prior: bool
) -> None:
    side = sam.prompt_encoder.mask_input_size[0]
    prior = np.random.default_rng(0).normal(size=(side, side)).astype(np.float16)
    _, scores, logits = predictor.predict(
        point_coords=np.array([[30.5, 40.0]]),
        point_labels=np.array([1]),
        box=np.array([10, 20, 200, 150]),
        mask_input=prior[None].astype(np.float32) if with_prior else None,
        multimask_output=want != "single",
    )
    order = np.argsort(-scores, kind="stable")[:kept]
    prompt = Prompt(points=((30.5, 40.0, 1),), box=(10, 20, 200, 150))
    request = DecodeRequest(prompt, want, prior if with_prior else None)
    simple, frame = SimpleDecoder(sam), Frame(240, 180, sam.image_encoder.img_size)
    with torch.inference_mode():
        [decoded] = simple.decode([(simple.store(predictor.features), frame, request)])
    np.testing.assert_array_equal(decoded.logits, logits[order])
    np.testing.assert_array_equal(decoded.scores, scores[order])
