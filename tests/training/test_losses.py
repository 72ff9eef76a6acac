import pytest
import torch

from training.losses import mask_iou, mask_loss, min_over_candidates


def test_a_confident_right_mask_costs_nearly_nothing() -> None:
    target = (torch.rand(2, 3, 8, 8) > 0.5).float()
    assert mask_loss((target * 2 - 1) * 20, target).max() < 0.02


def test_a_confident_wrong_mask_costs_more_than_an_undecided_one() -> None:
    target = (torch.rand(1, 1, 8, 8) > 0.5).float()
    wrong = mask_loss((1 - target * 2) * 5, target)
    assert wrong > mask_loss(torch.zeros_like(target), target)


def test_only_the_best_candidate_counts_but_for_a_leak() -> None:
    losses = torch.tensor([[1.0, 2.0, 6.0]])
    assert min_over_candidates(losses, leak=0.0).item() == 1.0
    assert min_over_candidates(losses, leak=0.5).item() == pytest.approx(2.0)


def test_iou_counts_pixels_over_the_threshold() -> None:
    logits = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    target = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    assert mask_iou(logits, target).item() == pytest.approx(1 / 3)
