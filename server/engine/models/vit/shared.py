"""What both ViT encoders share: the module as it is served, and upstream's relative positions."""

import torch
from torch import Tensor, nn

from server.engine.models.upstream import (
    ImageEncoderViT,
    WindowAttention,
    WindowBlock,
    get_rel_pos,
)

__all__ = ["RelativePositions", "converted", "side_of"]


def converted(vit: ImageEncoderViT, device: torch.device, dtype: torch.dtype) -> ImageEncoderViT:
    """The same module: its products in `dtype`; norms, neck and positions in float32."""
    vit.eval().requires_grad_(requires_grad=False).to(device, dtype)
    for module in vit.modules():
        if isinstance(module, nn.LayerNorm):
            module.float()
    vit.neck.float()
    if vit.pos_embed is not None:
        vit.pos_embed.data = vit.pos_embed.data.float()
    return vit


def side_of(block: WindowBlock, grid: int) -> int:
    """Of its windows; attention to all positions is in one window as large as the grid."""
    side: int = block.window_size or grid
    return side


class RelativePositions:
    """What upstream's decomposed positions add to scores in a window of `side` x `side`."""

    def __init__(self, attention: WindowAttention, side: int) -> None:
        # Query row (or column) x C x key row (or column).
        self._rows = get_rel_pos(side, side, attention.rel_pos_h).transpose(1, 2).contiguous()
        self._columns = get_rel_pos(side, side, attention.rel_pos_w).transpose(1, 2).contiguous()

    def added(self, grid: Tensor, band: slice) -> tuple[Tensor, Tensor]:
        """What BxHxRxSxd queries, in these rows of a window, add for each row and column of keys.

        Both are BxHxRxSxS.
        """
        rows = grid @ self._rows[band]
        columns = (grid.transpose(2, 3) @ self._columns).transpose(2, 3)
        return rows, columns
