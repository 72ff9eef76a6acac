"""SAM's ViT image encoder on a CPU, cut into short steps so that clicks can be answered in between.

A ViT-B block takes most of a second on two cores; an annotator must not wait for it. Work is cut
where its parts do not depend on one another: rows of the grid in products and convolutions, heads
of the attention and its bands of queries. How many make a step follows from the speed measured so
far (`pace`). Attention to all positions is attention in one window as large as the grid. (On a GPU
blocks stay whole: `whole_blocks`.)

The result is upstream's `forward` (float32: within 1e-4). In reduced precision the products run in
`dtype` and the residual stream stays float32, which is what autocast would do.
"""

import math
from collections.abc import Generator, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.pace import Pace, Speeds
from server.engine.models.upstream import ImageEncoderViT, WindowAttention, WindowBlock
from server.engine.models.vit.packed import PackedLinear, pack_linears
from server.engine.models.vit.shared import RelativePositions, converted, side_of

__all__ = ["SteppedViT"]

FIRST_GUESS = 2e10
"""Operations a second. Low: what is believed too fast makes a long step."""

USUAL_ROWS = 256
"""Of a product (`PRODUCT_BYTES`)."""

PRODUCT_BYTES = 5 << 19
"""Of what a product answers. More leaves the caches before it is read again, and is mapped anew by
malloc at every call: a third more time, twice as much in reduced precision."""

BAND_ROWS = 16
"""Most grid rows of queries at once. With the 1,024 queries that they are in global attention,
torch's kernel for CPUs takes its largest tiles; more would only need more room for biases."""

TILE = 256
"""Queries of those tiles; a thread has one at a time."""

BIAS_BYTES = 10 << 20
"""At a time. More is written to memory and read from there: a fifth more time in attention."""

SHORT_SIDE = 16
"""Of windows whose biases are a product with ones and zeros. Sums of rows this short torch makes
one number at a time in reduced precision; where rows are long, a product is as slow or slower."""


class SteppedViT:
    """Upstream's encoder, its own weights, in steps. Takes the module over and converts it."""

    def __init__(self, vit: ImageEncoderViT, *, dtype: torch.dtype) -> None:
        self._vit = converted(vit, torch.device("cpu"), dtype)
        pack_linears(vit.blocks, USUAL_ROWS)
        self._dtype = dtype
        self._grid: int = vit.img_size // vit.patch_embed.proj.stride[0]
        self._speeds = Speeds(FIRST_GUESS)
        self._biases = [
            _RelativeBias(block.attn, side_of(block, self._grid), dtype) for block in vit.blocks
        ]
        self._total = self._operations()

    def _operations(self) -> float:
        rows: int = self._grid**2
        total: float = 2.0 * rows * self._vit.patch_embed.proj.weight.numel()
        total += sum(2.0 * rows * self._vit.neck[i].weight.numel() for i in (0, 2))
        for block in self._vit.blocks:
            side = side_of(block, self._grid)
            padded_rows = _next_multiple(self._grid, side) ** 2
            total += rows * (_product_cost(block.mlp.lin1) + _product_cost(block.mlp.lin2))
            total += rows * (_product_cost(block.attn.qkv) + _product_cost(block.attn.proj))
            total += padded_rows * _attention_cost(block.attn, keys=side**2)
            total += padded_rows * 4 * block.attn.proj.in_features
        return total

    def steps(self, x: Tensor) -> Generator[float, None, Tensor]:
        """1x3xSxS normalised pixels to a float32 1xCxhxw embedding, yielding the fraction done."""
        pace = Pace(self._speeds, self._total)
        scratch = _Scratch(x.new_empty(0, dtype=self._dtype))
        x = yield from self._embed(pace, x.to(self._dtype))
        for block, bias in zip(self._vit.blocks, self._biases, strict=True):
            yield from self._attend(pace, scratch, block, bias, x)
            yield from self._mlp(pace, block, x)
        return (yield from self._finish(pace, x))

    def _embed(self, pace: Pace, pixels: Tensor) -> Generator[float, None, Tensor]:
        """Float32 patches with their positions, hxwxC: the residual stream, updated in place."""
        proj, positions = self._vit.patch_embed.proj, self._vit.pos_embed
        patch = proj.stride[0]
        size = (self._grid, self._grid, proj.out_channels)
        x = pixels.new_zeros(size, dtype=torch.float32)
        for rows in pace.split(self._grid, 2.0 * self._grid * proj.weight.numel(), "patches"):
            band = proj(pixels[:, :, rows.start * patch : rows.stop * patch])
            x[rows] = band[0].permute(1, 2, 0)
            if positions is not None:
                x[rows] += positions[0, rows]
            yield from pace.yield_if_due()
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
        joined = scratch.shaped("joined", padded, padded, x.shape[-1])
        kinds = [_split_windows(kind, side, attention.num_heads) for kind in qkv.chunk(3, dim=-1)]
        contiguous = scratch.shaped("contiguous", 3, *kinds[0].shape)
        for room, kind in zip(contiguous, kinds, strict=True):
            yield from _copy(pace, kind, room)
        attended = yield from _attention(pace, scratch, attention, bias, contiguous)
        yield from _copy(pace, attended, _split_windows(joined, side, attention.num_heads))
        for rows in self._bands(pace, attention.proj):
            x[rows] += attention.proj(joined[rows, : self._grid])
            yield from pace.yield_if_due()

    def _project(self, pace: Pace, block: WindowBlock, x: Tensor, qkv: Tensor) -> Generator[float]:
        """Write queries, keys and values of all positions, and of those past the edge: PxPx3C."""
        project: nn.Linear | PackedLinear = block.attn.qkv
        # Past the edge upstream projects zeros: what comes out is the bias.
        qkv[self._grid :] = qkv[:, self._grid :] = 0.0 if project.bias is None else project.bias
        for rows in self._bands(pace, project):
            qkv[rows, : self._grid] = project(block.norm1(x[rows]).to(self._dtype))
            yield from pace.yield_if_due()

    def _mlp(self, pace: Pace, block: WindowBlock, x: Tensor) -> Generator[float]:
        """Add the MLP to x."""
        for rows in self._bands(pace, block.mlp.lin1, block.mlp.lin2):
            x[rows] += block.mlp(block.norm2(x[rows]).to(self._dtype))
            yield from pace.yield_if_due()

    def _bands(self, pace: Pace, *layers: nn.Linear | PackedLinear) -> Iterator[slice]:
        """Rows of the grid to send through the layers at a time."""
        widest = max(layer.out_features for layer in layers)
        most = PRODUCT_BYTES // (self._grid * widest * self._dtype.itemsize)
        cost = self._grid * sum(map(_product_cost, layers))
        return pace.split(self._grid, cost, "products", most=max(1, most))

    def _finish(self, pace: Pace, x: Tensor) -> Generator[float, None, Tensor]:
        """The neck, in float32; its 3x3 convolution in bands that overlap by a row."""
        narrow, norm, mix, last_norm = self._vit.neck
        # With a row of zeros above and one below, which `mix` reaches for.
        narrowed = x.new_zeros(1, narrow.out_channels, self._grid + 2, self._grid)
        for rows in pace.split(self._grid, 2.0 * self._grid * narrow.weight.numel(), "narrowing"):
            band = narrow(x[rows].permute(2, 0, 1).unsqueeze(0))
            narrowed[:, :, rows.start + 1 : rows.stop + 1] = norm(band)
            yield from pace.yield_if_due()
        bands = []
        for rows in pace.split(self._grid, 2.0 * self._grid * mix.weight.numel(), "mixing"):
            band = narrowed[:, :, rows.start : rows.stop + 2]
            bands.append(F.conv2d(band, mix.weight, mix.bias, padding=(0, 1)))
            yield from pace.yield_if_due()
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

    def __init__(self, attention: WindowAttention, side: int, dtype: torch.dtype) -> None:
        self._side = side
        self._positions = RelativePositions(attention, side) if attention.use_rel_pos else None
        self._lines = _lines_of_keys(side, dtype) if side <= SHORT_SIDE else None

    def __call__(self, q: Tensor, band: slice, scratch: _Scratch) -> Tensor | None:
        """BxGx(band*side)xside*side for the queries of these rows of the grid, in scratch."""
        if self._positions is None:
            return None
        grid = q.unflatten(2, (-1, self._side))
        rows, columns = self._positions.added(grid, band)
        bias = scratch.shaped("bias", *grid.shape[:-1], self._side, self._side)
        if self._lines is None:
            torch.add(rows.unsqueeze(-1), columns.unsqueeze(-2), out=bias)
        else:
            both = torch.cat([rows, columns], dim=-1).flatten(0, -2)
            torch.mm(both, self._lines, out=bias.view(len(both), -1))
        return bias.flatten(2, 3).flatten(3, 4)


def _lines_of_keys(side: int, dtype: torch.dtype) -> Tensor:
    """2*side x side*side ones and zeros: which keys are in a row of the grid, then in a column."""
    lines = torch.eye(side, dtype=dtype)
    return torch.cat([lines.repeat_interleave(side, 1), lines.repeat(1, side)])


def _attention(
    pace: Pace, scratch: _Scratch, attention: WindowAttention, bias: _RelativeBias, qkv: Tensor
) -> Generator[float, None, Tensor]:
    """Each window attending to itself: 3xRxWxHxSxSxd to RxWxHxSxSxd (`_split_windows`)."""
    side = qkv.shape[4]
    q, k, v = qkv.flatten(4, 5).flatten(1, 3).unsqueeze(1)
    attended = scratch.shaped("attended", *q.shape)
    cost = side * _attention_cost(attention, side**2) / attention.num_heads
    kind = f"attention to {side} x {side}"
    height = pace.fitting(min(BAND_ROWS, side), cost, kind)
    for top in range(0, side, height):
        band = slice(top, min(top + height, side))
        asking = slice(band.start * side, band.stop * side)
        most = _heads_at_once((band.stop - band.start) * side, side**2 * q.itemsize)
        for some in pace.split(q.shape[1], (band.stop - band.start) * cost, kind, most=most):
            asked = q[:, some, asking]
            mask = bias(asked, band, scratch)
            attended[:, some, asking] = F.scaled_dot_product_attention(
                asked, k[:, some], v[:, some], attn_mask=mask
            )
            yield from pace.yield_if_due()
    return attended.view(qkv.shape[1:])


def _heads_at_once(queries: int, bias_bytes: int) -> int:
    """Heads to attend with at a time, of so many queries with biases of so many bytes each."""
    in_caches = BIAS_BYTES // (queries * bias_bytes)
    a_tile_a_thread = math.ceil(torch.get_num_threads() * TILE / queries)
    return max(in_caches, a_tile_a_thread)


def _split_windows(positions: Tensor, side: int, heads: int) -> Tensor:
    """PxPxC, seen as RxWxHxSxSxd: in R rows of W windows of SxS positions, H heads."""
    cells = positions.unflatten(2, (heads, -1)).unflatten(1, (-1, side)).unflatten(0, (-1, side))
    apart: Tensor = cells.permute(0, 2, 4, 1, 3, 5)
    return apart


def _copy(pace: Pace, source: Tensor, target: Tensor) -> Generator[float]:
    target.copy_(source)
    pace.spend(source.numel(), "copies")
    yield from pace.yield_if_due()


def _next_multiple(count: int, of: int) -> int:
    return math.ceil(count / of) * of


def _product_cost(linear: nn.Linear | PackedLinear) -> float:
    """Operations a row."""
    return 2.0 * linear.in_features * linear.out_features


def _attention_cost(attention: WindowAttention, keys: int) -> float:
    """Operations a query."""
    channels: int = attention.proj.in_features
    return 4.0 * keys * channels
