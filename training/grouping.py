"""Beside the prompts, a loss for the encoder alone: which pixels belong together.

For each clicked pixel the loss asks which other pixels of the embedding are in its mask: logit =
bias - scale x squared distance to the clicked pixel's feature. It needs no decoder, and a dozen
clicks per image cost next to nothing: the cheapest supervision there is. Of three projections the
best counts, because a click on a button means the button, the shirt or the person.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.clicks import choose_targets
from training.losses import mask_loss, min_over_candidates

__all__ = ["GroupingHead", "draw_clicks", "grouping_loss"]

LEVELS = 3
FEATURES = 24


@dataclass(slots=True)
class Clicks:
    """Clicked cells of an embedding's grid, and what was meant."""

    places: Tensor
    """B x N flat indices into the grid."""
    targets: Tensor
    """B x N x h x w, of each cell the share that is meant."""


class GroupingHead(nn.Module):
    """Projects the embedding to `LEVELS` feature spaces in which distance means belonging."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(dim, LEVELS * FEATURES, 1)
        self.bias = nn.Parameter(torch.ones(LEVELS))
        self.log_scale = nn.Parameter(torch.zeros(LEVELS))

    def forward(self, embedding: Tensor, places: Tensor) -> Tensor:
        """BxCxhxw and BxN clicked places to B x N x LEVELS x h x w logits."""
        height, width = embedding.shape[-2:]
        features = self.project(embedding).float().unflatten(1, (LEVELS, FEATURES)).flatten(3)
        index = places[:, None, None, :].expand(-1, LEVELS, FEATURES, -1)
        clicked = features.gather(3, index)
        cross = clicked.transpose(2, 3) @ features
        squares = features.square().sum(2)
        near = clicked.square().sum(2)
        distance = near[:, :, :, None] + squares[:, :, None, :] - 2 * cross
        scale = self.log_scale.exp()[None, :, None, None]
        logits = self.bias[None, :, None, None] - scale * distance
        levels: Tensor = logits.unflatten(3, (height, width)).transpose(1, 2)
        return levels


def draw_clicks(masks: Tensor, count: int, grid: int) -> Clicks:
    """`count` clicks an image of B x K x g x g masks, each anywhere in one of them."""
    chosen = choose_targets(masks, count)
    covered = F.adaptive_avg_pool2d(masks.float(), grid)
    targets = covered[torch.arange(len(masks), device=masks.device)[:, None], chosen]
    mostly = targets >= 0.5
    lottery = torch.rand_like(targets) + mostly
    # Masks thinner than a cell are clicked where there is most of them.
    places = torch.where(mostly.any(-1).any(-1)[..., None, None], lottery, targets)
    return Clicks(places.flatten(2).argmax(2), targets)


def grouping_loss(head: GroupingHead, embedding: Tensor, clicks: Clicks) -> Tensor:
    """The mean over clicks; of each the level counts that fits best."""
    logits = head(embedding, clicks.places)
    targets = clicks.targets[:, :, None].expand_as(logits)
    return min_over_candidates(mask_loss(logits, targets)).mean()
