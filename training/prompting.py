"""Training the first look on clicks and boxes, each followed by corrections.

Several prompts share one encoded image. A round decodes every prompt; the next adds a click where
the last mask was wrong and usually feeds that mask back (not always: a server may have forgotten
it). Single clicks are ambiguous and train the three candidates by the best of them; everything else
trains the single mask.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from server.engine.models.decoder.fine import FineMaskDecoder, Widths
from server.engine.models.upstream import PromptEncoder, Sam
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT
from training.clicks import choose_targets, click_in, depth_of, extents
from training.learner import autocast
from training.losses import mask_iou, mask_loss, min_over_candidates
from training.twins import box_coverages, boxes_of, clamp_to_box, paint

__all__ = [
    "FORGET_SHARE",
    "Prompts",
    "answer",
    "correct",
    "draw_prompts",
    "mean_ious",
    "prompt_loss",
]

PAD = -1
"""The label of a token that is no point."""

BOX_SHARE = 0.5
TIGHT_SHARE = 0.85
"""Of the boxes, those drawn to the pixel; the others are off by some hundredths of their size."""
LOOSE = 0.05
CENTRED_SHARE = 0.7
"""Of the clicks, those in the middle of what they mean, as a careful annotator's are."""
FORGET_SHARE = 0.15
"""Of the corrections, those that go without the earlier mask."""
SIDE_WEIGHT = 0.25
"""Of the candidates for a box, and of the single mask for a single click."""


@dataclass(slots=True)
class Prompts:
    """M prompts on B images, M / B each, in order of the images."""

    points: Tensor
    """M x T x 2 (x, y), in shares of the input."""
    labels: Tensor
    """M x T."""
    targets: Tensor
    """M x g x g bool."""

    @property
    def boxed(self) -> Tensor:
        """Which prompts started from a box."""
        return (self.labels == TOP_LEFT).any(1)


def draw_prompts(masks: Tensor, each: int) -> Prompts:
    """`each` first prompts an image of B x K x g x g: a box or one click, two tokens either way."""
    chosen = choose_targets(masks, each)
    rows = torch.arange(len(masks), device=masks.device)[:, None]
    targets = masks[rows, chosen].flatten(0, 1)
    boxed = _some(len(targets), BOX_SHARE, masks.device)
    corners = _box(targets)
    click = click_in(targets, _some(len(targets), CENTRED_SHARE, masks.device))
    clicked = torch.stack([click, torch.zeros_like(click)], dim=1)
    points = torch.where(boxed[:, None, None], corners, clicked)
    kinds = torch.tensor([[INCLUDE, PAD], [TOP_LEFT, BOTTOM_RIGHT]], device=masks.device)
    return Prompts(points, kinds[boxed.long()], targets)


def _some(count: int, share: float, device: torch.device) -> Tensor:
    return torch.rand(count, device=device) < share


def _box(targets: Tensor) -> Tensor:
    """M x 2 x 2 corners in shares: to the pixel, or a little off."""
    size = targets.shape[-1]
    low, high = extents(targets)
    corners = torch.stack([low, high], dim=1)
    loose = ~_some(len(targets), TIGHT_SHARE, targets.device)
    spread = LOOSE * loose[:, None, None] * (high - low)[:, None]
    noise = torch.randn_like(corners).clamp(-2, 2) * spread
    return ((corners + noise + torch.rand_like(corners) - 0.5) / size).clamp(0, 1)


def correct(prompts: Prompts, guesses: Tensor) -> Prompts:
    """Each prompt with one click more, in what its guess (M x g x g bool) has wrong."""
    targets = prompts.targets
    missed, extra = targets & ~guesses, guesses & ~targets
    wanted = depth_of(missed) >= depth_of(extra)
    region = torch.where(wanted[:, None, None], missed, extra)
    right = ~region.flatten(1).any(1)
    region, wanted = torch.where(right[:, None, None], targets, region), wanted | right
    click = click_in(region, _some(len(targets), CENTRED_SHARE, targets.device))
    label = torch.where(wanted, INCLUDE, EXCLUDE)
    # The decoder is blind to the order of tokens: the new click may stand last.
    return Prompts(
        torch.cat([prompts.points, click[:, None]], dim=1),
        torch.cat([prompts.labels, label[:, None]], dim=1),
        targets,
    )


def embed_prompts(encoder: PromptEncoder, prompts: Prompts) -> Tensor:
    """M x T x C sparse embeddings, equal to the prompt encoder's own for each kind of prompt."""
    size = encoder.input_image_size
    pixels = prompts.points * prompts.points.new_tensor(size[::-1])
    # Half precision would move the finer waves by a tenth of their length.
    with torch.autocast(pixels.device.type, enabled=False):
        places = encoder.pe_layer.forward_with_coords(pixels + 0.5, size)
    kinds = [encoder.not_a_point_embed, *encoder.point_embeddings]
    table = torch.cat([kind.weight for kind in kinds])
    sparse: Tensor = places * (prompts.labels != PAD)[:, :, None] + table[prompts.labels + 1]
    return sparse


def embed_painting(
    encoder: PromptEncoder, prompts: Prompts, priors: Tensor, known: Tensor
) -> Tensor:
    """MxCxhxw dense embeddings of the prompts painted over the earlier logits, where `known`."""
    side = encoder.mask_input_size[0]
    painted = paint(prompts.points, prompts.labels, priors, known, side)
    dense: Tensor = encoder.mask_downscaling(painted[:, None])
    return dense


def decode(
    decoder: FineMaskDecoder, embedding: Tensor, places: Tensor, sparse: Tensor, dense: Tensor
) -> tuple[Tensor, Tensor]:
    """`predict_masks` for prompts of several images: one embedding a prompt.

    MxC'xhxw embeddings, 1xCxhxw places, MxTxC and MxCxhxw prompt embeddings to Mx4x4hx4w logits and
    Mx4 predicted IoUs. The upscaling runs on tokens, as matrix products, which spares the copies.
    """
    count, _, height, width = embedding.shape
    heads = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([heads.expand(count, -1, -1), sparse.to(heads.dtype)], dim=1)
    own = dense.shape[1]
    source, finer = embedding[:, :own] + dense.to(embedding.dtype), embedding[:, own:]
    # In the embedding's dtype: half-precision pixels would else be widened and narrowed all along.
    places = places.to(source.dtype).expand(count, -1, -1, -1)
    tokens, source = decoder.transformer(source, places, tokens)
    fine = _upscale(decoder, source, finer.flatten(2).transpose(1, 2))
    hyper = torch.stack(
        [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = torch.einsum("mkc,mpabdec->mkpabde", hyper, fine)
    masks = masks.unflatten(2, (height, width)).permute(0, 1, 2, 4, 6, 3, 5, 7)
    scores: Tensor = decoder.iou_prediction_head(tokens[:, 0])
    return masks.reshape(count, -1, 4 * height, 4 * width), scores


def _upscale(decoder: FineMaskDecoder, source: Tensor, finer: Tensor) -> Tensor:
    """M x P x C, finer features beside it, to M x P x 2 x 2 x 2 x 2 x F.

    Rows and columns of the first doubling, then those of the second.
    """
    first, norm, _, second, _ = decoder.output_upscaling
    middle, fine = finer.split(Widths(decoder).parts[1:], dim=-1)
    x = _double(source, first) + middle.unflatten(-1, (2, 2, -1))
    x = F.layer_norm(x, (x.shape[-1],), norm.weight, norm.bias, norm.eps)
    return F.gelu(_double(F.gelu(x), second) + fine.unflatten(-1, (2, 2, 2, 2, -1)))


def _double(x: Tensor, conv: torch.nn.ConvTranspose2d) -> Tensor:
    """A transposed convolution of kernel = stride = 2 is one matrix product a pixel."""
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = conv.bias.repeat(4) if conv.bias is not None else None
    doubled: Tensor = F.linear(x, weight, bias).unflatten(-1, (2, 2, conv.out_channels))
    return doubled


def answer(
    sam: Sam, embedding: Tensor, prompts: Prompts, priors: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Mx4xsxs logits and Mx4 predicted IoUs, in float32, of M prompts on B images' embedding.

    Args:
        sam: the first look.
        embedding: BxCxhxw.
        prompts: M / B of each image.
        priors: Mxsxs logits of earlier masks.
        known: M bool, whose earlier mask is to be seen.
    """
    spread = embedding.repeat_interleave(len(prompts.points) // len(embedding), dim=0)
    with autocast(embedding.device):
        sparse = embed_prompts(sam.prompt_encoder, prompts)
        dense = embed_painting(sam.prompt_encoder, prompts, priors, known)
        places = sam.prompt_encoder.get_dense_pe()
        logits, scores = decode(sam.mask_decoder, spread, places, sparse, dense)
    return logits.float(), scores.float()


def prompt_loss(
    sam: Sam, embedding: Tensor, prompts: Prompts, rounds: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean over rounds of mask and IoU losses; `embedding` is BxCxhxw of prompts of B images.

    The targets' grid must be as fine as the logits, or a whole number of times finer.
    """
    count, side = len(prompts.targets), 4 * embedding.shape[-1]
    aims = F.adaptive_avg_pool2d(prompts.targets.float()[:, None], side)
    boxed = prompts.boxed
    share = box_coverages(boxes_of(prompts.points, prompts.labels), side)[:, None]
    total = torch.zeros((), device=embedding.device)
    stats: dict[str, Tensor] = {}
    priors = embedding.new_zeros((count, side, side), dtype=torch.float32)
    known = torch.zeros_like(boxed)
    for turn in range(rounds):
        logits, scores = answer(sam, embedding, prompts, priors, known)
        if turn:
            logits, scores = logits[:, :1], scores[:, :1]
        # As in serving, answers end at their box.
        logits = torch.where(boxed[:, None, None, None], clamp_to_box(logits, share), logits)
        wanted = aims.expand_as(logits)
        losses, ious = mask_loss(logits, wanted), mask_iou(logits, wanted)
        total = total + _weigh(losses, boxed) + F.mse_loss(scores, ious)
        chosen = _choose(ious, scores.detach(), boxed)
        stats |= mean_ious(turn, ious.gather(1, chosen[:, None])[:, 0], boxed)
        if turn + 1 < rounds:
            index = torch.arange(count, device=chosen.device)
            priors = logits.detach()[index, chosen]
            prompts = correct(prompts, _on_grid(priors, prompts.targets.shape[-1]) > 0)
            known = ~_some(count, FORGET_SHARE, chosen.device)
    return total / rounds, stats


def _on_grid(logits: Tensor, side: int) -> Tensor:
    """M planes at another side."""
    if logits.shape[-1] == side:
        return logits
    large = F.interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)
    return large[:, 0]


def _weigh(losses: Tensor, boxed: Tensor) -> Tensor:
    """Mx4 losses of the first round, or Mx1 of a later one, to one number."""
    single = losses[:, 0]
    if losses.shape[1] == 1:
        return single.mean()
    best = min_over_candidates(losses[:, 1:])
    return torch.where(boxed, single + SIDE_WEIGHT * best, best + SIDE_WEIGHT * single).mean()


def _choose(ious: Tensor, scores: Tensor, boxed: Tensor) -> Tensor:
    """Which mask goes on: token 0, or after a single click the best, by score or in truth."""
    if ious.shape[1] == 1:
        return torch.zeros_like(boxed, dtype=torch.long)
    by = torch.where(_some(len(boxed), 0.5, boxed.device)[:, None], scores, ious)
    return torch.where(boxed, 0, 1 + by[:, 1:].argmax(dim=1))


def mean_ious(turn: int, ious: Tensor, boxed: Tensor) -> dict[str, Tensor]:
    """Mean IoU after a click or a box and `turn` corrections."""
    return {
        f"click{turn + 1}": _mean(ious, ~boxed),
        f"box{turn}": _mean(ious, boxed),
    }


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
