"""Stage 2: the whole model on clicks and boxes, each followed by corrections.

Several prompts share one encoded image. A round decodes every prompt; the next round adds a click
where the last mask was wrong and feeds that mask back, now and then not, as a server that has
forgotten it would. Single clicks are ambiguous and train the three candidates by the best of them;
everything else trains the single mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from server.engine.models.painting import (
    BOTTOM_RIGHT,
    EDGE_LOGIT,
    EXCLUDE,
    INCLUDE,
    TOP_LEFT,
    paint_prompt,
    share_of_box,
)
from server.engine.models.upstream import MaskDecoder, PromptEncoder, Sam
from training.learner import autocast
from training.losses import mask_iou, mask_loss, min_over_candidates

__all__ = [
    "Prompts",
    "correct",
    "decode",
    "draw_prompts",
    "embed_painting",
    "embed_prompts",
    "prompt_loss",
    "prompt_tokens",
]

PAD = -1
"""The label of a token that is no point."""

BOX_SHARE = 0.5
TIGHT_SHARE = 0.85
"""Of the boxes, those drawn to the pixel; the others are off by some hundredths of their size."""
CENTRED_SHARE = 0.6
"""Of the clicks, those in the middle of what they mean, as a careful annotator's are."""
FORGET_SHARE = 0.15
"""Of the corrections, those that go without the earlier mask."""
SIDE_WEIGHT = 0.25
"""Of the candidates for a box, and of the single mask for a single click."""


@dataclass(slots=True)
class Prompts:
    """M prompts on B images, M / B each, in order of the images; pixels of the input."""

    points: NDArray[np.float32]
    """M x T x 2."""
    labels: NDArray[np.int64]
    """M x T."""
    targets: NDArray[np.bool_]
    """M masks."""
    stride: float = 2.0
    """Pixels of the input a pixel of the targets: half the size, unless said otherwise."""

    @property
    def boxed(self) -> NDArray[np.bool_]:
        """Which prompts started from a box."""
        return np.asarray((self.labels == TOP_LEFT).any(axis=1))


def draw_prompts(
    masks: list[NDArray[np.bool_]], each: int, rng: np.random.Generator, stride: float = 2.0
) -> Prompts:
    """`each` first prompts an image: a jittered box or one click, with an equal token count."""
    points, labels, targets = [], [], []
    for group in masks:
        order = rng.permutation(len(group))
        for n in range(each):
            target = group[order[n % len(group)]]
            if rng.random() < BOX_SHARE:
                points.append(_box(target, rng) * np.float32(stride))
                labels.append((TOP_LEFT, BOTTOM_RIGHT))
            else:
                points.append(np.array([_click(target, rng), (0, 0)], np.float32) * stride)
                labels.append((INCLUDE, PAD))
            targets.append(target)
    return Prompts(
        np.stack(points).astype(np.float32), np.array(labels, np.int64), np.stack(targets), stride
    )


def _box(target: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Two corners in the target's pixels."""
    ys, xs = np.nonzero(target)
    low = np.array([xs.min(), ys.min()])
    high = np.array([xs.max() + 1, ys.max() + 1])
    spread = 0.0 if rng.random() < TIGHT_SHARE else 0.05
    noise = rng.normal(0, 1, (2, 2)).clip(-2, 2) * spread * (high - low)
    corners = np.stack([low, high]) + noise + rng.uniform(-0.5, 0.5, (2, 2))
    return np.asarray(np.clip(corners, 0, target.shape[::-1]), np.float32)


def _click(region: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    """A place in one of the region's pixels: near its middle or anywhere."""
    part, left, top = _cropped(region)
    if rng.random() < CENTRED_SHARE:
        depth = _depths(part)
        spots = np.flatnonzero(depth >= 0.9 * depth.max())
    else:
        spots = np.flatnonzero(part)
    y, x = divmod(int(spots[rng.integers(len(spots))]), part.shape[1])
    return left + x + rng.uniform(0, 0.5), top + y + rng.uniform(0, 0.5)


def correct(prompts: Prompts, guesses: NDArray[np.bool_], rng: np.random.Generator) -> Prompts:
    """Each prompt with one click more, in what its guess has wrong."""
    clicks = np.zeros((len(guesses), 1, 2), np.float32)
    labels = np.zeros((len(guesses), 1), np.int64)
    for m, (guess, target) in enumerate(zip(guesses, prompts.targets, strict=True)):
        missed, extra = target & ~guess, guess & ~target
        wanted = _depth(missed) >= _depth(extra)
        region = missed if wanted else extra
        if not region.any():
            region, wanted = target, True
        clicks[m, 0] = np.array(_click(region, rng)) * prompts.stride
        labels[m, 0] = INCLUDE if wanted else EXCLUDE
    # The decoder is blind to the order of tokens: the new click may stand last.
    return Prompts(
        np.concatenate([prompts.points, clicks], axis=1),
        np.concatenate([prompts.labels, labels], axis=1),
        prompts.targets,
        prompts.stride,
    )


def _depth(region: NDArray[np.bool_]) -> float:
    part, _, _ = _cropped(region)
    return float(_depths(part).max()) if part.size else 0.0


def _cropped(region: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int, int]:
    """What of a mask is not empty, and where its left and top are."""
    left, top, width, height = cv2.boundingRect(region.astype(np.uint8))
    return region[top : top + height, left : left + width], left, top


def _depths(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far each pixel is from what is not region; the picture's border is not."""
    padded = np.pad(region.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1], np.float32)


def embed_prompts(encoder: PromptEncoder, prompts: Prompts) -> Tensor:
    """M x T x C sparse embeddings, equal to the prompt encoder's own for each kind of prompt."""
    points, labels = torch.from_numpy(prompts.points), torch.from_numpy(prompts.labels)
    places = encoder.pe_layer.forward_with_coords(points + 0.5, encoder.input_image_size)
    kinds = [encoder.not_a_point_embed, *encoder.point_embeddings]
    table = torch.cat([kind.weight for kind in kinds])
    sparse: Tensor = places * (labels != PAD)[:, :, None] + table[labels + 1]
    return sparse


def prompt_tokens(
    points: NDArray[np.float32], labels: NDArray[np.int64], size: int
) -> list[tuple[float, float, int]]:
    """One prompt's clicks and corners as shares of an input of `size` pixels."""
    marks = zip((points / size).tolist(), labels.tolist(), strict=True)
    return [(x, y, label) for (x, y), label in marks if label != PAD]


def embed_painting(
    encoder: PromptEncoder, prompts: Prompts, priors: Sequence[NDArray[np.float32] | None]
) -> Tensor:
    """MxCxhxw dense embeddings of the prompts painted over the earlier logits, if any."""
    side, size = encoder.mask_input_size[0], encoder.input_image_size[0]
    painted = [
        paint_prompt(prompt_tokens(xy, labels, size), prior, side)
        for xy, labels, prior in zip(prompts.points, prompts.labels, priors, strict=True)
    ]
    dense: Tensor = encoder.mask_downscaling(torch.from_numpy(np.stack(painted))[:, None])
    return dense


def decode(
    decoder: MaskDecoder, embedding: Tensor, places: Tensor, sparse: Tensor, dense: Tensor
) -> tuple[Tensor, Tensor]:
    """Upstream's `predict_masks` for prompts of several images: one embedding a prompt.

    MxCxhxw embeddings, 1xCxhxw places, MxTxC and MxCxhxw prompt embeddings to Mx4x4hx4w logits and
    Mx4 predicted IoUs. The upscaling runs on tokens, as matrix products, which spares the copies.
    """
    count, _, height, width = embedding.shape
    heads = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([heads.expand(count, -1, -1), sparse.to(heads.dtype)], dim=1)
    source = embedding + dense.to(embedding.dtype)
    # In the embedding's dtype: half-precision pixels would else be widened and narrowed all along.
    places = places.to(source.dtype).expand(count, -1, -1, -1)
    tokens, source = decoder.transformer(source, places, tokens)
    fine = _upscale(decoder, source)
    hyper = torch.stack(
        [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = torch.einsum("mkc,mpabdec->mkpabde", hyper, fine)
    masks = masks.unflatten(2, (height, width)).permute(0, 1, 2, 4, 6, 3, 5, 7)
    scores: Tensor = decoder.iou_prediction_head(tokens[:, 0])
    return masks.reshape(count, -1, 4 * height, 4 * width), scores


def _upscale(decoder: MaskDecoder, source: Tensor) -> Tensor:
    """M x P x C to M x P x 2 x 2 x 2 x 2 x C': rows and columns of both doublings."""
    first, norm, _, second, _ = decoder.output_upscaling
    x = _double(source, first)
    x = F.layer_norm(x, (x.shape[-1],), norm.weight, norm.bias, norm.eps)
    return F.gelu(_double(F.gelu(x), second))


def _double(x: Tensor, conv: torch.nn.ConvTranspose2d) -> Tensor:
    """A transposed convolution of kernel = stride = 2 is one matrix product a pixel."""
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = conv.bias.repeat(4) if conv.bias is not None else None
    doubled: Tensor = F.linear(x, weight, bias).unflatten(-1, (2, 2, conv.out_channels))
    return doubled


def prompt_loss(
    sam: Sam,
    embedding: Tensor,
    prompts: Prompts,
    rounds: int,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """The sum over rounds of mask and IoU losses; `embedding` is BxCxhxw of prompts of B images."""
    count = len(prompts.targets)
    spread = embedding.repeat_interleave(count // len(embedding), dim=0)
    targets = torch.from_numpy(prompts.targets).float()
    boxed = torch.from_numpy(prompts.boxed)
    places = sam.prompt_encoder.get_dense_pe()
    edges = _edges(prompts, targets.shape[-1])
    total = embedding.new_zeros(())
    stats: dict[str, float] = {}
    priors: list[NDArray[np.float32] | None] = [None] * count
    for turn in range(rounds):
        with autocast():
            sparse = embed_prompts(sam.prompt_encoder, prompts)
            dense = embed_painting(sam.prompt_encoder, prompts, priors)
            logits, scores = decode(sam.mask_decoder, spread, places, sparse, dense)
        logits, scores = torch.minimum(logits.float(), edges), scores.float()
        if turn:
            logits, scores = logits[:, :1], scores[:, :1]
        aims = targets[:, None].expand_as(logits)
        losses, ious = mask_loss(logits, aims), mask_iou(logits, aims)
        total = total + _weigh(losses, boxed) + F.mse_loss(scores, ious)
        chosen = _choose(ious, scores.detach(), boxed, rng)
        stats |= _describe(turn, ious.gather(1, chosen[:, None])[:, 0], boxed)
        if turn + 1 < rounds:
            answers = logits.detach()[torch.arange(count), chosen].numpy()
            prompts = correct(prompts, answers > 0, rng)
            priors = [None if rng.random() < FORGET_SHARE else answer for answer in answers]
    return total / rounds, stats


def _edges(prompts: Prompts, side: int) -> Tensor:
    """Mx1 x side x side: no logit may be above them. As in serving, answers end at their box."""
    edges = np.full((len(prompts.targets), 1, side, side), np.inf, np.float32)
    for m, (points, labels) in enumerate(zip(prompts.points, prompts.labels, strict=True)):
        share = share_of_box(prompt_tokens(points, labels, round(side * prompts.stride)), side)
        if share is not None:
            edges[m, 0] = EDGE_LOGIT * (2 * share - 1)
    return torch.from_numpy(edges)


def _weigh(losses: Tensor, boxed: Tensor) -> Tensor:
    """Mx4 losses of the first round, or Mx1 of a later one, to one number."""
    single = losses[:, 0]
    if losses.shape[1] == 1:
        return single.mean()
    best = min_over_candidates(losses[:, 1:])
    return torch.where(boxed, single + SIDE_WEIGHT * best, best + SIDE_WEIGHT * single).mean()


def _choose(ious: Tensor, scores: Tensor, boxed: Tensor, rng: np.random.Generator) -> Tensor:
    """Which mask goes on: token 0, or after a single click the best, by score or in truth."""
    if ious.shape[1] == 1:
        return torch.zeros(len(ious), dtype=torch.long)
    by = scores if rng.random() < 0.5 else ious
    return torch.where(boxed, 0, 1 + by[:, 1:].argmax(dim=1))


def _describe(turn: int, ious: Tensor, boxed: Tensor) -> dict[str, float]:
    return {
        f"click{turn + 1}": float(ious[~boxed].mean().nan_to_num(0.0)),
        f"box{turn}": float(ious[boxed].mean().nan_to_num(0.0)),
    }
