import numpy as np
import pytest
import torch

from server.engine.models.decoder.fine import Widths
from server.engine.models.tiny.networks import EMBED_STRIDE, build_tiny
from server.engine.models.tiny.painting import paint_prompt
from server.engine.models.upstream import Sam
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT
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
GRID = SIZE // EMBED_STRIDE
SIDE = 4 * GRID
FINE = SIZE // 2
"""Of the targets' grid."""


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    return build_tiny(SIZE).eval()


def prompts(points: list[list[tuple[float, float]]], labels: list[list[int]]) -> Prompts:
    """Prompts given in pixels of the input."""
    targets = torch.zeros((len(points), FINE, FINE), dtype=torch.bool)
    targets[:, 8:20, 10:24] = True
    return Prompts(torch.tensor(points) / SIZE, torch.tensor(labels), targets)


@torch.inference_mode()
def test_clicks_embed_as_the_prompt_encoder_embeds_them(sam: Sam) -> None:
    points, labels = torch.tensor([[[30.0, 40.0], [5.0, 6.0]]]), torch.tensor([[1, 0]])
    expected, _ = sam.prompt_encoder(points=(points, labels), boxes=None, masks=None)
    ours = prompts([[(30, 40), (5, 6), (0, 0)]], [[INCLUDE, EXCLUDE, PAD]])
    torch.testing.assert_close(embed_prompts(sam.prompt_encoder, ours), expected)


@torch.inference_mode()
def test_a_box_embeds_as_the_prompt_encoder_embeds_it(sam: Sam) -> None:
    box = torch.tensor([[3.0, 4.0, 50.0, 60.0]])
    expected, _ = sam.prompt_encoder(points=None, boxes=box, masks=None)
    ours = prompts([[(3, 4), (50, 60)]], [[TOP_LEFT, BOTTOM_RIGHT]])
    torch.testing.assert_close(embed_prompts(sam.prompt_encoder, ours), expected)


@torch.inference_mode()
def test_prompts_of_two_images_decode_as_upstream_decodes_each(sam: Sam) -> None:
    embedding = torch.randn(2, Widths(sam.mask_decoder).total, GRID, GRID)
    places = sam.prompt_encoder.get_dense_pe()
    both = prompts([[(30, 40), (0, 0)], [(9, 8), (0, 0)]], [[INCLUDE, PAD], [INCLUDE, PAD]])
    priors, known = 9 * torch.randn(2, SIDE, SIDE), torch.tensor([True, False])
    sparse = embed_prompts(sam.prompt_encoder, both)
    dense = embed_painting(sam.prompt_encoder, both, priors, known)
    got, scores = decode(sam.mask_decoder, embedding, places, sparse, dense)
    for m in range(2):
        x, y = both.points[m, 0].tolist()
        prior = priors[m].numpy() if known[m] else None
        painted = torch.from_numpy(paint_prompt([(x, y, INCLUDE)], prior, SIDE))
        _, alone = sam.prompt_encoder(None, None, painted[None, None])
        expected, score = sam.mask_decoder.predict_masks(
            embedding[m : m + 1], places, sparse[m : m + 1], alone
        )
        torch.testing.assert_close(got[m : m + 1], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(scores[m : m + 1], score, atol=1e-5, rtol=1e-4)


def test_first_prompts_lie_in_or_around_their_target() -> None:
    torch.manual_seed(1)
    masks = torch.zeros((2, 3, FINE, FINE), dtype=torch.bool)
    for k in range(3):
        masks[0, k, 8 * k : 8 * k + 8, 4:20] = True
    masks[1, 1, 3:9, 20:30] = True
    drawn = draw_prompts(masks, 40)
    assert 0.3 < drawn.boxed.float().mean() < 0.7
    for points, boxed, target in zip(drawn.points, drawn.boxed, drawn.targets, strict=True):
        ys, xs = np.nonzero(target.numpy())
        pixels = points.numpy() * FINE
        if boxed:
            assert np.abs(pixels[0] - [xs.min(), ys.min()]).max() < 4
            assert np.abs(pixels[1] - [xs.max() + 1, ys.max() + 1]).max() < 4
        else:
            assert target[int(pixels[0, 1]), int(pixels[0, 0])]


def test_prompts_of_an_image_are_of_all_its_masks_and_of_no_other() -> None:
    masks = torch.zeros((1, 4, FINE, FINE), dtype=torch.bool)
    for k in (0, 2, 3):
        masks[0, k, 5 * k : 5 * k + 4] = True
    drawn = draw_prompts(masks, 6)
    meant = [int((masks[0] & target).any(-1).any(-1).nonzero()) for target in drawn.targets]
    assert sorted(meant) == [0, 0, 2, 2, 3, 3]


def test_a_correction_is_a_click_in_the_larger_error() -> None:
    start = prompts([[(30, 30), (0, 0)]], [[INCLUDE, PAD]])
    guess = torch.zeros((1, FINE, FINE), dtype=torch.bool)
    guess[0, 25:31, 25:31] = True
    after = correct(start, guess)
    assert after.labels.tolist() == [[INCLUDE, PAD, INCLUDE]]
    x, y = (after.points[0, -1] * FINE).int()
    assert start.targets[0, y, x]


def test_a_mask_that_spills_over_is_clicked_where_it_should_not_be() -> None:
    start = prompts([[(30, 30), (0, 0)]], [[INCLUDE, PAD]])
    guess = start.targets.clone()
    guess[0, 2:30, 24:] = True
    after = correct(start, guess)
    assert after.labels[0, -1] == EXCLUDE
    x, y = (after.points[0, -1] * FINE).int()
    assert guess[0, y, x]
    assert not start.targets[0, y, x]


def test_what_is_right_already_is_clicked_once_more() -> None:
    start = prompts([[(30, 30), (0, 0)]], [[INCLUDE, PAD]])
    after = correct(start, start.targets)
    assert after.labels[0, -1] == INCLUDE
    x, y = (after.points[0, -1] * FINE).int()
    assert start.targets[0, y, x]


def test_the_loss_reaches_every_weight_of_the_decoder_and_the_painting(sam: Sam) -> None:
    torch.manual_seed(0)
    masks = prompts([[(0, 0)]] * 2, [[INCLUDE]] * 2).targets[:, None]
    embedding = torch.randn(2, Widths(sam.mask_decoder).total, GRID, GRID)
    loss, stats = prompt_loss(sam, embedding, draw_prompts(masks, 8), 3)
    loss.backward()
    assert {"click1", "click2", "click3", "box0", "box1"} <= set(stats)
    learning = [*sam.mask_decoder.named_parameters()]
    learning += sam.prompt_encoder.mask_downscaling.named_parameters()
    assert [name for name, value in learning if value.grad is None] == []
