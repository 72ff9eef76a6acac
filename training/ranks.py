"""Single-threaded processes that train as one, by averaging their gradients each step.

Threads of one process meet at a barrier after every operation, about a thousand times a step. On
cores that others use too, each barrier costs a scheduler's slice and a step takes five times as
long. Processes meet once a step.
"""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import nn

__all__ = ["average_gradients", "run_ranks"]


def run_ranks(work: Callable[[int], None], count: int) -> None:
    """Call `work(rank)` in `count` processes that can average gradients; rank 0 is this one."""
    if count == 1:
        torch.set_num_threads(1)
        work(0)
        return
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        others = [
            context.Process(target=_join, args=(work, rank, count, meeting))
            for rank in range(1, count)
        ]
        for process in others:
            process.start()
        _join(work, 0, count, meeting)
        for process in others:
            process.join()


def _join(work: Callable[[int], None], rank: int, count: int, meeting: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=count)
    work(rank)
    dist.destroy_process_group()


def average_gradients(model: nn.Module, seconds: float) -> float:
    """Every rank's gradients become their mean; returns the ranks' mean of `seconds`."""
    if not dist.is_initialized():
        return seconds
    gradients = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.tensor([seconds])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat[:-1].split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return float(flat[-1])
