"""Stage 3: the second look, on what the first look makes of clicks, boxes and corrections.

The first look is finished and only runs; so every sample trains the close-up on the logits that it
will meet. Corrections are clicked where the close-up's mask is wrong, as annotators will.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.engine.closeup import BOX_PLANE, Window, cut, look, resampling, window_around
from server.engine.models.closeup import CONTEXT_CELLS
from server.engine.models.painting import EDGE_LOGIT, Token, fit_to_box, hold, share_of_box
from training.learner import MEAN, STD, Learner
from training.losses import mask_iou, mask_loss
from training.prompting import (
    Prompts,
    correct,
    decode,
    draw_prompts,
    embed_painting,
    embed_prompts,
    prompt_tokens,
)

__all__ = ["closeup_loss"]

PROMPTS = 8
"""Prompts an image."""
FORGET_SHARE = 0.15
BY_SCORE_SHARE = 0.3
"""Of the single clicks, those that go on with the candidate of the best score, not the best."""

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Field = NDArray[np.float32]


def closeup_loss(
    learner: Learner, pixels: Picture, masks: list[Mask], rounds: int, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The mean over 1 to `rounds` rounds of the close-ups' mask losses; only they get gradients.

    Args:
        learner: its first look is run as it is.
        pixels: BxSxSx3.
        masks: of each image KxSxS.
        rounds: most prompts an object.
        rng: draws the prompts.
    """
    first = _FirstLook(learner, pixels)
    prompts = draw_prompts(masks, PROMPTS, rng, stride=first.size / pixels.shape[1])
    boxed = torch.from_numpy(prompts.boxed)
    owners = np.repeat(np.arange(len(pixels)), PROMPTS)
    priors: list[Field | None] = [None] * len(owners)
    total = torch.zeros(())
    stats: dict[str, float] = {}
    rounds = int(rng.integers(1, rounds + 1))
    for turn in range(rounds):
        logits = first.logits(prompts, owners, priors, turn, rng)
        tokens = [
            prompt_tokens(xy, kinds, first.size)
            for xy, kinds in zip(prompts.points, prompts.labels, strict=True)
        ]
        windows = [window_around(*one, pixels.shape[1]) for one in zip(logits, tokens, strict=True)]
        seen = [
            look(cut(pixels[owner], window), window, plane, marks)
            for owner, window, plane, marks in zip(owners, windows, logits, tokens, strict=True)
        ]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shown = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
            answer = learner.closeup(shown, first.context(windows, owners)).float()
        answer = _held(answer, shown, boxed)
        targets = torch.from_numpy(np.stack(list(map(_aim, prompts.targets, windows))))
        total = total + mask_loss(answer, targets).mean()
        stats |= _describe(turn, mask_iou(answer, targets), mask_iou(shown[:, 3], targets), boxed)
        if turn + 1 < rounds:
            guesses = map(_guess, answer.detach().numpy(), windows, tokens, prompts.targets)
            prompts = correct(prompts, np.stack(list(guesses)), rng)
            priors = [None if rng.random() < FORGET_SHARE else plane for plane in logits]
    return total / rounds, stats


class _FirstLook:
    """The encoded images, and what the model makes of prompts on them."""

    def __init__(self, learner: Learner, pixels: Picture) -> None:
        self._sam = learner.sam
        self.size: int = learner.sam.image_encoder.img_size
        small = [
            cv2.resize(one, (self.size, self.size), interpolation=cv2.INTER_AREA) for one in pixels
        ]
        x = (torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() - MEAN) / STD
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            self._embedding = learner.embed(x.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def logits(
        self,
        prompts: Prompts,
        owners: NDArray[np.int64],
        priors: list[Field | None],
        turn: int,
        rng: np.random.Generator,
    ) -> list[Field]:
        """One plane a prompt, as the server would choose it or, of single clicks, the best."""
        encoder = self._sam.prompt_encoder
        with torch.autocast("cpu", dtype=torch.bfloat16):
            sparse = embed_prompts(encoder, prompts)
            dense = embed_painting(encoder, prompts, priors)
            planes, scores = decode(
                self._sam.mask_decoder,
                self._embedding[owners],
                encoder.get_dense_pe(),
                sparse,
                dense,
            )
        planes, scores = planes.float(), scores.float()
        chosen = [0] * len(owners)
        if turn == 0:
            truths = np.stack([_shrunk(target, planes.shape[-1]) for target in prompts.targets])
            ious = mask_iou(planes[:, 1:], torch.from_numpy(truths)[:, None])
            by = scores[:, 1:] if rng.random() < BY_SCORE_SHARE else ious
            best = (1 + by.argmax(dim=1)).tolist()
            chosen = [0 if b else k for b, k in zip(prompts.boxed, best, strict=True)]
        return [
            fit_to_box(plane[k].numpy()[None], prompt_tokens(xy, kinds, self.size))[0]
            for plane, k, xy, kinds in zip(
                planes, chosen, prompts.points, prompts.labels, strict=True
            )
        ]

    def context(self, windows: list[Window], owners: NDArray[np.int64]) -> Tensor:
        """MxCx12x12 of the embeddings, as they are stored: with the no-mask embedding added."""
        side = self._embedding.shape[-1]
        places = [(w.y, w.x, w.side) for w in windows]
        down = torch.from_numpy(
            np.stack([resampling(y, s, side, CONTEXT_CELLS) for y, _, s in places])
        )
        across = torch.from_numpy(
            np.stack([resampling(x, s, side, CONTEXT_CELLS) for _, x, s in places])
        )
        no_mask = self._sam.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        stored = (self._embedding.float() + no_mask)[owners]
        with torch.autocast("cpu", enabled=False):
            around: Tensor = down[:, None] @ stored @ across[:, None].transpose(2, 3)
        return around.detach()


def _shrunk(target: Mask, side: int) -> Field:
    return np.asarray(
        cv2.resize(target.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    )


def _aim(target: Mask, window: Window) -> Field:
    """The target in the window's cells, each the share of it that is covered."""
    covered = cut(target.astype(np.uint8) * np.uint8(255), window, (0.0,))
    return np.asarray(covered / np.float32(255), np.float32)


def _guess(logits: Field, window: Window, tokens: list[Token], target: Mask) -> Mask:
    """The close-up's mask, in the picture."""
    size = len(target)
    side, x, y = (round(share * size) for share in (window.side, window.x, window.y))
    share = share_of_box(window.place(tokens), len(logits))
    held = logits if share is None else hold(logits, share)
    large = cv2.resize(held, (side, side)) > 0
    guess = np.zeros_like(target)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, size), min(y + side, size)
    if x0 < x1 and y0 < y1:
        guess[y0:y1, x0:x1] = large[y0 - y : y1 - y, x0 - x : x1 - x]
    return guess


def _held(answer: Tensor, shown: Tensor, boxed: Tensor) -> Tensor:
    """What counts of the answers to boxes: as in serving, they are cut at the edges."""
    edges = EDGE_LOGIT * (2 * shown[:, BOX_PLANE] - 1)
    return torch.where(boxed[:, None, None], torch.minimum(answer, edges), answer)


def _describe(turn: int, ious: Tensor, before: Tensor, boxed: Tensor) -> dict[str, float]:
    """Mean IoU within the windows, after the second look and of the first."""
    means = {}
    for name, values in (("", ious), ("_first", before)):
        means[f"click{turn + 1}{name}"] = float(values[~boxed].mean().nan_to_num(0.0))
        means[f"box{turn}{name}"] = float(values[boxed].mean().nan_to_num(0.0))
    return means
