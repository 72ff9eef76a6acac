"""A served model against SamPredictor, on the same weights and a whole image."""

import copy
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.engine.models.base import Embedding, run_steps
from server.engine.models.catalog import TINY_WEIGHTS, load_model
from server.engine.models.decoder.contract import Stored
from server.engine.models.decoder.fine import Widths
from server.engine.models.resizing.threaded import pillow_resize
from server.engine.models.sam import SamModel
from server.engine.models.upstream import Sam, SamPredictor
from server.engine.types import DecodeRequest, Prompt, RgbImage, Want
from server.geometry import Frame

CPU = torch.device("cpu")

T = TypeVar("T")


def served(sam: Sam, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> SamModel:
    return SamModel(copy.deepcopy(sam), name="any", fingerprint="f", device=device, dtype=dtype)


def predictor_of(sam: Sam, image: RgbImage) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    return predictor


def stored(embedding: Embedding) -> Stored:
    return cast("Stored", embedding.features)


def numbers(embedding: Embedding) -> Tensor:
    return torch.cat([part.flatten() for part in stored(embedding)])


@pytest.mark.parametrize("want", ["single", "all", "best"])
@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(points=((120, 60, 1),)),
        Prompt(points=((120, 60, 1), (7, 9, 0), (200.5, 170.25, 1))),
        Prompt(points=((120, 60, 0),), box=(10, 20, 200, 150)),
    ],
    ids=["a click", "three clicks", "a box and a click"],
)
def test_masks_logits_and_scores_equal_those_of_sam_predictor(
    sam: Sam, photo: RgbImage, prompt: Prompt, want: Want
) -> None:
    predictor = predictor_of(sam, photo)
    masks, scores, logits = predictor.predict(
        point_coords=np.array([point[:2] for point in prompt.points]),
        point_labels=np.array([point[2] for point in prompt.points]),
        box=None if prompt.box is None else np.array(prompt.box),
        multimask_output=want != "single",
    )
    order = np.argsort(-scores, kind="stable")[: 3 if want == "all" else 1]
    model = served(sam)
    [decoded] = model.decode([(run_steps(model.encode(photo)), DecodeRequest(prompt, want))])
    np.testing.assert_allclose(decoded.logits, logits[order], atol=1e-4)
    np.testing.assert_allclose(decoded.scores, scores[order], atol=1e-4)
    resized = sam.postprocess_masks(
        torch.from_numpy(decoded.logits)[None], predictor.input_size, photo.shape[:2]
    )
    differing = (resized[0].numpy() > 0) != masks[order]
    assert differing.mean() < 1e-4


def test_logits_given_back_as_a_prior_refine_as_sam_predictor_refines(
    sam: Sam, photo: RgbImage
) -> None:
    predictor, model = predictor_of(sam, photo), served(sam)
    embedding = run_steps(model.encode(photo))
    first = DecodeRequest(Prompt(points=((120, 60, 1),)), "best")
    prior = model.decode([(embedding, first)])[0].logits[0].astype(np.float16)
    second = DecodeRequest(Prompt(points=((120, 60, 1), (30, 30, 0))), "single", prior)
    [refined] = model.decode([(embedding, second)])
    _, scores, logits = predictor.predict(
        point_coords=np.array([[120, 60], [30, 30]]),
        point_labels=np.array([1, 0]),
        mask_input=prior[None].astype(np.float32),
        multimask_output=False,
    )
    np.testing.assert_allclose(refined.logits, logits, atol=1e-4)
    np.testing.assert_allclose(refined.scores, scores, atol=1e-4)


def test_images_of_different_sizes_share_a_batch(sam: Sam, photo: RgbImage) -> None:
    model = served(sam)
    images = [photo, photo[:, :100], photo[20:70]]
    request = DecodeRequest(Prompt(points=((40, 30, 1),)), "best")
    embeddings = [run_steps(model.encode(image)) for image in images]
    together = model.decode([(embedding, request) for embedding in embeddings])
    for decoded, embedding in zip(together, embeddings, strict=True):
        [alone] = model.decode([(embedding, request)])
        np.testing.assert_allclose(decoded.logits, alone.logits, atol=1e-4)


def test_an_embedding_names_the_images_size_and_its_own(sam: Sam, photo: RgbImage) -> None:
    model = served(sam, torch.bfloat16)
    embedding = run_steps(model.encode(photo))
    grid, channels = sam.prompt_encoder.image_embedding_size, Widths(sam.mask_decoder).total
    assert (embedding.width, embedding.height) == (240, 180)
    assert embedding.nbytes == 2 * channels * grid[0] * grid[1]


def test_a_copy_with_fewer_pixels_lies_where_the_image_itself_would(official_sam: Sam) -> None:
    model = served(official_sam)
    assert model.needed_side == model.input_size == 320
    copy = np.random.default_rng(0).integers(0, 256, (167, 501, 3), dtype=np.uint8)
    embedding = run_steps(model.encode(copy, (1001, 333)))
    assert (embedding.width, embedding.height) == (1001, 333)
    frame = Frame(1001, 333, 320)
    assert frame.model_height != Frame(501, 167, 320).model_height
    resized = pillow_resize(copy, (frame.model_width, frame.model_height))
    expected = run_steps(model.encode(resized))
    # Not to the bit: products of other sizes, as the pace has it, round otherwise.
    torch.testing.assert_close(numbers(embedding), numbers(expected), atol=1e-4, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("shape", [(180, 240, 3), (400, 200, 3), (320, 320, 3)])
def test_a_gpu_embeds_as_the_processor_does(sam: Sam, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    on_gpu, here = (
        numbers(run_steps(served(sam, device=torch.device(name)).encode(image)))
        for name in ("cuda", "cpu")
    )
    # A GPU's convolutions round float32 to nineteen bits unless told otherwise.
    assert (on_gpu.cpu() - here).abs().mean() < 0.01 * here.std()


def test_float32_embeddings_stay_exact_and_reduced_ones_take_half(
    tiny_sam: Sam, photo: RgbImage
) -> None:
    full, half = (
        numbers(run_steps(served(tiny_sam, dtype).encode(photo))).nbytes
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert full == 2 * half


def test_the_fingerprint_tells_numbers_apart(tiny_sam: Sam) -> None:
    full, half = served(tiny_sam), served(tiny_sam, torch.bfloat16)
    assert full.fingerprint != half.fingerprint
    assert full.fingerprint == served(tiny_sam).fingerprint


def test_encoding_yields_growing_fractions_and_may_be_abandoned(sam: Sam, photo: RgbImage) -> None:
    model = served(sam)
    fractions = list(model.encode(photo))
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    steps = model.encode(photo)
    next(steps)
    steps.close()
    assert isinstance(run_steps(model.encode(photo)), Embedding)


def test_nothing_of_a_step_is_left_on_between_steps(tiny_sam: Sam, photo: RgbImage) -> None:
    for _ in served(tiny_sam).encode(photo):
        assert not torch.is_inference_mode_enabled()


def test_an_embedding_gone_bad_fails_its_own_decode_and_no_other(
    tiny_sam: Sam, photo: RgbImage
) -> None:
    model = served(tiny_sam)
    good = run_steps(model.encode(photo))
    nothing = tuple(torch.full_like(part, torch.nan) for part in stored(good))
    broken = replace(good, features=nothing)
    request = DecodeRequest(Prompt(points=((40, 30, 1),)), "best")
    for batch in ([(good, request), (broken, request)], [(broken, request)]):
        with pytest.raises(ArithmeticError):
            model.decode(batch)
    assert len(model.decode([(good, request)])) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 2)])
def test_pictures_of_any_shape_are_encoded_and_decoded(
    tiny_sam: Sam, size: tuple[int, int]
) -> None:
    model = served(tiny_sam)
    embedding = run_steps(model.encode(np.full((*size, 3), 99, dtype=np.uint8)))
    [decoded] = model.decode([(embedding, DecodeRequest(Prompt(points=((0, 0, 1),)), "all"))])
    assert decoded.logits.shape == (3, model.logits_size, model.logits_size)


def scene(seed: int) -> tuple[RgbImage, list[Prompt]]:
    """Shaded ellipses over a shaded ground, and a click and a box for each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:384, 0:512].astype(np.float64)
    slope = rng.normal(scale=0.1, size=(2, 3))
    image = rng.uniform(60, 200, 3) + x[..., None] * slope[0] + y[..., None] * slope[1]
    prompts = []
    for _ in range(5):
        cx, cy = rng.uniform(80, 430), rng.uniform(80, 300)
        rx, ry = rng.uniform(25, 70, 2)
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        image[inside] = rng.uniform(0, 255, 3) + 20 * np.sin(x[inside, None] / 9)
        prompts.append(Prompt(points=((cx, cy, 1),)))
        prompts.append(Prompt(box=(cx - rx, cy - ry, cx + rx, cy + ry)))
    noisy = image + rng.normal(scale=6, size=image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), prompts


def masks_of(model: SamModel, image: RgbImage, prompts: list[Prompt]) -> NDArray[np.bool_]:
    embedding = run_steps(model.encode(image))
    requests = [DecodeRequest(prompt, "single") for prompt in prompts]
    decoded = [model.decode([(embedding, request)])[0] for request in requests]
    return np.stack([answer.logits[0] > 0 for answer in decoded])


@pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the bundled weights are still in training")
def test_the_bundled_models_masks_in_bfloat16_are_those_in_float32() -> None:
    full, reduced = (load_model(device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    ious: list[float] = []
    for seed in range(4):
        image, prompts = scene(seed)
        expected, found = masks_of(full, image, prompts), masks_of(reduced, image, prompts)
        union = (expected | found).sum(axis=(1, 2))
        ious += list((expected & found).sum(axis=(1, 2))[union > 0] / union[union > 0])
    assert len(ious) >= 20
    assert np.mean(ious) >= 0.995
