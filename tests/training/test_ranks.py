from functools import partial
from pathlib import Path

import torch
from torch import nn

from training.ranks import average_gradients, run_ranks


def model(weight: float) -> nn.Linear:
    """One weight that learns, whose gradient is `weight`, and one that has none of this rank."""
    linear = nn.Linear(1, 1)
    linear.weight.grad = torch.full_like(linear.weight, weight)
    return linear


def write_mean(folder: Path, rank: int) -> None:
    """What one rank does: its gradients and seconds are its number."""
    linear = model(float(rank))
    seconds = average_gradients(linear, float(rank))
    assert linear.weight.grad is not None
    assert linear.bias.grad is not None
    told = [linear.weight.grad.item(), linear.bias.grad.item(), seconds]
    (folder / str(rank)).write_text(" ".join(map(str, told)))


def test_every_rank_gets_the_mean_of_all_gradients(tmp_path: Path) -> None:
    run_ranks(partial(write_mean, tmp_path), 2)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["0.5 0.0 0.5"] * 2


def test_alone_a_rank_keeps_its_own() -> None:
    linear = model(3.0)
    assert average_gradients(linear, 1.5) == 1.5
    assert linear.weight.grad is not None
    assert linear.weight.grad.item() == 3.0
    assert linear.bias.grad is None
