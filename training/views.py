"""Training the first look to give for one view the mean of its answers to four.

Shown a picture mirrored, or moved by half a cell of its embedding, it answers a little differently,
and the mean of its answers is better than any one of them. It is taught to give that mean at once,
so serving costs no more. No labels are needed, so half of the prompts point at whatever the model
itself sees in the picture. Its convolutions are not trained.

Source: Radosavovic et al., "Data distillation: Towards omni-supervised learning" (CVPR 2018). New
here is that candidates are matched, first each view's to the others', then the learner's to their
mean. Without that the three candidates become alike, and the best of them worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from server.engine.models.upstream import Sam
from server.engine.tokens import INCLUDE
from training.learner import Learner, autocast
from training.losses import mask_loss
from training.prompting import (
    PAD,
    Prompts,
    answer,
    correct,
    draw_prompts,
)
from training.veil import veiled

__all__ = ["VIEWS", "View", "agreed", "matched", "views_loss"]

PROMPTS = 8
"""An image's; as many things are picked at random for half of them to point at."""
CELL_PIXELS = 4
"""Pixels of the input that a cell of the logits covers."""
NOTHING = -8.0
"""Logits of what a view does not show."""
VEILED_SHARE = 0.6
"""Of the pictures, those that the learner sees veiled and its teacher does not: as many as in the
close-ups' stage, for it knows them by heart as well as there."""

_ORDERS = torch.tensor(list(permutations(range(3))))


@dataclass(frozen=True, slots=True)
class View:
    """A picture moved left and up by so many cells of the logits, and then perhaps mirrored."""

    moved: int = 0
    mirrored: bool = False

    def show(self, planes: Tensor, scale: int = 1, fill: float = 0.0) -> Tensor:
        """...xHxW planes, of which `scale` pixels make a cell, as they are seen."""
        by = self.moved * scale
        moved = F.pad(planes, (-by, by, -by, by), value=fill)
        return moved.flip(-1) if self.mirrored else moved

    def back(self, planes: Tensor, fill: float = NOTHING) -> Tensor:
        """...xHxW logits of what was seen, on the picture itself."""
        upright = planes.flip(-1) if self.mirrored else planes
        by = self.moved
        return F.pad(upright, (by, -by, by, -by), value=fill)

    def aim(self, prompts: Prompts, side: int) -> Prompts:
        """The same prompts, with their points where the view shows them; `side` in cells."""
        points = (prompts.points - self.moved / side).clamp(0, 1)
        if self.mirrored:
            across, down = 1 - points[..., 0], points[..., 1]
            # Mirrored, a box's right side is its left one.
            swapped = torch.cat([across[:, :2].flip(1), across[:, 2:]], dim=1)
            across = torch.where(prompts.boxed[:, None], swapped, across)
            points = torch.stack([across, down], dim=-1)
        return replace(prompts, points=points)


VIEWS = (View(), View(mirrored=True), View(moved=2), View(moved=-2, mirrored=True))
"""The picture as it is comes first: its candidates are what the others' are matched to."""


def views_loss(
    learner: Learner, teacher: Sam, pixels: Tensor, masks: Tensor, rounds: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the learner says of a veiled picture, against what its teacher says of four views.

    Args:
        learner: learns.
        teacher: the same first look as it was; it stays so.
        pixels: Bx3xSxS, normalised.
        masks: BxKxgxg bool; half of the prompts point at them.
        rounds: the later ones begin from the teacher's mask and add a click to it.
    """
    with torch.no_grad(), autocast(pixels.device):
        seen = [teacher.image_encoder(view.show(pixels, CELL_PIXELS)) for view in VIEWS]
    things = _things(teacher, seen[0], PROMPTS // 2, masks.shape[-1])
    drawn = [draw_prompts(some, PROMPTS // 2) for some in (masks, things)]
    prompts = _together(drawn, len(pixels))
    with autocast(pixels.device):
        embedding = learner.embed(veiled(pixels, VEILED_SHARE))
    side = 4 * embedding.shape[-1]
    priors = pixels.new_zeros((len(prompts.targets), side, side))
    known = torch.zeros_like(prompts.boxed)
    total, stats = pixels.new_zeros(()), {}
    for turn in range(rounds):
        lone = ~prompts.boxed if turn == 0 else torch.zeros_like(prompts.boxed)
        logits, scores = agreed(teacher, seen, prompts, priors, known)
        own_logits, own_scores = answer(learner.sam, embedding, prompts, priors, known)
        losses = _losses(own_logits, own_scores, logits, scores, lone)
        total = total + losses.mean()
        stats[f"views{turn + 1}"] = losses.detach().mean()
        if turn + 1 < rounds:
            chosen = torch.where(lone, 1 + scores[:, 1:].argmax(1), 0)
            priors = logits[torch.arange(len(logits), device=logits.device), chosen]
            grid = prompts.targets.shape[-1]
            guesses = F.interpolate(priors[:, None], (grid, grid), mode="bilinear")[:, 0] > 0
            prompts, known = correct(prompts, guesses), torch.ones_like(known)
    return total / rounds, stats


@torch.no_grad()
def agreed(
    teacher: Sam, seen: Sequence[Tensor], prompts: Prompts, priors: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Mx4xsxs logits and Mx4 scores, the mean over the views of which `seen` has the embeddings."""
    side = priors.shape[-1]
    answers: list[tuple[Tensor, Tensor, Tensor]] = []
    for view, embedding in zip(VIEWS, seen, strict=True):
        logits, scores = answer(
            teacher, embedding, view.aim(prompts, side), view.show(priors, fill=NOTHING), known
        )
        logits, shown = view.back(logits), view.back(torch.ones_like(logits[:1, :1]), fill=0.0)
        if answers:
            order = matched(_disagreement(answers[0][0][:, 1:], logits[:, 1:]))
            logits = torch.cat([logits[:, :1], _ordered(logits[:, 1:], order)], dim=1)
            scores = torch.cat([scores[:, :1], _ordered(scores[:, 1:], order)], dim=1)
        answers.append((logits, scores, shown))
    weight = torch.stack([shown for *_, shown in answers]).sum(0)
    mean = torch.stack([logits * shown for logits, _, shown in answers]).sum(0) / weight
    return mean, torch.stack([scores for _, scores, _ in answers]).mean(0)


def matched(costs: Tensor) -> Tensor:
    """Of Mx3x3 costs of pairs the cheapest pairing: for each row its column, Mx3."""
    orders = _ORDERS.to(costs.device)
    rows = torch.arange(3, device=costs.device)
    sums = costs[:, rows, orders].sum(-1)
    cheapest: Tensor = orders[sums.argmin(1)]
    return cheapest


def _losses(
    own_logits: Tensor, own_scores: Tensor, logits: Tensor, scores: Tensor, lone: Tensor
) -> Tensor:
    """One a prompt: of the single mask, or of a lone click's three candidates."""
    targets = logits.sigmoid()
    single = mask_loss(own_logits[:, 0], targets[:, 0]) + (own_scores[:, 0] - scores[:, 0]) ** 2
    rows, columns = own_logits[:, 1:, None], targets[:, None, 1:]
    pairs = mask_loss(*torch.broadcast_tensors(rows, columns))
    order = matched(pairs.detach())
    apart = (own_scores[:, 1:] - _ordered(scores[:, 1:], order)) ** 2
    three = (pairs.gather(2, order[:, :, None])[:, :, 0] + apart).mean(1)
    return torch.where(lone, three, single)


@torch.no_grad()
def _things(teacher: Sam, embedding: Tensor, each: int, grid: int) -> Tensor:
    """B x each x grid x grid: what the teacher takes random places of B images for."""
    count, side = each * len(embedding), 4 * embedding.shape[-1]
    device = embedding.device
    points = torch.rand((count, 2, 2), device=device)
    labels = torch.tensor([INCLUDE, PAD], device=device).expand(count, 2)
    nothing = torch.zeros((count, side, side), device=device)
    prompts = Prompts(points, labels, nothing.bool())
    logits, scores = answer(teacher, embedding, prompts, nothing, nothing[:, 0, 0].bool())
    chosen = 1 + scores[:, 1:].clamp(min=0.02).multinomial(1)[:, 0]
    picked = logits[torch.arange(count, device=device), chosen]
    large = F.interpolate(picked[:, None], (grid, grid), mode="bilinear")[:, 0]
    things: Tensor = (large > 0).unflatten(0, (-1, each))
    return things


def _together(drawn: Sequence[Prompts], images: int) -> Prompts:
    """Prompts of the same images, in order of the images."""

    def joined(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.unflatten(0, (images, -1)) for part in parts], dim=1).flatten(0, 1)

    return Prompts(
        joined([one.points for one in drawn]),
        joined([one.labels for one in drawn]),
        joined([one.targets for one in drawn]),
    )


def _disagreement(logits: Tensor, others: Tensor) -> Tensor:
    """Mx3x3: one less the IoU of each of Mx3xsxs masks with each of others."""
    first, second = (logits > 0).flatten(2).float(), (others > 0).flatten(2).float()
    common = first @ second.mT
    either = first.sum(-1)[:, :, None] + second.sum(-1)[:, None] - common
    apart: Tensor = 1 - common / either.clamp(min=1)
    return apart


def _ordered(values: Tensor, order: Tensor) -> Tensor:
    """Mx3x... in the order that Mx3 says."""
    return values[torch.arange(len(values), device=values.device)[:, None], order]
