import pytest
import torch
from torch import Tensor

from training.closeups import CORRECTION_SIDE, _back, closeup_loss
from training.learner import Learner
from training.twins import boxes_of

SIZE = 64
"""Of the first look's input."""
PICTURE = 160


@pytest.fixture
def learner() -> Learner:
    torch.manual_seed(0)
    made = Learner(SIZE)
    made.train_only_closeup()
    return made


def scene() -> tuple[Tensor, Tensor]:
    """Two pictures with two masks and one."""
    masks = torch.zeros((2, 3, PICTURE, PICTURE), dtype=torch.bool)
    masks[0, 0, 20:90, 30:140] = True
    masks[0, 2, 100:112, 20:30] = True
    masks[1, 1, 40:, :100] = True
    pixels = torch.randn((2, 3, PICTURE, PICTURE)) + 2 * masks.any(1, keepdim=True)
    return pixels, masks


def test_only_the_close_up_learns_and_all_of_it(learner: Learner) -> None:
    loss, stats = closeup_loss(learner, *scene(), rounds=2)
    loss.backward()
    moved = {n.split(".")[0] for n, p in learner.named_parameters() if p.grad is not None}
    assert moved == {"closeup"}
    assert all(p.grad is not None for p in learner.closeup.parameters())
    assert {"click1", "click2", "box0", "box1", "click1_first", "box0_first"} <= set(stats)


def test_some_steps_make_the_masks_better_than_the_first_look_s(learner: Learner) -> None:
    pixels, masks = scene()
    optimiser = torch.optim.AdamW(learner.closeup.parameters(), lr=3e-3)
    for _ in range(12):
        optimiser.zero_grad()
        loss, stats = closeup_loss(learner, pixels, masks, rounds=1)
        loss.backward()
        optimiser.step()
    assert stats["box0"] > stats["box0_first"]
    assert stats["click1"] > stats["click1_first"]


def test_a_close_up_s_mask_lies_on_the_input_where_its_window_lies() -> None:
    answers = torch.full((2, 64, 64), -1.0)
    answers[:, 16:48, 16:48] = 1.0
    windows = torch.tensor([[0.25, 0.5, 0.5], [-0.5, -0.5, 0.5]])
    points = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]).expand(2, -1, -1)
    nothing = boxes_of(points, torch.tensor([[1, -1], [1, -1]]))
    first, second = _back(answers, windows, nothing)
    ys, xs = first.nonzero().unbind(1)
    places = torch.stack([xs.min(), xs.max() + 1, ys.min(), ys.max() + 1]) / CORRECTION_SIDE
    torch.testing.assert_close(
        places, torch.tensor([0.375, 0.625, 0.625, 0.875]), atol=0.01, rtol=0
    )
    assert not second.any()  # all of its mask is beyond the input
