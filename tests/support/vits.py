"""Small ViT encoders of upstream's, what they are shown, and encodes that take turns."""

from collections.abc import Generator

import torch
from torch import Tensor

from server.engine.models.upstream import ImageEncoderViT

SIZE = 160
"""Of the input; ten patches a side."""


def build_vit(
    *,
    window: int,
    everywhere: tuple[int, ...],
    positions: bool = True,
    bias: bool = True,
    heads: int = 3,
) -> ImageEncoderViT:
    """Two blocks, with random weights in every parameter."""
    vit = ImageEncoderViT(
        img_size=SIZE,
        embed_dim=48,
        depth=2,
        num_heads=heads,
        out_chans=32,
        qkv_bias=bias,
        window_size=window,
        global_attn_indexes=everywhere,
        use_rel_pos=positions,
        use_abs_pos=positions,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in vit.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return vit.requires_grad_(requires_grad=False)


def pixels(seed: int = 1) -> Tensor:
    """Noise."""
    return torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def in_turns(*encodes: Generator[float, None, Tensor], ahead: int = 0) -> list[Tensor]:
    """Their embeddings, taken a step of each at a time; the first begins so many steps ahead."""
    for _ in range(ahead):
        next(encodes[0])
    found: dict[int, Tensor] = {}
    while len(found) < len(encodes):
        for at, encode in enumerate(encodes):
            if at not in found:
                try:
                    next(encode)
                except StopIteration as end:
                    found[at] = end.value
    return [found[at] for at in range(len(encodes))]
