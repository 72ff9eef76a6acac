"""Weights as they are stored in the package: half precision, large matrices in eight bits.

A matrix keeps a scale for each row, so that its largest weight is 127 steps: about the precision
that bfloat16 computes in. The scale stands beside it under the same name and `.scale`.
"""

import torch
from torch import Tensor

__all__ = ["dequantized", "quantized"]

QUANTIZED_FROM = 1 << 16
"""Weights from which on a matrix (or a convolution) is stored in eight bits."""
SCALE = ".scale"


def quantized(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is stored of named float32 weights."""
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.dim() < 2 or value.numel() < QUANTIZED_FROM:
            stored[name] = value.half() if value.is_floating_point() else value
        else:
            rows = value.float().flatten(1)
            scale = rows.abs().amax(dim=1).clamp(min=1e-8) / 127
            steps = (rows / scale[:, None]).round().to(torch.int8)
            stored[name], stored[name + SCALE] = steps.view(value.shape), scale
    return {name: value.contiguous() for name, value in stored.items()}


def dequantized(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Named float32 weights from what is stored; counters stay whole numbers."""
    state = {}
    for name, value in stored.items():
        if name.endswith(SCALE):
            continue
        scale = stored.get(name + SCALE)
        if scale is not None:
            state[name] = value.float() * scale.view(-1, *[1] * (value.dim() - 1))
        else:
            state[name] = value.float() if value.is_floating_point() else value
    return state
