"""Muon: momentum whose matrices are made orthogonal before they move the weights.

A gradient's few strong directions drown its many weak ones; here all directions move by about the
same. A step costs a few matrix products more than AdamW's and is worth several of AdamW's where, as
here, steps are expensive. Source: Jordan et al., "Muon: An optimizer for hidden layers in neural
networks" (2024); the scale that suits AdamW's learning rates: Liu et al., arXiv:2502.16982.
torch has one too, which multiplies in bfloat16 (slow where the processor has none) and takes no
convolutions.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

__all__ = ["Muon", "orthogonal"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that drives singular values towards one; from the first source."""
ROUNDS = 5
RMS = 0.2
"""Root mean square of a step at a learning rate of one, about AdamW's."""


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions and more: rows along the first, all else in columns."""

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        if closure is not None:
            raise ValueError("this optimiser does not evaluate a closure")
        for group in self.param_groups:
            alike: dict[torch.Size, list[Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for weights in alike.values():
                self._move(weights, group)

    def _move(self, weights: list[Parameter], group: dict[str, Any]) -> None:
        """Weights of one shape are turned together: a GPU waits for the next call, not for sums."""
        ahead = []
        for weight in weights:
            gradient: Tensor = weight.grad  # type: ignore[assignment]
            state = self.state[weight]
            if not state:
                state["mean"] = torch.zeros_like(gradient)
            mean: Tensor = state["mean"]
            mean.lerp_(gradient, 1 - group["momentum"])
            ahead.append(gradient.lerp(mean, group["momentum"]).flatten(1))
        turned = orthogonal(torch.stack(ahead))
        size = RMS * max(turned.shape[1:]) ** 0.5
        for weight, step in zip(weights, turned, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(step.view(weight.shape), alpha=-group["lr"] * size)


def orthogonal(matrices: Tensor) -> Tensor:
    """Each matrix with its singular values brought to about one (0.7..1.2), by Newton-Schulz.

    Those of less than a thousandth of its norm are only made a few hundred times as large.

    Each round multiplies by a polynomial of x @ x.T from the left, and they all commute: so the
    rounds run on that small square, and the wide matrix is multiplied once.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    square = x @ x.mT
    one = torch.eye(square.shape[-1], dtype=x.dtype, device=x.device)
    turned = one
    for left in reversed(range(ROUNDS)):
        factor = a * one + b * square + c * (square @ square)
        turned = factor @ turned
        if left:
            square = factor @ square @ factor
    x = turned @ x
    found: Tensor = x.mT if tall else x
    return found
