"""SAM's ViT image encoder on a CPU, cut into short steps so that clicks can be answered in between.

A ViT-B block takes most of a second on two cores; an annotator must not wait for it. Work is cut
where its parts do not depend on one another: rows of the grid in products and convolutions, heads
of the attention and its bands of queries. How many make a step follows from the speed measured so
far (`pace`). Attention to all positions is attention in one window as large as the grid. (On a GPU
blocks stay whole: `whole_vit`.)

The result is upstream's `forward` (float32: within 1e-4). In reduced precision the products run in
`dtype` and the residual stream stays float32, which is what autocast would do.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.pace import Pace, Speed
from server.engine.models.packed import PackedLinear, pack_linears
from server.engine.models.upstream import ImageEncoderViT, WindowAttention, WindowBlock
from server.engine.models.vit import RelativePositions, converted, side_of

__all__ = ["SteppedViT"]

ATTENTION_COST = 2.0
"""Time of an operation in attention against one in a large matrix product: softmax, biases."""

COPY_COST = 100.0
"""Time of moving a number elsewhere, in operations of a large product. Set too high, what is
learned from copies makes the next step too long."""

USUAL_ROWS = 128
"""Of the products of a step on a few CPU cores."""

BAND = 16
"""Most grid rows of queries at once. With the 1,024 queries that they are in global attention,
torch's kernel for CPUs takes its largest tiles; more would only need more room for biases."""


class SteppedViT:
    """Upstream's encoder, its own weights, in steps. Takes the module over and converts it."""

    def __init__(self, vit: ImageEncoderViT, *, dtype: torch.dtype) -> None:
        self._vit = converted(vit, torch.device("cpu"), dtype)
        pack_linears(vit.blocks, USUAL_ROWS)
        self._dtype = dtype
        self._grid: int = vit.img_size // vit.patch_embed.proj.stride[0]
        self._speed = Speed(guess=2e10)
        self._biases = [
            _RelativeBias(block.attn, side_of(block, self._grid)) for block in vit.blocks
        ]
        self._total = self._operations()

    def _operations(self) -> float:
        rows: int = self._grid**2
        total: float = 2.0 * rows * self._vit.patch_embed.proj.weight.numel()
        total += sum(2.0 * rows * self._vit.neck[i].weight.numel() for i in (0, 2))
        for block in self._vit.blocks:
            side = side_of(block, self._grid)
            seen = _next_multiple(self._grid, side) ** 2
            total += rows * (_product_cost(block.mlp.lin1) + _product_cost(block.mlp.lin2))
            total += rows * (_product_cost(block.attn.qkv) + _product_cost(block.attn.proj))
            total += seen * _attention_cost(block.attn, keys=side**2)
            total += seen * COPY_COST * 4 * block.attn.proj.in_features
        return total

    def steps(self, x: Tensor) -> Generator[float, None, Tensor]:
        """1x3xSxS normalised pixels to a float32 1xCxhxw embedding, yielding the fraction done."""
        pace = Pace(self._speed, self._total)
        scratch = _Scratch(x.new_empty(0, dtype=self._dtype))
        x = yield from self._embed(pace, x.to(self._dtype))
        for block, bias in zip(self._vit.blocks, self._biases, strict=True):
            yield from self._attend(pace, scratch, block, bias, x)
            yield from self._think(pace, block, x)
        return (yield from self._finish(pace, x))

    def _embed(self, pace: Pace, pixels: Tensor) -> Generator[float, None, Tensor]:
        """Float32 patches with their positions, hxwxC: the residual stream, updated in place."""
        proj, positions = self._vit.patch_embed.proj, self._vit.pos_embed
        patch = proj.stride[0]
        size = (self._grid, self._grid, proj.out_channels)
        x = pixels.new_zeros(size, dtype=torch.float32)
        for rows in pace.split(self._grid, 2.0 * self._grid * proj.weight.numel()):
            band = proj(pixels[:, :, rows.start * patch : rows.stop * patch])
            x[rows] = band[0].permute(1, 2, 0)
            if positions is not None:
                x[rows] += positions[0, rows]
            yield from pace.breathe()
        return x

    def _attend(
        self,
        pace: Pace,
        scratch: "_Scratch",
        block: WindowBlock,
        bias: "_RelativeBias",
        x: Tensor,
    ) -> Generator[float]:
        """Add to x what positions take from those of their window."""
        attention, side = block.attn, side_of(block, self._grid)
        padded = _next_multiple(self._grid, side)
        qkv = scratch.shaped("qkv", padded, padded, attention.qkv.out_features)
        yield from self._project(pace, block, x, qkv)
        taken = scratch.shaped("taken", padded, padded, x.shape[-1])
        kinds = [_apart(kind, side, attention.num_heads) for kind in qkv.chunk(3, dim=-1)]
        near = scratch.shaped("near", 3, *kinds[0].shape)
        for room, kind in zip(near, kinds, strict=True):
            yield from _copy(pace, kind, room)
        seen = yield from _see(pace, scratch, attention, bias, near)
        yield from _copy(pace, seen, _apart(taken, side, attention.num_heads))
        cost = self._grid * _product_cost(attention.proj)
        for rows in pace.split(self._grid, cost):
            x[rows] += attention.proj(taken[rows, : self._grid])
            yield from pace.breathe()

    def _project(self, pace: Pace, block: WindowBlock, x: Tensor, qkv: Tensor) -> Generator[float]:
        """Write queries, keys and values of all positions, and of those past the edge: PxPx3C."""
        project: nn.Linear | PackedLinear = block.attn.qkv
        # Past the edge upstream projects zeros: what comes out is the bias.
        qkv[self._grid :] = qkv[:, self._grid :] = 0.0 if project.bias is None else project.bias
        for rows in pace.split(self._grid, self._grid * _product_cost(project)):
            qkv[rows, : self._grid] = project(block.norm1(x[rows]).to(self._dtype))
            yield from pace.breathe()

    def _think(self, pace: Pace, block: WindowBlock, x: Tensor) -> Generator[float]:
        """Add the MLP to x."""
        cost = _product_cost(block.mlp.lin1) + _product_cost(block.mlp.lin2)
        for rows in pace.split(self._grid, self._grid * cost):
            x[rows] += block.mlp(block.norm2(x[rows]).to(self._dtype))
            yield from pace.breathe()

    def _finish(self, pace: Pace, x: Tensor) -> Generator[float, None, Tensor]:
        """The neck, in float32; its 3x3 convolution in bands that overlap by a row."""
        narrow, norm, mix, last_norm = self._vit.neck
        x = F.pad(norm(narrow(x.permute(2, 0, 1).unsqueeze(0))), (0, 0, 1, 1))
        pace.spend(2.0 * self._grid**2 * narrow.weight.numel())
        yield from pace.breathe()
        bands = []
        for rows in pace.split(self._grid, 2.0 * self._grid * mix.weight.numel()):
            band = x[:, :, rows.start : rows.stop + 2]
            bands.append(F.conv2d(band, mix.weight, mix.bias, padding=(0, 1)))
            yield from pace.breathe()
        embedding: Tensor = last_norm(torch.cat(bands, dim=2))
        return embedding


class _Scratch:
    """Memory that an encode's blocks use in turn: fresh pages would cost more than their use.

    In float32 some 140 MB of ViT-B and 220 of ViT-H.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._held: dict[str, Tensor] = {}

    def shaped(self, name: str, *shape: int) -> Tensor:
        """What is kept under this name, in this shape; it holds what was last written there."""
        count = math.prod(shape)
        if name not in self._held or self._held[name].numel() < count:
            self._held[name] = self._like.new_empty(count)
        return self._held[name][:count].view(shape)


class _RelativeBias:
    """What relative positions add to attention scores, if the block has them."""

    def __init__(self, attention: WindowAttention, side: int) -> None:
        self._side = side
        self._positions = RelativePositions(attention, side) if attention.use_rel_pos else None

    def __call__(self, q: Tensor, band: slice, scratch: _Scratch) -> Tensor | None:
        """BxGx(band*side)xside*side for the queries of these rows of the grid, in scratch."""
        if self._positions is None:
            return None
        grid = q.unflatten(2, (-1, self._side))
        rows, columns = self._positions.added(grid, band)
        bias = scratch.shaped("bias", *grid.shape[:-1], self._side, self._side)
        torch.add(rows.unsqueeze(-1), columns.unsqueeze(-2), out=bias)
        return bias.flatten(2, 3).flatten(3, 4)


def _see(
    pace: Pace, scratch: _Scratch, attention: WindowAttention, bias: _RelativeBias, qkv: Tensor
) -> Generator[float, None, Tensor]:
    """What positions take from those of their window: 3xRxWxHxSxSxd to RxWxHxSxSxd (`_apart`)."""
    side = qkv.shape[4]
    q, k, v = qkv.flatten(4, 5).flatten(1, 3).unsqueeze(1)
    seen = scratch.shaped("seen", *q.shape)
    cost = side * _attention_cost(attention, side**2) / attention.num_heads
    height = pace.fitting(min(BAND, side), cost)
    for top in range(0, side, height):
        band = slice(top, min(top + height, side))
        asking = slice(band.start * side, band.stop * side)
        for some in pace.split(q.shape[1], (band.stop - band.start) * cost):
            asked = q[:, some, asking]
            mask = bias(asked, band, scratch)
            seen[:, some, asking] = F.scaled_dot_product_attention(
                asked, k[:, some], v[:, some], attn_mask=mask
            )
            yield from pace.breathe()
    return seen.view(qkv.shape[1:])


def _apart(positions: Tensor, side: int, heads: int) -> Tensor:
    """PxPxC, seen as RxWxHxSxSxd: in R rows of W windows of SxS positions, H heads."""
    cells = positions.unflatten(2, (heads, -1)).unflatten(1, (-1, side)).unflatten(0, (-1, side))
    apart: Tensor = cells.permute(0, 2, 4, 1, 3, 5)
    return apart


def _copy(pace: Pace, source: Tensor, target: Tensor) -> Generator[float]:
    target.copy_(source)
    pace.spend(COPY_COST * source.numel())
    yield from pace.breathe()


def _next_multiple(count: int, of: int) -> int:
    return math.ceil(count / of) * of


def _product_cost(linear: nn.Linear | PackedLinear) -> float:
    """Operations a row."""
    return 2.0 * linear.in_features * linear.out_features


def _attention_cost(attention: WindowAttention, keys: int) -> float:
    """Operations a query, weighed by how slow they are."""
    channels: int = attention.proj.in_features
    return ATTENTION_COST * 4.0 * keys * channels
