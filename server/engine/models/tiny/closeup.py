"""The network of the second look: a small U of convolutions over a close-up.

It sees the window's pixels, the first look's logits and the prompt, each at `CELLS` a side, and in
its depths the image's embedding around there, which knows what the pixels alone do not show. It
answers what to add to the first look's logits, and how good the mask now is. Like the encoder, it
is shaped for a CPU: dense 3x3 convolutions of few channels where there are many cells.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.tiny.layers import ConvNorm, ResidualBlock
from server.engine.second_look.planes import LOGITS_PLANE, PLANES
from server.engine.second_look.window import CELLS

__all__ = ["CONTEXT_CELLS", "CloseUp"]

WIDTHS = (32, 64, 128, 160)
"""Channels at strides 2, 4, 8 and 16."""
CONTEXT_CELLS = CELLS // 8
"""Side of the embedding's part that comes in, at stride 8."""


class CloseUp(nn.Module):
    """BxPLANESx64x64, BxCx8x8 and B predicted IoUs to Bx64x64 logits and B IoUs."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        fine, middle, coarse, deep = WIDTHS
        self.enter = ConvNorm(PLANES, fine, stride=2)
        self.fine = ResidualBlock(fine)
        self.down4 = ConvNorm(fine, middle, stride=2)
        self.middle = nn.Sequential(ResidualBlock(middle), ResidualBlock(middle))
        self.down8 = ConvNorm(middle, coarse, stride=2)
        self.context = nn.Conv2d(embed_dim, coarse, 1)
        self.coarse = nn.Sequential(ResidualBlock(coarse), ResidualBlock(coarse))
        self.down16 = ConvNorm(coarse, deep, stride=2)
        self.deep = ResidualBlock(deep)
        self.rise8 = nn.Conv2d(deep, coarse, 1)
        self.merge8 = ResidualBlock(coarse)
        self.rise4 = nn.Conv2d(coarse, middle, 1)
        self.merge4 = ResidualBlock(middle)
        self.rise2 = nn.Conv2d(middle, fine, 1)
        self.merge2 = ResidualBlock(fine)
        self.out = nn.Conv2d(fine, 4, 3, padding=1)
        verdict = nn.Linear(64, 1)
        self.judge = nn.Sequential(nn.Linear(deep + 2, 64), nn.ReLU(), verdict)
        for last in (self.out, verdict):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, seen: Tensor, around: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the close-up and its mask's IoU; before training, those it was shown."""
        x = seen.contiguous(memory_format=torch.channels_last)
        fine = self.fine(F.relu(self.enter(x)))
        middle = self.middle(F.relu(self.down4(fine)))
        coarse = F.relu(self.down8(middle) + self.context(around))
        coarse = self.coarse(coarse)
        deep = self.deep(F.relu(self.down16(coarse)))
        coarse = self.merge8(coarse + _upsampled(self.rise8(deep)))
        middle = self.merge4(middle + _upsampled(self.rise4(coarse)))
        fine = self.merge2(fine + _upsampled(self.rise2(middle)))
        added = F.pixel_shuffle(self.out(fine), 2)[:, 0]
        logits: Tensor = 2 * seen[:, LOGITS_PLANE] + added
        known = torch.stack([scores, _expected_iou(logits.detach()).to(scores.dtype)], dim=1)
        told = self.judge(torch.cat([deep.mean((2, 3)), known], dim=1))
        return logits, scores + told[:, 0]


def _expected_iou(logits: Tensor) -> Tensor:
    """The IoU to be expected if each cell were right as often as it says: BxHxW to B."""
    chance, mask = logits.float().sigmoid(), logits > 0
    inside = (chance * mask).sum((1, 2))
    return inside / (mask + chance * ~mask).sum((1, 2)).clamp(min=1)


def _upsampled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
