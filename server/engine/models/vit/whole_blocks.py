"""SAM's ViT image encoder on a GPU: every block one CUDA graph, and no tables of biases.

There a block takes less than a millisecond, and most of that went into launching a hundred kernels
and into writing and reading what positions add to the scores of attention. So a block is recorded
once and launched as a whole, and relative positions ride in the product of queries and keys:

    q . k / sqrt(d) + rows[y] + columns[x]  =  [q / sqrt(d), rows, columns] . [k, e(y), e(x)]

Rows and columns are what a query adds for each row and each column of keys (upstream's decomposed
positions), y and x are the key's own, and e(y) is 1 at y and else 0. Exact, and no score is ever
held in memory. A step is as many blocks as fit (`pace`).

The result is upstream's `forward` (float32: within 1e-4). In reduced precision the products run in
`dtype` and the residual stream stays float32. On a CPU: `stepped`.
"""

from collections.abc import Generator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from server.engine.models.pace import Pace, Speeds
from server.engine.models.recording.cuda_graphs import Capture
from server.engine.models.upstream import ImageEncoderViT, WindowAttention, WindowBlock
from server.engine.models.vit.shared import RelativePositions, converted, side_of

__all__ = ["WholeViT"]

BLOCKS_PER_S = 1000.0
"""A first guess."""
MULTIPLE = 8
"""Of channels, which fast kernels ask for."""


class WholeViT:
    """Upstream's encoder, its own weights. Takes the module over and converts it."""

    def __init__(
        self,
        vit: ImageEncoderViT,
        *,
        device: torch.device,
        dtype: torch.dtype,
        capture: Capture,
    ) -> None:
        self._vit = converted(vit, device, dtype)
        self._device, self._dtype = device, dtype
        self._speeds = Speeds(guess=BLOCKS_PER_S)
        proj = vit.patch_embed.proj
        grid: int = vit.img_size // proj.stride[0]
        self._residual = torch.zeros(grid, grid, proj.out_channels, device=device)
        """Where all recordings find the residual stream and leave it."""
        # Kept for the recordings, which keep nothing (`Capture`).
        self._blocks = [_Block(block, grid, dtype) for block in vit.blocks]
        with torch.inference_mode():
            self._replays = [capture(partial(self._through, block)) for block in self._blocks]

    def _through(self, block: "_Block") -> None:
        self._residual.copy_(block(self._residual))

    def steps(self, x: Tensor) -> Generator[float, None, Tensor]:
        """1x3xSxS normalised pixels to a float32 1xCxhxw embedding, yielding the fraction done."""
        pace = Pace(self._speeds, len(self._replays), wait=self._wait)
        x = self._vit.patch_embed(x.to(self._dtype))[0].float()
        if self._vit.pos_embed is not None:
            x += self._vit.pos_embed[0]
        for replay in self._replays:
            # Between steps another encode may have been here.
            self._residual.copy_(x)
            replay()
            x.copy_(self._residual)
            pace.spend(1.0, "blocks")
            yield from pace.yield_if_due()
        embedding: Tensor = self._vit.neck(x.permute(2, 0, 1).unsqueeze(0))
        return embedding

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class _Block:
    """Upstream's block of attention in windows, or in one as large as the grid."""

    def __init__(self, block: WindowBlock, grid: int, dtype: torch.dtype) -> None:
        self._block, self._grid, self._dtype = block, grid, dtype
        self._side = side_of(block, grid)
        self._positions = _Positions(block.attn, self._side) if block.attn.use_rel_pos else None

    def __call__(self, x: Tensor) -> Tensor:
        """The float32 residual stream, hxwxC, after the block."""
        block = self._block
        x = x + self._attend(block.norm1(x).to(self._dtype))
        mixed: Tensor = x + block.mlp(block.norm2(x).to(self._dtype))
        return mixed

    def _attend(self, x: Tensor) -> Tensor:
        """hxwxC: what positions take from those of their window."""
        attention = self._block.attn
        windows = self._window_partition(x)
        qkv = attention.qkv(windows).unflatten(-1, (3, attention.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k, v = self._with_positions(q * attention.scale, q, k, v)
        taken = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        width: int = qkv.shape[-1]
        joined = taken[..., :width].transpose(1, 2).flatten(2)
        together: Tensor = self._window_unpartition(attention.proj(joined))
        return together

    def _with_positions(
        self, scaled: Tensor, q: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """BxHxNxd queries and keys with positions behind them, and values as long."""
        if self._positions is None:
            return scaled, k, v
        sought, places = self._positions.of(q)
        queries = torch.cat([scaled, sought], dim=-1)
        keys = torch.cat([k, places.expand(*k.shape[:2], -1, -1)], dim=-1)
        lacking = -queries.shape[-1] % MULTIPLE
        queries, keys = F.pad(queries, (0, lacking)), F.pad(keys, (0, lacking))
        return queries, keys, F.pad(v, (0, queries.shape[-1] - v.shape[-1]))

    def _window_partition(self, x: Tensor) -> Tensor:
        """The grid, filled up with zeros to whole windows, as BxNxC."""
        side, lacking = self._side, -self._grid % self._side
        padded = F.pad(x, (0, 0, 0, lacking, 0, lacking))
        windows = padded.unflatten(1, (-1, side)).unflatten(0, (-1, side)).transpose(1, 2)
        apart: Tensor = windows.flatten(2, 3).flatten(0, 1)
        return apart

    def _window_unpartition(self, windows: Tensor) -> Tensor:
        """What `_window_partition` took apart, without what filled it up."""
        side, count = self._side, -(-self._grid // self._side)
        rows = windows.view(count, count, side, side, -1).transpose(1, 2)
        return rows.flatten(2, 3).flatten(0, 1)[: self._grid, : self._grid]


class _Positions:
    """Relative positions in a window of `side` x `side`, as channels of queries and keys."""

    def __init__(self, attention: WindowAttention, side: int) -> None:
        self._side = side
        self._relative = RelativePositions(attention, side)
        one = torch.eye(side, dtype=attention.rel_pos_h.dtype, device=attention.rel_pos_h.device)
        down, across = one.repeat_interleave(side, dim=0), one.repeat(side, 1)
        self._places = torch.cat([down, across], dim=1)

    def of(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Of BxHxNxd queries: what they seek, BxHxNx2S, and where keys are, Nx2S."""
        grid: Tensor = q.unflatten(2, (self._side, self._side))
        rows, columns = self._relative.added(grid, slice(self._side))
        sought = torch.cat([rows, columns], dim=-1).flatten(2, 3)
        return sought, self._places
