"""The server's numpy functions for one prompt, in torch for many at once, on any device.

Serving answers one click in milliseconds on a CPU; training shows thousands a second to a GPU. Each
function here is the twin of one in `server.engine`, whose docstring says why; the tests hold each
pair together.

Places are shares of the model's square input; a window is a row of left edge, top edge and side.
M counts prompts; those of one image lie one after the other, equally many for each image.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from server.engine import tokens
from server.engine.models.tiny import painting
from server.engine.second_look import colours, planes, window
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT

__all__ = [
    "box_coverages",
    "boxes_of",
    "clamp_to_box",
    "closeup_planes",
    "crop",
    "enlarge",
    "evidence",
    "fit_to_box",
    "halved",
    "paint",
    "resampling",
    "windows_around",
]


def boxes_of(points: Tensor, labels: Tensor) -> Tensor:
    """M x T x 2 places and M x T labels to M x 4 boxes (x0, y0, x1, y1), NaN without one."""
    corners = []
    for label in (TOP_LEFT, BOTTOM_RIGHT):
        of_kind = labels == label
        spot = (points * of_kind[..., None]).sum(1)
        corners.append(torch.where(of_kind.any(1, keepdim=True), spot, torch.nan))
    return torch.cat(corners, dim=1)


def box_coverages(boxes: Tensor, side: int) -> Tensor:
    """M x side x side: how much of each cell lies in the box (`box_coverage`); 0 without one."""
    left = torch.arange(side, device=boxes.device, dtype=boxes.dtype)
    low, high = boxes[:, :2, None] * side, boxes[:, 2:, None] * side
    covered = (torch.minimum(left + 1, high) - torch.maximum(left, low)).clamp(0, 1)
    return (covered[:, 1, :, None] * covered[:, 0, None, :]).nan_to_num(0.0)


def clamp_to_box(logits: Tensor, share: Tensor) -> Tensor:
    """`tokens.clamp_to_box`, for any leading shape."""
    return torch.minimum(logits, tokens.EDGE_LOGIT * (2 * share - 1))


def fit_to_box(logits: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """`painting.fit_to_box` of M planes."""
    boxes = boxes_of(points, labels)
    alone = ~((labels == INCLUDE) | (labels == EXCLUDE)).any(1)
    share = box_coverages(boxes, logits.shape[-1])
    smallness = 1 - (share.mean((1, 2)) / painting.SMALL_SHARE).sqrt()
    lift = painting.LIFT + painting.SMALL_LIFT * smallness.clamp(min=0)
    lifted = logits + torch.where(alone, lift, 0.0)[:, None, None]
    boxed = ~boxes[:, :1, None].isnan()
    return torch.where(boxed, clamp_to_box(lifted, share), logits)


def _near(points: Tensor, chosen: Tensor, side: int, reach: float) -> Tensor:
    """M x side x side: cells whose middle is within `reach` (a share) of a chosen place."""
    middles = (torch.arange(side, device=points.device, dtype=points.dtype) + 0.5) / side
    away = points[:, :, :, None] - middles
    squares = away[:, :, 1, :, None] ** 2 + away[:, :, 0, None, :] ** 2
    return ((squares <= reach**2) & chosen[:, :, None, None]).any(1)


def paint(points: Tensor, labels: Tensor, priors: Tensor, known: Tensor, side: int) -> Tensor:
    """`painting.paint_prompt`: M x side x side; of `priors` only the `known` are looked at."""
    limit, reach = painting.PRIOR_LIMIT, painting.CLICK_RADIUS
    boxes = boxes_of(points, labels)
    share = box_coverages(boxes, side)
    drawn = painting.OUTSIDE_BOX + (painting.INSIDE_BOX - painting.OUTSIDE_BOX) * share
    drawn = torch.where(boxes[:, :1, None].isnan(), 0.0, drawn)
    canvas = torch.where(known[:, None, None], priors.clamp(-limit, limit), drawn)
    for at in range(points.shape[1]):  # a later click covers an earlier one
        spot, label = points[:, at : at + 1], labels[:, at]
        is_click = (label == INCLUDE) | (label == EXCLUDE)
        clicked = _near(spot, is_click[:, None], side, reach)
        logit = torch.where(label == INCLUDE, painting.CLICK_LOGIT, -painting.CLICK_LOGIT)
        canvas = torch.where(clicked, logit[:, None, None], canvas)
    return canvas


# --- where to look ------------------------------------------------------------------------------


def windows_around(logits: Tensor, points: Tensor, labels: Tensor, pixels: int) -> Tensor:
    """`window.window_around` of M planes: M x 3."""
    low, high = _extents(logits)
    included = (labels == INCLUDE)[..., None]
    low = torch.minimum(low, torch.where(included, points, torch.inf).amin(1))
    high = torch.maximum(high, torch.where(included, points, -torch.inf).amax(1))
    boxes = boxes_of(points, labels)
    boxed = ~boxes[:, :1].isnan()
    low, high = torch.where(boxed, boxes[:, :2], low), torch.where(boxed, boxes[:, 2:], high)
    nothing = low.isinf()
    low, high = low.masked_fill(nothing, 0.0), high.masked_fill(nothing, 1.0)
    margin = torch.where(boxed[:, 0], window.BOX_MARGIN, window.MASK_MARGIN)
    side = ((high - low).amax(1) * margin).clamp(window.LEAST_SHARE, 1.0)
    whole = _halvable((side * pixels).round().clamp(min=1))
    corner = ((low + high) / 2 * pixels - whole[:, None] / 2).round()
    return torch.cat([corner, whole[:, None]], dim=1) / pixels


def _halvable(side: Tensor) -> Tensor:
    step = torch.ones_like(side)
    for _ in range(16):
        step = torch.where(side >= 2 * window.CELLS * step, 2 * step, step)
    return (side / step).ceil() * step


def _extents(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Two Mx2 corners around nearly all that is mask; infinite around nothing."""
    mask = logits > 0
    lows, highs = [], []
    for axis in (1, 2):
        spread = mask.sum(axis).cumsum(1)
        whole = spread[:, -1:]
        stray = window.STRAY_SHARE
        inside = (spread > stray * whole) & (spread <= (1 - stray) * whole)
        count = spread.shape[1]
        first = inside.float().argmax(1)
        last = count - 1 - inside.float().flip(1).argmax(1)
        peak = (spread < whole / 2).sum(1)
        some = inside.any(1)
        low = torch.where(some, first, peak)
        high = torch.where(some, last + 2, peak + 1).clamp(max=count)
        empty = whole[:, 0] == 0
        lows.append(torch.where(empty, torch.inf, low / count))
        highs.append(torch.where(empty, -torch.inf, high / count))
    return torch.stack(lows, 1), torch.stack(highs, 1)


def place(points: Tensor, windows: Tensor) -> Tensor:
    """M x T x 2 places in shares of their windows."""
    return (points - windows[:, None, :2]) / windows[:, None, 2:]


# --- what is seen there -------------------------------------------------------------------------


def halved(pictures: Tensor) -> list[Tensor]:
    """BxCxSxS pictures and their halves, down to those that a window of all of it is cut from."""
    levels = [pictures]
    while levels[-1].shape[-1] >= 2 * window.CELLS:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def crop(levels: list[Tensor], windows: Tensor) -> Tensor:
    """`window.crop` of M windows: M x C x CELLS x CELLS; 0 where there is no picture.

    The halves lie on the picture's grid here, not on the window's, and areas are averaged over
    four samples: the same but for a fraction of a cell.
    """
    cells, size = window.CELLS, levels[0].shape[-1]
    count, each = len(levels[0]), len(windows) // len(levels[0])
    steps = (torch.arange(2 * cells, device=windows.device) + 0.5) / (2 * cells)
    across, down = (windows[:, i, None] + windows[:, 2:] * steps for i in (0, 1))
    grid = torch.stack(
        [
            across[:, None, :].expand(-1, 2 * cells, -1),
            down[:, :, None].expand(-1, -1, 2 * cells),
        ],
        dim=-1,
    )
    grid = (2 * grid - 1).reshape(count, each * 2 * cells, 2 * cells, 2)
    depth = (windows[:, 2] * size / cells).log2().floor().clamp(0, len(levels) - 1)
    seen: Tensor | None = None
    for level, pictures in enumerate(levels):
        fine = F.grid_sample(pictures, grid.to(pictures.dtype), align_corners=False)
        found = F.avg_pool2d(fine, 2).unflatten(2, (each, cells)).transpose(1, 2).flatten(0, 1)
        chosen = (depth == level)[:, None, None, None]
        seen = found if seen is None else torch.where(chosen, found, seen)
    if seen is None:
        raise ValueError("no picture to cut from")
    return seen


def enlarge(logits: Tensor, windows: Tensor) -> Tensor:
    """`window.enlarge` of M planes."""
    cells, size = window.CELLS, logits.shape[-1]
    down, across = (
        _weights(windows[:, i], windows[:, 2], size, cells, torch.ones_like(windows[:, 2]))
        for i in (1, 0)
    )
    return down @ logits @ across.transpose(1, 2)


def resampling(start: Tensor, side: Tensor, size: int, cells: int) -> Tensor:
    """`window.resampling` of M stretches: M x cells x size."""
    weights = _weights(start, side, size, cells, (side * size / cells).clamp(min=1))
    return weights / weights.sum(-1, keepdim=True)


def _weights(start: Tensor, side: Tensor, size: int, cells: int, reach: Tensor) -> Tensor:
    """M x cells x size: triangles of a half width of M `reach` around each cell's middle."""
    steps = (torch.arange(cells, device=start.device) + 0.5) / cells
    middles = (start[:, None] + side[:, None] * steps) * size - 0.5
    distance = torch.arange(size, device=start.device) - middles.clamp(0, size - 1)[..., None]
    return (1 - distance.abs() / reach[:, None, None]).clamp(min=0)


def closeup_planes(
    pixels: Tensor, windows: Tensor, logits: Tensor, points: Tensor, labels: Tensor
) -> Tensor:
    """`planes.closeup_planes` of M windows: M x PLANES x CELLS x CELLS; `pixels` are normalised."""
    cells = window.CELLS
    first = enlarge(logits.clamp(-planes.LOGIT_LIMIT, planes.LOGIT_LIMIT), windows)
    placed = place(points, windows)
    boxes = boxes_of(placed, labels)
    boxed = ~boxes[:, :1, None].isnan()
    share = box_coverages(boxes, cells)
    reach = planes.SHOWN_CLICK_CELLS / cells
    clicks = [2.0 * _near(placed, labels == kind, cells, reach) for kind in (INCLUDE, EXCLUDE)]
    around = _near(placed, labels == INCLUDE, cells, 2 * reach).float()
    chance = first.sigmoid()
    told = evidence(
        pixels,
        [torch.where(boxed, chance * share, chance), torch.where(boxed, share, around)],
    )
    drawn = [first / 2, share, *clicks, *told]
    return torch.cat([pixels, torch.stack(drawn, dim=1)], dim=1)


def evidence(pixels: Tensor, insides: list[Tensor]) -> list[Tensor]:
    """`colours.ColourCube.evidence` of M x 3 x cells x cells normalised pixels, of each inside."""
    std = torch.from_numpy(planes.PIXEL_STD).to(pixels)
    flat = pixels.float().flatten(2) * std[:, None]
    flat = flat - flat.mean(2, keepdim=True)
    spread, axes = torch.linalg.eigh(flat @ flat.transpose(1, 2) / flat.shape[2])
    spread, axes = spread.flip(1), axes.flip(2)
    least = colours.LEAST_SPREAD
    width = 2 * colours.REACH * spread.clamp(min=0).sqrt().clamp(min=least)
    levels = torch.tensor(colours.LEVELS, device=pixels.device, dtype=torch.float32)
    steps = (axes / width[:, None, :]).transpose(1, 2) @ flat * levels[:, None]
    places = (steps + levels[:, None] / 2).clamp(min=0).minimum(levels[:, None] - 1).long()
    _, middle, last = colours.LEVELS
    cells = (places[:, 0] * middle + places[:, 1]) * last + places[:, 2]
    everything = _count(cells, torch.ones_like(flat[:, 0]))
    return [_evidence(cells, everything, inside) for inside in insides]


def _evidence(cells: Tensor, everything: Tensor, inside: Tensor) -> Tensor:
    weights = inside.flatten(1).float()
    size, total = weights.shape[1], weights.sum(1, keepdim=True)
    within = _count(cells, weights)
    without = everything - within
    doubt = colours.DOUBT
    share_in = (within + doubt * total / size) / total.clamp(min=1e-6)
    share_out = (without + doubt * (1 - total / size)) / (size - total).clamp(min=1e-6)
    ratio = share_in.clamp(min=1e-9).log() - share_out.clamp(min=1e-9).log()
    spoken = ratio.clamp(-colours.LIMIT, colours.LIMIT)
    return spoken.gather(1, cells).view_as(inside)


def _count(cells: Tensor, weights: Tensor) -> Tensor:
    """M x cells of the cube: `ColourCube`'s count, each shared with the neighbouring cells."""
    levels = colours.LEVELS
    counts = weights.new_zeros(len(cells), levels[0] * levels[1] * levels[2])
    cube = counts.scatter_add_(1, cells, weights).view(-1, *levels)
    for axis in (1, 2, 3):
        count = cube.shape[axis]
        before = cube.index_select(axis, _neighbours(count, -1, cube.device))
        after = cube.index_select(axis, _neighbours(count, 1, cube.device))
        cube = cube / 2 + before / 4 + after / 4
    return cube.flatten(1)


def _neighbours(count: int, step: int, device: torch.device) -> Tensor:
    return (torch.arange(count, device=device) + step).clamp(0, count - 1)
