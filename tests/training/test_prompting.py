import numpy as np
import pytest
import torch

from server.engine.models.painting import BOTTOM_RIGHT, INCLUDE, TOP_LEFT, paint_prompt
from server.engine.models.tiny import build_tiny
from server.engine.models.upstream import Sam
from training.prompting import (
    PAD,
    Prompts,
    correct,
    decode,
    draw_prompts,
    embed_painting,
    embed_prompts,
    prompt_loss,
)

SIZE = 64
SIDE = SIZE // 2


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    return build_tiny(SIZE).eval()


def prompts(points: list[list[tuple[float, float]]], labels: list[list[int]]) -> Prompts:
    targets = np.zeros((len(points), SIZE // 2, SIZE // 2), np.bool_)
    targets[:, 8:20, 10:24] = True
    return Prompts(np.array(points, np.float32), np.array(labels, np.int64), targets)


@torch.inference_mode()
def test_clicks_embed_as_the_prompt_encoder_embeds_them(sam: Sam) -> None:
    points, labels = torch.tensor([[[30.0, 40.0], [5.0, 6.0]]]), torch.tensor([[1, 0]])
    expected, _ = sam.prompt_encoder(points=(points, labels), boxes=None, masks=None)
    ours = prompts([[(30, 40), (5, 6), (0, 0)]], [[1, 0, PAD]])
    assert torch.equal(embed_prompts(sam.prompt_encoder, ours), expected)


@torch.inference_mode()
def test_a_box_embeds_as_the_prompt_encoder_embeds_it(sam: Sam) -> None:
    box = torch.tensor([[3.0, 4.0, 50.0, 60.0]])
    expected, _ = sam.prompt_encoder(points=None, boxes=box, masks=None)
    ours = prompts([[(3, 4), (50, 60)]], [[TOP_LEFT, BOTTOM_RIGHT]])
    assert torch.equal(embed_prompts(sam.prompt_encoder, ours), expected)


@torch.inference_mode()
def test_prompts_of_two_images_decode_as_upstream_decodes_each(sam: Sam) -> None:
    embedding = torch.randn(2, 128, SIZE // 8, SIZE // 8)
    places = sam.prompt_encoder.get_dense_pe()
    both = prompts([[(30, 40), (0, 0)], [(9, 8), (0, 0)]], [[1, PAD], [1, PAD]])
    priors = [
        np.random.default_rng(0).normal(0, 9, (SIZE // 2, SIZE // 2)).astype(np.float32),
        None,
    ]
    sparse = embed_prompts(sam.prompt_encoder, both)
    dense = embed_painting(sam.prompt_encoder, both, priors)
    got, scores = decode(sam.mask_decoder, embedding, places, sparse, dense)
    for m in range(2):
        tokens = [(*(both.points[m, 0] / SIZE), INCLUDE)]
        painted = torch.from_numpy(paint_prompt(tokens, priors[m], SIDE))
        _, alone = sam.prompt_encoder(None, None, painted[None, None])
        expected, score = sam.mask_decoder.predict_masks(
            embedding[m : m + 1], places, sparse[m : m + 1], alone
        )
        assert torch.allclose(got[m : m + 1], expected, atol=1e-5)
        assert torch.allclose(scores[m : m + 1], score, atol=1e-5)


def test_first_prompts_lie_in_or_around_their_target() -> None:
    masks = [np.zeros((3, 32, 32), np.bool_)]
    for k in range(3):
        masks[0][k, 8 * k : 8 * k + 8, 4:20] = True
    drawn = draw_prompts(masks, 40, np.random.default_rng(0))
    assert 0.2 < drawn.boxed.mean() < 0.6
    for points, boxed, target in zip(drawn.points, drawn.boxed, drawn.targets, strict=True):
        if boxed:
            ys, xs = np.nonzero(target)
            assert np.abs(points[0] - [2 * xs.min(), 2 * ys.min()]).max() < 8
        else:
            assert target[int(points[0, 1] / 2), int(points[0, 0] / 2)]


def test_a_correction_is_a_click_in_the_larger_error() -> None:
    start = prompts([[(30, 30), (0, 0)]], [[INCLUDE, PAD]])
    guess = np.zeros((1, SIZE // 2, SIZE // 2), np.bool_)
    guess[0, 25:31, 25:31] = True
    after = correct(start, guess, np.random.default_rng(0))
    assert after.labels.tolist() == [[INCLUDE, PAD, INCLUDE]]
    x, y = (after.points[0, -1] / 2).astype(int)
    assert start.targets[0, y, x]


def test_the_loss_reaches_every_weight_but_the_unused(sam: Sam) -> None:
    rng = np.random.default_rng(0)
    masks = [prompts([[(0, 0)]], [[1]]).targets for _ in range(2)]
    embedding = torch.randn(2, 128, SIZE // 8, SIZE // 8)
    loss, stats = prompt_loss(sam, embedding, draw_prompts(masks, 8, rng), 3, rng)
    loss.backward()
    assert {"click1", "click2", "click3", "box0", "box1"} <= set(stats)
    idle = [n for n, p in sam.mask_decoder.named_parameters() if p.grad is None]
    assert idle == []
