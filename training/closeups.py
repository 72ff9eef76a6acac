"""Training the second look, on what the first look makes of clicks, boxes and corrections.

The first look is not trained here, so every sample trains the close-up on the logits that it will
meet. Corrections are clicked where the close-up's mask is wrong, as annotators will (in serving,
clicked spots are certain; here they may be clicked again).

The first look has overfitted its training photos and would be trusted too much, so it sees some of
them through a veil. And some lone clicks go on with any of its three candidates, so that the
close-up learns to judge which is meant.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from server.engine.models.tiny.closeup import CONTEXT_CELLS
from server.engine.models.tiny.networks import EMBED_DIM
from server.engine.second_look.planes import BOX_PLANE
from training.learner import Learner, autocast
from training.losses import mask_iou, mask_loss
from training.prompting import (
    FORGET_SHARE,
    Prompts,
    answer,
    correct,
    draw_prompts,
    mean_ious,
)
from training.twins import (
    box_coverages,
    boxes_of,
    clamp_to_box,
    closeup_planes,
    crop,
    enlarge,
    fit_to_box,
    halved,
    resampling,
    windows_around,
)
from training.veil import veiled

__all__ = ["closeup_loss"]

PROMPTS = 8
"""Prompts an image."""
BY_SCORE_SHARE = 0.3
"""Of the single clicks, those that go on with the candidate of the best score, not the best."""
DOUBT_SHARE = 0.3
"""Of the first look's answers, those shown paler and shifted: on the photos that it was trained on
it is surer than it will be on others."""
ASTRAY_SHARE = 0.3
"""Of the single clicks, those that go on with any candidate: they are judged, not learnt from."""
VEILED_SHARE = 0.6
"""Of the pictures, those that the finished first look sees veiled: so many that what it answers is
as wrong as it will be on new photos."""
CORRECTION_SIDE = 320
"""Of the grid on which corrections are clicked."""


def closeup_loss(
    learner: Learner, pixels: Tensor, masks: Tensor, rounds: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean over rounds of the close-ups' mask losses; only they get gradients.

    Args:
        learner: its first look is run as it is.
        pixels: Bx3xSxS, normalised.
        masks: BxKxSxS.
        rounds: prompts an object.
    """
    first = _FirstLook(learner, pixels)
    prompts = draw_prompts(masks, PROMPTS)
    boxed = prompts.boxed
    boxes = boxes_of(prompts.points, prompts.labels)
    pictures = halved(pixels)
    wanted = halved(prompts.targets[:, None].to(pixels.dtype))
    coarse = F.adaptive_max_pool2d(wanted[0], CORRECTION_SIDE)[:, 0] > 0
    known = torch.zeros_like(boxed)
    priors: Tensor | None = None
    total = torch.zeros((), device=pixels.device)
    stats: dict[str, Tensor] = {}
    for turn in range(rounds):
        views = _views(first, prompts, priors, known, turn, pixels.shape[-1])
        priors, windows = views.priors, views.windows
        seen = crop(pictures, windows)
        seen = closeup_planes(seen, windows, _doubted(priors), prompts.points, prompts.labels)
        with autocast(pixels.device):
            logits, judged = learner.closeup(seen, first.context(windows), views.scores)
        # As in serving, answers to boxes are clamped to them.
        held = clamp_to_box(logits.float(), seen[:, BOX_PLANE])
        logits = torch.where(boxed[:, None, None], held, logits.float())
        targets = crop(wanted, windows)[:, 0].float()
        learnt = (mask_loss(logits, targets) * ~views.astray).mean()
        whole = _whole_ious(logits, targets, windows, prompts.targets)
        total = total + learnt + F.mse_loss(judged.float(), whole)
        before = enlarge(priors, windows)
        stats |= _stats(turn, views, *(mask_iou(mask, targets) for mask in (logits, before)))
        if turn + 1 < rounds:
            guesses = _back(logits.detach(), windows, boxes)
            found = correct(Prompts(prompts.points, prompts.labels, coarse), guesses)
            prompts = Prompts(found.points, found.labels, prompts.targets)
            known = torch.rand(len(boxed), device=boxed.device) >= FORGET_SHARE
    stats["closeups"] = (total / rounds).detach()
    return total / rounds, stats


@dataclass(slots=True)
class _Views:
    """Where M prompts are looked at closely, and what the first look has to say there."""

    priors: Tensor
    """M planes of the first look."""
    scores: Tensor
    """M predicted IoUs."""
    windows: Tensor
    """M x 3."""
    boxed: Tensor
    """M, which began with a box."""
    astray: Tensor
    """M, which are judged and not learnt from."""


def _views(
    first: "_FirstLook",
    prompts: Prompts,
    priors: Tensor | None,
    known: Tensor,
    turn: int,
    side: int,
) -> _Views:
    boxed = prompts.boxed
    single = ~boxed if turn == 0 else torch.zeros_like(boxed)
    astray = single & (torch.rand(len(single), device=single.device) < ASTRAY_SHARE)
    priors, scores = first.logits(prompts, priors, known, single, astray)
    windows = windows_around(priors, prompts.points, prompts.labels, side)
    return _Views(priors, scores, windows, boxed, astray)


def _stats(turn: int, views: _Views, ious: Tensor, before: Tensor) -> dict[str, Tensor]:
    """Mean IoUs, and those of the first looks before them."""
    kept = ~views.astray
    stats = mean_ious(turn, ious[kept], views.boxed[kept])
    firsts = mean_ious(turn, before[kept], views.boxed[kept])
    return stats | {f"{name}_first": value for name, value in firsts.items()}


class _FirstLook:
    """The finished first look: what it makes of prompts on a few encoded images."""

    def __init__(self, learner: Learner, pixels: Tensor) -> None:
        self._sam = learner.sam
        side = learner.sam.image_encoder.img_size
        with torch.no_grad(), autocast(pixels.device):
            small = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
            shown = veiled(small, VEILED_SHARE) if learner.closeup.training else small
            self._embedding = learner.embed(shown.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def logits(
        self,
        prompts: Prompts,
        priors: Tensor | None,
        known: Tensor,
        single: Tensor,
        astray: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One plane a prompt, and M predicted IoUs.

        The plane is the one that the server would choose; of `single` clicks the best by truth or
        by score, and of those that are `astray` any.
        """
        count, side = len(prompts.targets), 4 * self._embedding.shape[-1]
        if priors is None:
            priors = torch.zeros((count, side, side), device=known.device)
        logits, scores = answer(self._sam, self._embedding, prompts, priors, known)
        candidate = 1 + self._chosen(prompts, logits, scores, astray) if single.any() else 0
        chosen = torch.where(single, candidate, 0)
        index = torch.arange(count, device=known.device), chosen
        return fit_to_box(logits[index], prompts.points, prompts.labels), scores[index]

    @staticmethod
    def _chosen(prompts: Prompts, logits: Tensor, scores: Tensor, astray: Tensor) -> Tensor:
        """Of each three candidates one."""
        aims = F.adaptive_avg_pool2d(prompts.targets.float()[:, None], logits.shape[-1])
        ious = mask_iou(logits[:, 1:], aims)
        by_score = torch.rand((len(ious), 1), device=ious.device) < BY_SCORE_SHARE
        merits = torch.where(by_score, scores[:, 1:], ious)
        return torch.where(astray[:, None], torch.rand_like(merits), merits).argmax(1)

    def context(self, windows: Tensor) -> Tensor:
        """MxCxcxc of the embeddings around each window."""
        grid, each = self._embedding.shape[-1], len(windows) // len(self._embedding)
        down, across = (
            resampling(windows[:, i], windows[:, 2], grid, CONTEXT_CELLS) for i in (1, 0)
        )
        spread = self._embedding[:, :EMBED_DIM].float().repeat_interleave(each, dim=0)
        return down[:, None] @ spread @ across[:, None].transpose(2, 3)


def _whole_ious(answer: Tensor, inside: Tensor, windows: Tensor, targets: Tensor) -> Tensor:
    """Of M close-ups' masks, with targets that may reach beyond their windows.

    Args:
        answer: M x c x c logits.
        inside: M x c x c, the targets in the windows.
        windows: M x 3.
        targets: M x g x g, on the whole input.
    """
    mask = answer > 0
    common = (mask * inside).sum((1, 2))
    cells = targets.float().mean((1, 2)) / windows[:, 2] ** 2 * inside[0].numel()
    return common / (mask.sum((1, 2)) + cells - common).clamp(min=1)


def _doubted(logits: Tensor) -> Tensor:
    """M planes, some of them paler and shifted."""
    sizes = (len(logits), 1, 1)
    pale = torch.empty(sizes, device=logits.device).uniform_(0.3, 1.0)
    doubted = logits * pale + torch.randn(sizes, device=logits.device)
    return torch.where(torch.rand(sizes, device=logits.device) < DOUBT_SHARE, doubted, logits)


def _back(answers: Tensor, windows: Tensor, boxes: Tensor) -> Tensor:
    """The close-ups' masks on the whole input: M x s x s bool."""
    middles = (torch.arange(CORRECTION_SIDE, device=windows.device) + 0.5) / CORRECTION_SIDE
    across, down = ((middles - windows[:, i, None]) / windows[:, 2:] for i in (0, 1))
    size = (-1, CORRECTION_SIDE, CORRECTION_SIDE)
    places = torch.stack([across[:, None, :].expand(size), down[:, :, None].expand(size)], dim=-1)
    large = F.grid_sample(
        answers[:, None], 2 * places - 1, padding_mode="border", align_corners=False
    )[:, 0]
    inside = ((places > 0) & (places < 1)).all(-1)
    held = torch.where(
        boxes[:, :1, None].isnan(),
        large,
        clamp_to_box(large, box_coverages(boxes, CORRECTION_SIDE)),
    )
    return (held > 0) & inside
