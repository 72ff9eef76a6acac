"""SAM's ViT image encoder, cut into short steps so that clicks can be answered in between.

A ViT-B block takes most of a second on two CPU cores; an annotator must not wait for it. Work is
cut where rows do not depend on one another: attention windows, bands of query rows in global
attention, rows of the MLP, bands of the convolutions. How many rows make a step follows from the
speed measured so far (`Pace`), so the same code serves two cores and a GPU.

The result is upstream's `forward` (float32: within 1e-4). In reduced precision the products run in
`dtype` and the residual stream stays float32, which is what autocast would do.
"""

import functools
import math
import sys
import time
from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.upstream import (
    ImageEncoderViT,
    WindowAttention,
    WindowBlock,
    get_rel_pos,
    window_partition,
    window_unpartition,
)

__all__ = ["STEP_S", "Pace", "Speed", "SteppedViT"]

STEP_S = 0.02
"""How long a step should take: below the 25 ms a click may wait for it."""

ATTENTION_COST = 3.0
"""Time of an operation in attention against one in a large matrix product: softmax, biases."""


FEWEST_ROWS = 64
"""Of a large product: fewer would spend their time fetching its weights."""


WIDEST_BAND = 16
"""Grid rows of queries at once in global attention: their biases are 128 MiB in ViT-H."""


class Speed:
    """Operations a second, learned from step to step."""

    def __init__(self, guess: float) -> None:
        self.operations_per_s = guess

    def learn(self, operations: float, seconds: float) -> None:
        """Move half way to what was just measured: a busy moment should not stick."""
        self.operations_per_s = (self.operations_per_s + operations / max(seconds, 1e-6)) / 2


class Pace:
    """Cuts the rows of one encode into steps of about `STEP_S`.

    The work is announced with `split`, done by the caller, and `breathe` yields when it is time.
    """

    def __init__(
        self,
        speed: Speed,
        total: float,
        *,
        wait: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._speed, self._total, self._wait, self._clock = speed, total, wait, clock
        self._done = 0.0
        self._begin()

    def _begin(self) -> None:
        self._spent = 0.0
        self._budget = self._speed.operations_per_s * STEP_S
        self._started = self._clock()

    def split(
        self, rows: int, cost: float, least: int = 1, most: int = sys.maxsize
    ) -> Iterator[slice]:
        """Slices of `rows`, each `cost` operations; powers of two, so that few shapes occur."""
        start = 0
        while start < rows:
            fitting = max(least, int((self._budget - self._spent) / cost))
            count = _power_of_two_within(min(fitting, most, rows - start))
            self._spent += count * cost
            yield slice(start, start + count)
            start += count

    def breathe(self) -> Generator[float]:
        """Yield the fraction done, if the step has been long enough."""
        if self._spent < self._budget / 2:
            return
        self._wait()
        self._speed.learn(self._spent, self._clock() - self._started)
        self._done += self._spent
        yield min(self._done / self._total, 1.0)
        self._begin()


def _power_of_two_within(count: int) -> int:
    return 1 << (count.bit_length() - 1)


class SteppedViT:
    """Upstream's encoder, its own weights, in steps. Takes the module over and converts it."""

    def __init__(self, vit: ImageEncoderViT, *, device: torch.device, dtype: torch.dtype) -> None:
        self._vit = vit.eval().requires_grad_(requires_grad=False).to(device, dtype)
        for module in vit.modules():
            if isinstance(module, nn.LayerNorm):
                module.float()
        vit.neck.float()
        if vit.pos_embed is not None:
            vit.pos_embed.data = vit.pos_embed.data.float()
        self._dtype = dtype
        self._grid: int = vit.img_size // vit.patch_embed.proj.stride[0]
        self._speed = Speed(guess=2e10 if device.type == "cpu" else 5e12)
        self._wait = functools.partial(_finish_work, device)
        self._bands = [_RelativeBias(block.attn, self._side(block)) for block in vit.blocks]
        self._total = self._operations()

    def _side(self, block: WindowBlock) -> int:
        side: int = block.window_size or self._grid
        return side

    def _operations(self) -> float:
        rows: int = self._grid**2
        total: float = 2.0 * rows * self._vit.patch_embed.proj.weight.numel()
        total += 2.0 * rows * self._vit.neck[2].weight.numel()
        for block in self._vit.blocks:
            side = self._side(block)
            seen = (math.ceil(self._grid / side) * side) ** 2
            total += rows * (_product_cost(block.mlp.lin1) + _product_cost(block.mlp.lin2))
            total += seen * (_product_cost(block.attn.qkv) + _product_cost(block.attn.proj))
            total += seen * _attention_cost(block.attn, keys=side**2)
        return total

    def steps(self, x: Tensor) -> Generator[float, None, Tensor]:
        """1x3xSxS normalised pixels to a float32 1xCxhxw embedding, yielding the fraction done."""
        pace = Pace(self._speed, self._total, wait=self._wait)
        x = yield from self._embed(pace, x.to(self._dtype))
        for block, bias in zip(self._vit.blocks, self._bands, strict=True):
            if block.window_size:
                yield from self._attend_windows(pace, block, bias, x)
            else:
                yield from self._attend_globally(pace, block, bias, x)
            yield from self._think(pace, block, x)
        return (yield from self._finish(pace, x))

    def _embed(self, pace: Pace, pixels: Tensor) -> Generator[float, None, Tensor]:
        """1xhxwxC float32 patches with their positions: the residual stream, updated in place."""
        proj = self._vit.patch_embed.proj
        patch = proj.stride[0]
        bands = []
        for rows in pace.split(self._grid, 2.0 * self._grid * proj.weight.numel()):
            bands.append(proj(pixels[:, :, rows.start * patch : rows.stop * patch]))
            yield from pace.breathe()
        x = torch.cat(bands, dim=2).permute(0, 2, 3, 1).float()
        if self._vit.pos_embed is not None:
            x = x + self._vit.pos_embed
        return x.contiguous()

    def _attend_windows(
        self, pace: Pace, block: WindowBlock, bias: "_RelativeBias", x: Tensor
    ) -> Generator[float]:
        """Add attention inside windows to x; windows past the edge see zeros, as upstream's do."""
        normed = block.norm1(x).to(self._dtype)
        windows, padded = window_partition(normed, block.window_size)
        mixed = torch.empty_like(windows)
        keys = block.window_size**2
        cost = _product_cost(block.attn.qkv) + _product_cost(block.attn.proj)
        cost += _attention_cost(block.attn, keys)
        for some in pace.split(len(windows), keys * cost):
            q, k, v = _heads(block.attn, block.attn.qkv(windows[some].flatten(1, 2)))
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias(q, slice(None)))
            mixed[some] = block.attn.proj(seen.transpose(1, 2).reshape(windows[some].shape))
            yield from pace.breathe()
        x += window_unpartition(mixed, block.window_size, padded, (self._grid, self._grid))

    def _attend_globally(
        self, pace: Pace, block: WindowBlock, bias: "_RelativeBias", x: Tensor
    ) -> Generator[float]:
        """Add to x the attention of all positions to all, some rows of the grid at a time."""
        attention = block.attn
        rows = x.view(-1, x.shape[-1])
        qkv = rows.new_empty(len(rows), 3 * x.shape[-1], dtype=self._dtype)
        for some in pace.split(len(rows), _product_cost(attention.qkv), least=FEWEST_ROWS):
            qkv[some] = attention.qkv(block.norm1(rows[some]).to(self._dtype))
            yield from pace.breathe()
        q, k, v = _heads(attention, qkv.unsqueeze(0))
        cost = _attention_cost(attention, len(rows)) + _product_cost(attention.proj)
        for band in pace.split(self._grid, self._grid * cost, most=WIDEST_BAND):
            some = slice(band.start * self._grid, band.stop * self._grid)
            mask = bias(q[:, :, some], band)
            seen = F.scaled_dot_product_attention(q[:, :, some], k, v, attn_mask=mask)
            rows[some] += attention.proj(seen.transpose(1, 2).flatten(2)[0])
            yield from pace.breathe()

    def _think(self, pace: Pace, block: WindowBlock, x: Tensor) -> Generator[float]:
        """Add the MLP to x, rows at a time."""
        rows = x.view(-1, x.shape[-1])
        cost = _product_cost(block.mlp.lin1) + _product_cost(block.mlp.lin2)
        for some in pace.split(len(rows), cost, least=FEWEST_ROWS):
            rows[some] += block.mlp(block.norm2(rows[some]).to(self._dtype))
            yield from pace.breathe()

    def _finish(self, pace: Pace, x: Tensor) -> Generator[float, None, Tensor]:
        """The neck, in float32; its 3x3 convolution in bands that overlap by a row."""
        narrow, norm, mix, last_norm = self._vit.neck
        x = F.pad(norm(narrow(x.permute(0, 3, 1, 2))), (0, 0, 1, 1))
        bands = []
        for rows in pace.split(self._grid, 2.0 * self._grid * mix.weight.numel()):
            band = x[:, :, rows.start : rows.stop + 2]
            bands.append(F.conv2d(band, mix.weight, mix.bias, padding=(0, 1)))
            yield from pace.breathe()
        embedding: Tensor = last_norm(torch.cat(bands, dim=2))
        return embedding


class _RelativeBias:
    """What upstream's decomposed relative positions add to attention scores."""

    def __init__(self, attention: WindowAttention, side: int) -> None:
        self._side = side
        self._used = attention.use_rel_pos
        if self._used:
            # Query row (or column) x C x key row (or column).
            self._rows = get_rel_pos(side, side, attention.rel_pos_h).transpose(1, 2).contiguous()
            self._columns = (
                get_rel_pos(side, side, attention.rel_pos_w).transpose(1, 2).contiguous()
            )

    def __call__(self, q: Tensor, band: slice) -> Tensor | None:
        """Bxheadsx(band*side)xside*side for the queries of these rows of the grid."""
        if not self._used:
            return None
        batch, heads, _, width = q.shape
        grid = q.reshape(batch, heads, -1, self._side, width)
        rows = grid @ self._rows[band]
        columns = (grid.transpose(2, 3) @ self._columns).transpose(2, 3)
        bias: Tensor = rows.unsqueeze(-1) + columns.unsqueeze(-2)
        return bias.flatten(4).flatten(2, 3)


def _heads(attention: WindowAttention, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """BxNx3C to queries, keys and values of BxheadsxNxd."""
    batch, count, _ = qkv.shape
    q, k, v = qkv.view(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


def _product_cost(linear: nn.Linear) -> float:
    """Operations a row."""
    return 2.0 * linear.weight.numel()


def _attention_cost(attention: WindowAttention, keys: int) -> float:
    """Operations a query, weighed by how slow they are."""
    channels: int = attention.proj.in_features
    return ATTENTION_COST * 4.0 * keys * channels


def _finish_work(device: torch.device) -> None:
    # On a CPU a call has done its work when it returns.
    if device.type == "cuda":
        torch.cuda.synchronize(device)
