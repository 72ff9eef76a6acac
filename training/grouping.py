"""Stage 1: the encoder alone, on which pixels belong together.

Of each clicked pixel the loss asks which other pixels of the embedding are of its mask: logit =
bias - scale x squared distance to the clicked pixel's feature. It needs no decoder, and a dozen
clicks an image cost next to nothing: the cheapest supervision there is. Three projections, the best
of which counts, because a click on a button means the button, the shirt or the person.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.losses import mask_iou, mask_loss, min_over_candidates

__all__ = ["Clicks", "GroupingHead", "draw_clicks", "grouping_loss"]

LEVELS = 3
FEATURES = 24


class Clicks:
    """Clicked pixels (B x N, flat indices into the embedding's grid) and their masks."""

    def __init__(self, places: Tensor, targets: Tensor) -> None:
        self.places = places
        self.targets = targets


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


def draw_clicks(
    masks: list[NDArray[np.bool_]], count: int, grid: int, rng: np.random.Generator
) -> Clicks:
    """`count` clicks an image, each uniform in one of its masks, and that mask on the grid."""
    places = np.zeros((len(masks), count), np.int64)
    half = masks[0].shape[-1]
    targets = np.zeros((len(masks), count, half, half), np.float32)
    for b, group in enumerate(masks):
        spots = [np.flatnonzero(mask) for mask in group]
        for n in range(count):
            k = n % len(group) if n < len(group) else int(rng.integers(len(group)))
            spot = int(spots[k][rng.integers(len(spots[k]))])
            y, x = spot // half * grid // half, spot % half * grid // half
            places[b, n] = y * grid + x
            targets[b, n] = group[k]
    soft = F.avg_pool2d(torch.from_numpy(targets), half // grid)
    return Clicks(torch.from_numpy(places), soft)


def grouping_loss(head: GroupingHead, embedding: Tensor, clicks: Clicks) -> tuple[Tensor, float]:
    """The loss, and the mean IoU of the best level as something to look at."""
    logits = head(embedding, clicks.places)
    targets = clicks.targets[:, :, None].expand_as(logits)
    losses = mask_loss(logits, targets)
    best = mask_iou(logits, targets).max(-1).values.mean()
    return min_over_candidates(losses).mean(), float(best)
