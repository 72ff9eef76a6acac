"""What is minimised: cross-entropy and dice on masks, squared error on the predicted IoU.

From scratch, the usual focal loss got stuck at empty masks; plain cross-entropy with dice does not.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["mask_iou", "mask_loss", "min_over_candidates"]


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy + dice of each mask: two ...xHxW to ... losses. Targets may be soft.

    The cross-entropy of a small mask is not drowned by the background: it is divided by a tenth of
    the picture plus twice the mask, which is a plain mean for a mask of nearly half the picture.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum((-2, -1))
    entropy = entropy / (0.1 * targets.shape[-2] * targets.shape[-1] + 2 * targets.sum((-2, -1)))
    chance = logits.sigmoid()
    overlap = (chance * targets).sum((-2, -1))
    total = chance.sum((-2, -1)) + targets.sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return entropy + dice


def min_over_candidates(losses: Tensor, leak: float = 0.05) -> Tensor:
    """The best candidate's loss, ...xK to ...; the others get a little so that none dies."""
    return (1 - leak) * losses.min(-1).values + leak * losses.mean(-1)


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of the thresholded logits with the targets: two ...xHxW to ... values."""
    guess, truth = logits > 0, targets >= 0.5
    union = (guess | truth).sum((-2, -1))
    overlap = (guess & truth).sum((-2, -1))
    return overlap / union.clamp(min=1)
