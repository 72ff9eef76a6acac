"""Which region an annotator means, and where the click goes: its middle, or anywhere. In torch.

A region is resampled to a grid of its own extent, so that a small one costs as much as a large one,
and is worn away from outside, a cell at a time: what stays longest is its middle.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["choose_targets", "click_in", "depth_of", "extents"]

CELLS = 64
MIDDLE = 0.9
"""Of the largest depth: what is deeper is the region's middle."""


def choose_targets(masks: Tensor, each: int) -> Tensor:
    """`each` masks an image of B x K x g x g, all different while there are; empty ones are none.

    Returns:
        B x each indices.
    """
    usable = masks.any(-1).any(-1)
    order = (torch.rand(usable.shape, device=masks.device) + usable).argsort(1, descending=True)
    turns = torch.arange(each, device=masks.device) % usable.sum(1, keepdim=True).clamp(min=1)
    return order.gather(1, turns)


def extents(regions: Tensor) -> tuple[Tensor, Tensor]:
    """M x g x g bool to two M x 2 corners (x, y) in cells, the second beyond; 0 and g if empty."""
    size = regions.shape[-1]
    some = torch.stack([regions.any(1), regions.any(2)], dim=1).byte()
    low = some.argmax(-1)
    high = size - some.flip(-1).argmax(-1)
    return low.float(), high.float()


def click_in(regions: Tensor, centred: Tensor) -> Tensor:
    """A place in each region, M x 2 (x, y) in shares of the grid; the first pixel of an empty one.

    Args:
        regions: M x g x g bool.
        centred: M bool, which are clicked near their middle.
    """
    sampled, columns, rows = _own_grid(regions)
    deep = _depths(sampled)
    middle = deep >= MIDDLE * deep.amax((1, 2), keepdim=True)
    allowed = sampled & (middle | ~centred[:, None, None])
    lottery = torch.rand(sampled.shape, device=regions.device)
    spot = (lottery + allowed).flatten(1).argmax(1, keepdim=True)
    side = regions.shape[-1]
    y, x = rows.gather(1, spot // CELLS), columns.gather(1, spot % CELLS)
    # Pixels far apart may all fall between the samples.
    missed = ~allowed.flatten(1).any(1, keepdim=True)
    first = regions.flatten(1).byte().argmax(1, keepdim=True)
    x, y = torch.where(missed, first % side, x), torch.where(missed, first // side, y)
    corner = torch.cat([x, y], dim=1)
    return (corner + torch.rand_like(corner, dtype=torch.float32)) / side


def depth_of(regions: Tensor) -> Tensor:
    """How far the middle of each region is from its border, in cells of M x g x g."""
    sampled, _, _ = _own_grid(regions)
    low, high = extents(regions)
    return _depths(sampled).amax((1, 2)) * (high - low).amax(1) / CELLS


def _own_grid(regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """M x CELLS x CELLS of each region's square, and the columns and rows that were taken."""
    size = regions.shape[-1]
    low, high = extents(regions)
    side = (high - low).amax(1, keepdim=True)
    start = (low + high - side) / 2
    steps = (torch.arange(CELLS, device=regions.device) + 0.5) / CELLS
    taken = (start[:, :, None] + side[:, :, None] * steps).floor().long()
    there = (taken >= 0) & (taken < size)
    inside = there[:, 1, :, None] & there[:, 0, None, :]
    columns, rows = taken.clamp(0, size - 1).unbind(1)
    places = rows[:, :, None] * size + columns[:, None, :]
    sampled = regions.flatten(1).gather(1, places.flatten(1)).view_as(places) & inside
    return sampled, columns, rows


def _depths(regions: Tensor) -> Tensor:
    """M x n x n: cells worn away from outside until each is gone, crosses and squares in turn."""
    left = F.pad(regions.half() if regions.is_cuda else regions.float(), (1, 1, 1, 1))
    depths = torch.zeros_like(left)
    for turn in range(CELLS // 2):
        depths += left
        if turn % 2:
            left = -F.max_pool2d(-left, 3, stride=1, padding=1)
        else:
            upright = F.max_pool2d(-left, (3, 1), stride=1, padding=(1, 0))
            level = F.max_pool2d(-left, (1, 3), stride=1, padding=(0, 1))
            left = -torch.maximum(upright, level)
    return depths[:, 1:-1, 1:-1]
