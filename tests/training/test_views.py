"""Several views of a picture, brought back to it, and a learner held against their mean."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from server.engine.tokens import BOTTOM_RIGHT, INCLUDE, TOP_LEFT
from training.learner import Learner
from training.prompting import PAD, Prompts
from training.views import NOTHING, VIEWS, View, _losses, agreed, matched, views_loss

SIZE = 64
SIDE = SIZE // 4


@pytest.fixture(scope="module")
def learner() -> Learner:
    torch.manual_seed(0)
    learner = Learner(SIZE).eval()
    for parameter in learner.sam.mask_decoder.parameters():
        parameter.data.mul_(1.5)  # an untrained one says nearly nothing
    return learner


def scene() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    masks = torch.zeros((2, 1, SIZE // 2, SIZE // 2), dtype=torch.bool)
    masks[:, :, 8:20, 10:24] = True
    return torch.randn(2, 3, SIZE, SIZE), masks


def prompts(points: list[list[tuple[float, float]]], labels: list[list[int]]) -> Prompts:
    return Prompts(torch.tensor(points), torch.tensor(labels), torch.zeros(len(points), 8, 8) > 0)


@pytest.mark.parametrize("view", [*VIEWS, View(moved=3), View(moved=3, mirrored=True)])
def test_what_a_view_shows_comes_back_to_its_place(view: View) -> None:
    planes = torch.arange(SIDE * SIDE, dtype=torch.float32).view(1, SIDE, SIDE)
    back = view.back(view.show(planes), fill=-1.0)
    kept = back >= 0
    assert torch.equal(back[kept], planes[kept])
    assert kept.sum() == (SIDE - abs(view.moved)) ** 2


@pytest.mark.parametrize("view", [*VIEWS, View(moved=3), View(moved=3, mirrored=True)])
def test_a_click_is_where_the_view_shows_what_was_clicked(view: View) -> None:
    picture = torch.zeros(SIDE, SIDE)
    picture[9, 6] = 1.0
    click = prompts([[(6.5 / SIDE, 9.5 / SIDE), (0.0, 0.0)]], [[INCLUDE, PAD]])
    x, y = (view.aim(click, SIDE).points[0, 0] * SIDE).tolist()
    row, column = divmod(int(view.show(picture).argmax()), SIDE)
    assert (x, y) == pytest.approx((column + 0.5, row + 0.5), abs=1e-4)


def test_mirrored_a_box_keeps_its_left_side_left() -> None:
    box = prompts([[(0.2, 0.3), (0.6, 0.9)]], [[TOP_LEFT, BOTTOM_RIGHT]])
    mirrored = View(mirrored=True).aim(box, SIDE)
    assert mirrored.points[0].flatten().tolist() == pytest.approx([0.4, 0.3, 0.8, 0.9])
    assert torch.equal(mirrored.labels, box.labels)


@given(st.lists(st.floats(0, 1), min_size=9, max_size=9))
def test_the_pairing_is_the_cheapest(costs: list[float]) -> None:
    table = torch.tensor(costs, dtype=torch.float64).view(1, 3, 3)
    [order] = matched(table).tolist()
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    price = {one: sum(float(table[0, row, one[row]]) for row in range(3)) for one in orders}
    assert price[tuple(order)] == pytest.approx(min(price.values()))


@torch.inference_mode()
def test_of_one_view_alone_the_mean_is_what_it_says(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.views.VIEWS", VIEWS[:1])
    pixels, _ = scene()
    clicks = prompts([[(0.4, 0.5), (0, 0)], [(0.1, 0.8), (0, 0)]], [[INCLUDE, PAD]] * 2)
    seen, nothing = [learner.embed(pixels)], torch.zeros(2, SIDE, SIDE)
    logits, scores = agreed(learner.sam, seen, clicks, nothing, torch.tensor([False, False]))
    both = agreed(learner.sam, seen, clicks, nothing + NOTHING, torch.tensor([False, False]))
    torch.testing.assert_close((logits, scores), both)  # an earlier mask that is unknown is none
    assert logits.shape == (2, 4, SIDE, SIDE)
    assert scores.shape == (2, 4)


@torch.inference_mode()
def test_the_mean_of_a_view_seen_twice_is_that_view(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, _ = scene()
    clicks = prompts([[(0.4, 0.5), (0, 0)], [(0.1, 0.8), (0, 0)]], [[INCLUDE, PAD]] * 2)
    nothing, known = torch.zeros(2, SIDE, SIDE), torch.tensor([False, False])
    embedding = learner.embed(pixels)
    monkeypatch.setattr("training.views.VIEWS", VIEWS[:1])
    once = agreed(learner.sam, [embedding], clicks, nothing, known)
    monkeypatch.setattr("training.views.VIEWS", VIEWS[:1] * 2)
    twice = agreed(learner.sam, [embedding] * 2, clicks, nothing, known)
    torch.testing.assert_close(twice, once)


def test_candidates_in_another_order_are_no_disagreement() -> None:
    torch.manual_seed(2)
    logits, scores = 9 * torch.randn(5, 4, SIDE, SIDE), torch.rand(5, 4)
    lone = torch.tensor([True, True, True, True, False])
    turned = torch.cat([logits[:, :1], logits[:, [2, 3, 1]]], dim=1)
    turned_scores = torch.cat([scores[:, :1], scores[:, [2, 3, 1]]], dim=1)
    same = _losses(logits, scores, logits, scores, lone)
    torch.testing.assert_close(_losses(turned, turned_scores, logits, scores, lone), same)
    others = torch.cat([logits[:, :1], -logits[:, 1:]], dim=1)
    worse = _losses(others, scores, logits, scores, lone)
    assert (worse[:4] > 2 * same[:4]).all()
    torch.testing.assert_close(worse[4], same[4])  # of a box, the single mask alone counts


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_learner_comes_nearer_to_the_mean_of_its_views(learner: Learner, rounds: int) -> None:
    pupil, (pixels, masks) = copy.deepcopy(learner), scene()
    pupil.train_only_attention()
    trained = [p for p in pupil.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=3e-4)

    def loss() -> Tensor:
        torch.manual_seed(3)
        return views_loss(pupil, learner.sam, pixels, masks, rounds)[0]

    before = loss().item()
    for _ in range(5):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss().item() < before
    assert all(parameter.grad is None for parameter in learner.parameters())
    convolutions = dict(pupil.sam.image_encoder.down16.named_parameters())
    assert all(parameter.grad is None for parameter in convolutions.values())
