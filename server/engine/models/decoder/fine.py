"""Features finer than the embedding: SAM's mask decoder, given SAM 2's.

An embedding at stride 16 knows what is where, and little of the outlines of what is smaller than a
few of its places. So the encoder keeps features of strides 8 and 4 on its way down, and the mask
decoder adds them as it upscales (Ravi et al., "SAM 2: Segment anything in images and videos",
2024, its high-resolution features).

All of this travels as further channels of the embedding: behind its own, each place has those of
its 2 x 2 cells, then those of its 4 x 4, in the order in which the decoder makes them (row and
column in the place, row and column in the quarter, channel). So between encoder and decoder there
is one tensor, as ever.
"""

import torch
from torch import Tensor

from server.engine.models.upstream import MaskDecoder

__all__ = ["FineMaskDecoder", "Widths", "depth_to_space", "space_to_depth"]


class Widths:
    """Channels of an embedding: its own, and of each finer cell."""

    def __init__(self, decoder: MaskDecoder) -> None:
        self.own: int = decoder.transformer_dim
        fine = isinstance(decoder, FineMaskDecoder)
        grow, _, _, grow_again, _ = decoder.output_upscaling
        self.middle: int = grow.out_channels if fine else 0
        self.fine: int = grow_again.out_channels if fine else 0

    @property
    def parts(self) -> tuple[int, ...]:
        """Channels of a place: its own; where there is more, its 2 x 2 cells', its 4 x 4 cells'."""
        return (self.own, 4 * self.middle, 16 * self.fine) if self.fine else (self.own,)

    @property
    def total(self) -> int:
        """All channels of a place."""
        return sum(self.parts)


class FineMaskDecoder(MaskDecoder):  # type: ignore[misc]  # upstream has no types
    """Upstream's, but embeddings have the channels of finer cells behind their own."""

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As upstream's, of one image; what is known of prompts is as wide as upstream's."""
        count = len(sparse_prompt_embeddings)
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(count, -1, -1)
        tokens = torch.cat([own, sparse_prompt_embeddings], dim=1)
        coarse, middle, fine = image_embeddings.split(Widths(self).parts, dim=1)
        coarse = coarse + dense_prompt_embeddings
        tokens, seen = self.transformer(coarse, image_pe.expand(count, -1, -1, -1), tokens)
        grow, norm, activation, grow_again, activation_again = self.output_upscaling
        features = grow(seen.transpose(1, 2).view_as(coarse)) + depth_to_space(middle)
        features = grow_again(activation(norm(features))) + depth_to_space(depth_to_space(fine))
        heads = zip(self.output_hypernetworks_mlps, tokens[:, 1:].unbind(1), strict=False)
        filters = torch.stack([head(token) for head, token in heads], dim=1)
        masks = torch.einsum("bmc,bchw->bmhw", filters, activation_again(features))
        return masks, self.iou_prediction_head(tokens[:, 0])


def space_to_depth(cells: Tensor) -> Tensor:
    """BxCx2hx2w to Bx4Cxhxw: what lies in each place, by row, column and channel."""
    batch, channels, height, width = cells.shape
    blocks = cells.view(batch, channels, height // 2, 2, width // 2, 2)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // 2, width // 2)


def depth_to_space(places: Tensor) -> Tensor:
    """Bx4Cxhxw to BxCx2hx2w: what `space_to_depth` brought together, where it was."""
    batch, channels, height, width = places.shape
    blocks = places.view(batch, 2, 2, channels // 4, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, 2 * height, 2 * width)
