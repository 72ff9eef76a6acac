"""Photos made as hard to read as new ones: the first look has overfitted those of its training."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["veiled"]


def veiled(pixels: Tensor, share: float) -> Tensor:
    """Bx3xsxs pictures, a share of them paler, coarser and under noise."""
    sizes = (len(pixels), 1, 1, 1)
    grain, pale, grey, coarse = (torch.rand(sizes, device=pixels.device) for _ in range(4))
    small = F.interpolate(pixels, scale_factor=1 / 3, mode="bilinear", antialias=True)
    small = F.interpolate(small, pixels.shape[-2:], mode="bilinear")
    veiled = pixels + coarse * (small - pixels)
    veiled = veiled + grey * (veiled.mean(1, keepdim=True) - veiled)
    veiled = (1 - 0.6 * pale) * veiled + 0.5 * grain * torch.randn_like(pixels)
    return torch.where(torch.rand(sizes, device=pixels.device) < share, veiled, pixels)
