"""The robot annotator the field measures with: it clicks the middle of the largest error.

All masks of one photo are annotated side by side, in one batch, as independent objects. What is
asked of the model is what the server asks: a lone click takes the best candidate by predicted IoU,
anything else the single mask, each with the logits of its last answer as prior.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from server.engine.models.painting import BOTTOM_RIGHT, TOP_LEFT, fit_to_box
from server.engine.models.upstream import Sam
from training.prompting import (
    PAD,
    Prompts,
    decode,
    embed_painting,
    embed_prompts,
    prompt_tokens,
)

__all__ = ["Annotated", "Photo", "Refiner", "annotate_boxes", "annotate_clicks", "iou", "tight_box"]

Mask = NDArray[np.bool_]
Refiner = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""A thumbnail's pixels and its logits to better logits."""

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)


@dataclass(frozen=True, slots=True)
class Annotated:
    """What the robot got for N objects."""

    ious: NDArray[np.float64]
    """N x clicks (x 1 for boxes)."""
    best: NDArray[np.float64]
    """N: best of the three candidates of the first answer, in truth."""
    scores: NDArray[np.float64]
    """N x clicks: the IoU the model predicted."""


class Photo:
    """One encoded photo, ready for prompts in its own pixels."""

    def __init__(self, sam: Sam, rgb: NDArray[np.uint8], refiner: Refiner | None = None) -> None:
        self.sam = sam
        self.rgb = rgb
        self.height, self.width = rgb.shape[:2]
        size = sam.image_encoder.img_size
        self.scale = size / max(self.height, self.width)
        self.small = (round(self.height * self.scale), round(self.width * self.scale))
        mode = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        self._thumbnail = cv2.resize(rgb, self.small[::-1], interpolation=mode).astype(np.uint8)
        self._refiner = refiner
        x = (torch.from_numpy(self._thumbnail).permute(2, 0, 1)[None].float() - MEAN) / STD
        x = F.pad(x, (0, size - self.small[1], 0, size - self.small[0]))
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            self._embedding: Tensor = sam.image_encoder(x)

    def ask(
        self, points: NDArray[np.float32], labels: NDArray[np.int64], prior: Tensor | None
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """N x T prompt tokens to Nx4 low-resolution logits and N x 4 predicted IoUs."""
        nothing = np.zeros((0, 1, 1), np.bool_)
        prompts = Prompts((points * self.scale).astype(np.float32), labels, nothing)
        encoder = self.sam.prompt_encoder
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            earlier = [None] * len(points) if prior is None else list(prior[:, 0].numpy())
            dense = embed_painting(encoder, prompts, earlier)
            embedding = self._embedding.expand(len(points), -1, -1, -1)
            places = encoder.get_dense_pe()
            sparse = embed_prompts(encoder, prompts)
            logits, scores = decode(self.sam.mask_decoder, embedding, places, sparse, dense)
        fitted = [
            fit_to_box(four, prompt_tokens(xy, kinds, encoder.input_image_size[0]))
            for four, xy, kinds in zip(logits.float().numpy(), prompts.points, labels, strict=True)
        ]
        return torch.from_numpy(np.stack(fitted)), scores.double().numpy()

    def masks(self, logits: Tensor, *, boxed: bool = False) -> list[Mask]:
        """Nxhxw logits to masks of the photo's size; those of boxes are not refined."""
        refiner = None if boxed else self._refiner
        return [self._mask(one, refiner) for one in logits.numpy()]

    def _mask(self, logits: NDArray[np.float32], refiner: Refiner | None) -> Mask:
        size = self.sam.image_encoder.img_size
        if refiner is not None:
            logits = self._refined(logits, refiner)
        square = cv2.resize(logits, (size, size), interpolation=cv2.INTER_LINEAR)
        large = square[: self.small[0], : self.small[1]].astype(np.float32)
        full = cv2.resize(large, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(full > 0)

    def _refined(self, logits: NDArray[np.float32], refiner: Refiner) -> NDArray[np.float32]:
        """On the logits' own coarse grid, as the server does it."""
        side = logits.shape[0]
        height, width = (round(edge * side / max(self.small)) for edge in self.small)
        thumbnail = cv2.resize(self._thumbnail, (width, height), interpolation=cv2.INTER_AREA)
        valid = np.ascontiguousarray(logits[:height, :width])
        better = refiner(thumbnail.astype(np.uint8), valid)
        below, beside = side - height, side - width
        return np.asarray(cv2.copyMakeBorder(better, 0, below, 0, beside, cv2.BORDER_REPLICATE))


def iou(guess: Mask, truth: Mask) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = int((guess | truth).sum())
    return float((guess & truth).sum() / union) if union else 1.0


def tight_box(mask: Mask) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 around a mask, in pixel edges."""
    ys, xs = np.nonzero(mask)
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def next_click(guess: Mask, truth: Mask) -> tuple[float, float, int]:
    """x, y, label in the middle of the larger of the missed and the extra regions."""
    missed, extra = _deepest(truth & ~guess), _deepest(guess & ~truth)
    depth, x, y = max(missed, extra)
    if depth == 0:
        _, x, y = _deepest(truth)
    return x + 0.5, y + 0.5, int(missed[0] >= extra[0])


def _deepest(region: Mask) -> tuple[float, int, int]:
    """Depth, x and y of the pixel farthest from outside; the picture's border is outside."""
    left, top, width, height = cv2.boundingRect(region.astype(np.uint8))
    if not width:
        return 0.0, 0, 0
    padded = np.pad(region[top : top + height, left : left + width].astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = divmod(int(depth.argmax()), width)
    return float(depth[y, x]), left + x, top + y


def annotate_clicks(photo: Photo, truths: list[Mask], clicks: int) -> Annotated:
    """`clicks` clicks on each of the N masks."""
    count = len(truths)
    empty = np.zeros((photo.height, photo.width), np.bool_)
    guesses = [empty] * count
    points = np.zeros((count, 0, 2), np.float32)
    labels = np.zeros((count, 0), np.int64)
    pad_point, pad_label = np.zeros((count, 1, 2), np.float32), np.full((count, 1), PAD)
    ious, scores = np.zeros((count, clicks)), np.zeros((count, clicks))
    best = np.zeros(count)
    prior: Tensor | None = None
    for turn in range(clicks):
        new = [next_click(g, t) for g, t in zip(guesses, truths, strict=True)]
        points = np.concatenate([points, np.array([[n[:2]] for n in new], np.float32)], axis=1)
        labels = np.concatenate([labels, np.array([[n[2]] for n in new])], axis=1)
        logits, predicted = photo.ask(
            np.concatenate([points, pad_point], axis=1),
            np.concatenate([labels, pad_label], axis=1),
            prior,
        )
        chosen = 1 + predicted[:, 1:].argmax(1) if turn == 0 else np.zeros(count, int)
        rows = torch.arange(count)
        if turn == 0:
            best = _best(photo, logits[:, 1:], truths)
        prior = logits[rows, torch.from_numpy(chosen)][:, None]
        guesses = photo.masks(prior[:, 0])
        ious[:, turn] = [iou(g, t) for g, t in zip(guesses, truths, strict=True)]
        scores[:, turn] = predicted[np.arange(count), chosen]
    return Annotated(ious, best, scores)


def _best(
    photo: Photo, logits: Tensor, truths: list[Mask], *, boxed: bool = False
) -> NDArray[np.float64]:
    candidates = [photo.masks(logits[:, k], boxed=boxed) for k in range(logits.shape[1])]
    each = [[iou(g, t) for g, t in zip(masks, truths, strict=True)] for masks in candidates]
    best: NDArray[np.float64] = np.asarray(each, np.float64).max(axis=0)
    return best


def annotate_boxes(photo: Photo, truths: list[Mask]) -> Annotated:
    """One tight box on each of the N masks."""
    boxes = np.array([tight_box(truth) for truth in truths], np.float32)
    points = boxes.reshape(-1, 2, 2)
    labels = np.tile(np.array([TOP_LEFT, BOTTOM_RIGHT]), (len(truths), 1))
    logits, predicted = photo.ask(points, labels, None)
    guesses = photo.masks(logits[:, 0], boxed=True)
    ious = np.array([[iou(g, t)] for g, t in zip(guesses, truths, strict=True)])
    best = _best(photo, logits[:, 1:], truths, boxed=True)
    return Annotated(ious, best, predicted[:, :1])
