"""The networks of the decoder that serves: upstream's weights, regrouped.

- Rows are padded to a few lengths with tokens hidden wherever tokens are attended to, which is
  exact. (Upstream's "not a point" is no padding: it is seen, and moves the mask.)
- Attention between tokens and image is folded (`folding`) while tokens are few; from `FOLD_BELOW`
  on, projecting the image as upstream does is cheaper.
- Tokens stay float32; `dtype` is what the image is computed in.
- The dense positional encoding is computed once.
- The IoU head speaks before any mask is made, so only wanted masks are. The features they are made
  from stay in block order; only finished masks are put in picture order.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.decoder.contract import Stored
from server.engine.models.decoder.folding import (
    ImageToToken,
    PatchConv,
    RmsNorm,
    TokenToImage,
    as_linear,
)
from server.engine.models.decoder.prompts import KINDS, NOT_A_POINT, OUTPUT_TOKENS, PADDING
from server.engine.models.upstream import (
    Attention,
    LayerNorm2d,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayAttentionBlock,
)

__all__ = ["FOLD_BELOW", "DecoderCore", "PriorEmbedding"]

FOLD_BELOW = 32
"""Tokens from which on folding costs more than it saves: a folded product with N positions takes
N x C x (heads * T), a projected one N x C x C/2 and then N x T x C/2."""

UPSCALED_BYTES = 1 << 20
"""Of upscaled features made at a time by torch on a CPU: they should not leave its cache."""


class _TokenEmbedding(nn.Module):
    """The decoder's own tokens, then a row's prompt."""

    kinds: Tensor
    output: Tensor
    scale: Tensor
    frequencies: Tensor

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        encoder, decoder = sam.prompt_encoder, sam.mask_decoder
        points = [embedding.weight for embedding in encoder.point_embeddings]
        nothing = torch.zeros_like(points[0])
        kinds = torch.cat([*points, encoder.not_a_point_embed.weight, nothing])
        if len(kinds) != KINDS:
            raise ValueError(f"expected {KINDS} kinds of prompt tokens, got {len(kinds)}")
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        if len(output) != OUTPUT_TOKENS:
            raise ValueError(f"expected {OUTPUT_TOKENS} output tokens, got {len(output)}")
        self.register_buffer("kinds", kinds.detach().float())
        self.register_buffer("output", output.detach().float())
        height, width = encoder.input_image_size
        frequencies = encoder.pe_layer.positional_encoding_gaussian_matrix.detach().float()
        self.register_buffer("scale", 2 / torch.tensor([width, height], dtype=torch.float32))
        self.register_buffer("frequencies", 2 * torch.pi * frequencies)

    def forward(self, xy: Tensor, kinds: Tensor) -> Tensor:
        """BxPx2 model pixels and BxP kinds to Bx(5+P)xC tokens."""
        angles = ((xy + 0.5) * self.scale - 1) @ self.frequencies
        places = torch.cat([angles.sin(), angles.cos()], dim=-1)
        somewhere = (kinds < NOT_A_POINT).unsqueeze(-1)
        prompt = places * somewhere + self.kinds[kinds]
        return torch.cat([self.output.expand(xy.shape[0], -1, -1), prompt], dim=1)


class PriorEmbedding(nn.Module):
    """Adds an earlier mask to an embedding that already holds the no-mask embedding.

    Upstream's convolutions have kernel = stride = 2, so that each position of the embedding takes
    in 4x4 logits and no others: they are brought together, and all the rest are products. Channels,
    which are few, come first: every step then runs along the positions. The last product adds to
    the embedding as it goes; its bias is the last row of `widen`, met by a channel of ones.
    """

    widen: Tensor

    def __init__(self, encoder: PromptEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        shrink, norm, activation, shrink_again, norm_again, activation_again, widen = (
            encoder.mask_downscaling
        )
        self.shrink, self.norm = PatchConv(shrink), RmsNorm(norm)
        self.shrink_again, self.norm_again = PatchConv(shrink_again), RmsNorm(norm_again)
        self.activation, self.activation_again = activation, activation_again
        bias = widen.bias.detach() - encoder.no_mask_embed.weight.detach()
        rows = torch.cat([widen.weight.detach().flatten(1).t(), bias])
        self.register_buffer("widen", rows.to(dtype))

    def forward(self, masks: Tensor, keys: Tensor) -> Tensor:
        """BxNxC keys that know of Bx4hx4w logits."""
        batch, height, width = masks.shape
        # Row and column, each as: position, half, quarter.
        blocks = masks.view(batch, height // 4, 2, 2, width // 4, 2, 2)
        quarters = blocks.permute(0, 3, 6, 2, 5, 1, 4).reshape(batch, 4, -1)
        halves = self.activation(self.norm(self.shrink(quarters)))
        halves = halves.view(batch, 4 * halves.shape[1], -1)
        whole = self.activation_again(self.norm_again(self.shrink_again(halves)))
        features = F.pad(whole, (0, 0, 0, 1), value=1.0).to(keys.dtype)
        widen = self.widen.expand(batch, -1, -1)
        return torch.baddbmm(keys, features.transpose(1, 2), widen)


class DecoderCore(nn.Module):
    """From prompts to masks: tokens, the two-way transformer, the heads, the masks.

    Tokens are float32, the image is in `dtype`.
    """

    positions: Tensor

    def __init__(self, sam: Sam, dtype: torch.dtype) -> None:
        super().__init__()
        decoder: MaskDecoder = sam.mask_decoder
        transformer = decoder.transformer
        self.grid = sam.prompt_encoder.image_embedding_size
        places = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
        self.register_buffer("positions", places.detach().to(dtype).contiguous())
        self.tokens = _TokenEmbedding(sam)
        self.layers = nn.ModuleList(_Layer(block, dtype) for block in transformer.layers)
        self.final = TokenToImage(transformer.final_attn_token_to_image)
        self.norm = copy.deepcopy(transformer.norm_final_attn)
        self.iou_head = copy.deepcopy(decoder.iou_prediction_head)
        self.mask_heads = copy.deepcopy(decoder.output_hypernetworks_mlps)
        self.channels_a_position: int = 16 * decoder.output_upscaling[3].out_channels
        self.grow = _Upscaling(decoder).to(dtype)

    def forward(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, keys: Tensor, *finer: Tensor
    ) -> tuple[Tensor, Tensor]:
        """BxMx4hx4w logits and BxM predicted IoUs, best first.

        Args:
            xy: BxPx2 model pixels.
            kinds: BxP, of the prompt's tokens; nobody sees those that are padding.
            single: B, rows that want the first mask token; others the best of the rest.
            masks: M, how many of the rest.
            keys: BxNxC embeddings.
            finer: BxN features of their cells.
        """
        padding = F.pad(kinds == PADDING, (OUTPUT_TOKENS, 0))
        read, keys = self._transform(keys, self.tokens(xy, kinds), padding)
        scores = self.iou_head(read[:, 0])
        chosen = 1 + _best_first(scores[:, 1:])[:, :masks]
        chosen = chosen.masked_fill(single.unsqueeze(1), 0)
        heads = zip(self.mask_heads, read[:, 1:].unbind(1), strict=True)
        filters = torch.stack([head(token) for head, token in heads], dim=1)
        filters = filters.gather(1, chosen.unsqueeze(-1).expand(-1, -1, filters.shape[-1]))
        return self._masks((keys, *finer), filters.to(keys.dtype)), scores.gather(1, chosen)

    def _transform(self, keys: Tensor, tokens: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's own tokens after the last attention, and the image's features."""
        query_pe = tokens
        attn_mask = torch.zeros_like(padding, dtype=tokens.dtype).masked_fill(padding, -torch.inf)
        for layer in self.layers:
            tokens, keys = layer(tokens, query_pe, attn_mask, keys, keys + self.positions)
        read, query_pe = tokens[:, :OUTPUT_TOKENS], query_pe[:, :OUTPUT_TOKENS]
        read = self.norm(read + self.final(read + query_pe, keys + self.positions, keys))
        return read, keys

    def _masks(self, seen: Stored, filters: Tensor) -> Tensor:
        """Cut the masks of BxMxF filters out of the features, in picture order."""
        height, width = self.grid
        features = map(self.grow, *map(self._in_parts, seen))
        cut = [torch.bmm(filters, part.flatten(1, 3).transpose(1, 2)) for part in features]
        # Block order: row, column, then row and column in the 2x2 of the first spread, then of
        # the second. Picture order: all the rows, then all the columns.
        blocks = torch.cat(cut, dim=2).view(*filters.shape[:2], height, width, 2, 2, 2, 2)
        return blocks.permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5).flatten(2, 4)

    def _in_parts(self, places: Tensor) -> tuple[Tensor, ...]:
        """BxNx... in a few pieces along N."""
        if places.is_cuda or torch.onnx.is_in_onnx_export():
            return (places,)
        position = len(places) * self.channels_a_position * places.itemsize
        return torch.split(places, max(64, UPSCALED_BYTES // position), dim=1)


class _Upscaling(nn.Module):
    """Upstream's `output_upscaling` on positions, finer features added where there are any."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        grow, norm, activation, grow_again, activation_again = decoder.output_upscaling
        self.grow, self.norm = as_linear(grow), _last_axis_norm(norm)
        self.grow_again = as_linear(grow_again)
        self.activation, self.activation_again = activation, activation_again

    def forward(
        self, keys: Tensor, middle: Tensor | None = None, fine: Tensor | None = None
    ) -> Tensor:
        """BxNxC, and what is finer, to BxNx4x4xF."""
        quarters = _added(self.grow(keys), middle).unflatten(-1, (4, -1))
        cells = self.grow_again(self.activation(self.norm(quarters))).flatten(2)
        cells = self.activation_again(_added(cells, fine))
        grown: Tensor = cells.unflatten(-1, (4, 4, -1))
        return grown


def _added(features: Tensor, finer: Tensor | None) -> Tensor:
    return features if finer is None else features + finer


def _best_first(scores: Tensor) -> Tensor:
    """Of BxM scores; equal ones in their order."""
    if torch.onnx.is_in_onnx_export():  # which knows no stable sort, for it knows no other
        return scores.sort(dim=1, descending=True).indices
    return scores.argsort(dim=1, descending=True, stable=True)


class _Layer(nn.Module):
    """Upstream's `TwoWayAttentionBlock`, folded where that pays."""

    def __init__(self, block: TwoWayAttentionBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.token_to_image = TokenToImage(block.cross_attn_token_to_image)
        self.image_to_token = ImageToToken(block.cross_attn_image_to_token)
        self.block = copy.deepcopy(block)
        for of_the_image in (
            self.block.cross_attn_token_to_image,
            self.block.cross_attn_image_to_token,
            self.block.norm4,
        ):
            of_the_image.to(dtype)

    def forward(
        self,
        tokens: Tensor,
        query_pe: Tensor,
        attn_mask: Tensor,
        keys: Tensor,
        keys_pe: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """BxTxC tokens and BxNxC keys, each having seen the other.

        `query_pe` are the tokens before the first layer, `attn_mask` BxT is -inf for padding,
        `keys_pe` is keys + positions.
        """
        block = self.block
        tokens = block.norm1(self._self_attention(tokens, query_pe, attn_mask))
        tokens = block.norm2(tokens + self._tokens_from_image(tokens + query_pe, keys_pe, keys))
        tokens = block.norm3(tokens + block.mlp(tokens))
        keys = block.norm4(
            self._image_from_tokens(tokens, tokens + query_pe, attn_mask, keys_pe, keys)
        )
        return tokens, keys

    def _self_attention(self, tokens: Tensor, query_pe: Tensor, attn_mask: Tensor) -> Tensor:
        """Tokens attending to tokens."""
        if self.block.skip_first_layer_pe:
            return _attend(self.block.self_attn, tokens, tokens, tokens, attn_mask)
        tokens_pe = tokens + query_pe
        return tokens + _attend(self.block.self_attn, tokens_pe, tokens_pe, tokens, attn_mask)

    def _tokens_from_image(self, tokens_pe: Tensor, keys_pe: Tensor, keys: Tensor) -> Tensor:
        """What the tokens gain from the image."""
        if _folding_pays(tokens_pe):
            gained: Tensor = self.token_to_image(tokens_pe, keys_pe, keys)
            return gained
        attention = self.block.cross_attn_token_to_image
        return _attend(attention, tokens_pe.to(keys.dtype), keys_pe, keys).to(tokens_pe.dtype)

    def _image_from_tokens(
        self,
        tokens: Tensor,
        tokens_pe: Tensor,
        attn_mask: Tensor,
        keys_pe: Tensor,
        keys: Tensor,
    ) -> Tensor:
        """The image after it took what it looked for in the tokens."""
        if _folding_pays(tokens):
            written: Tensor = self.image_to_token(tokens, tokens_pe, attn_mask, keys_pe, keys)
            return written
        tokens, tokens_pe, attn_mask = (x.to(keys.dtype) for x in (tokens, tokens_pe, attn_mask))
        attention = self.block.cross_attn_image_to_token
        return keys + _attend(attention, keys_pe, tokens_pe, tokens, attn_mask)


def _folding_pays(tokens: Tensor) -> bool:
    """Whether folding pays for so many; only then is it recorded (`CompiledCore`)."""
    return torch.onnx.is_in_onnx_export() or tokens.shape[1] < FOLD_BELOW


def _attend(
    attention: Attention, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """Upstream's attention, with BxK keys of `attn_mask` = -inf left out."""
    projected = (attention.q_proj(q), attention.k_proj(k), attention.v_proj(v))
    q, k, v = (x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for x in projected)
    mask = None if attn_mask is None else attn_mask[:, None, None, :]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


def _last_axis_norm(norm: LayerNorm2d) -> nn.LayerNorm:
    """Upstream's LayerNorm2d for features whose channels come last."""
    layer_norm = nn.LayerNorm(len(norm.weight), eps=norm.eps)
    layer_norm.load_state_dict(norm.state_dict())
    return layer_norm
