"""Stage 3: the second look, on what the first look makes of clicks, boxes and corrections.

The first look is finished and only runs; so every sample trains the close-up on the logits that it
will meet. Corrections are clicked where the close-up's mask is wrong, as annotators will.
"""

import functools
from copy import deepcopy

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from server.engine.closeup import BOX_PLANE, Window, cut, look, resampling, window_around
from server.engine.models.closeup import CONTEXT_CELLS
from server.engine.models.decoder import FoldedDecoder
from server.engine.models.device import choose_dtype
from server.engine.models.layers import channels_last, fold_norms
from server.engine.models.painting import (
    BOTTOM_RIGHT,
    EDGE_LOGIT,
    INCLUDE,
    TOP_LEFT,
    Token,
    fit_to_box,
    hold,
    paint_prompt,
    share_of_box,
)
from server.engine.models.upstream import Sam
from server.engine.types import DecodeRequest, Prompt, Want
from server.geometry import Frame
from training.learner import MEAN, STD, Learner, autocast
from training.losses import mask_iou, mask_loss
from training.prompting import (
    Prompts,
    correct,
    draw_prompts,
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
    first = _first_look(learner)
    first.encode(pixels)
    prompts = draw_prompts(masks, PROMPTS, rng, stride=first.size / pixels.shape[1])
    boxed = torch.from_numpy(prompts.boxed)
    owners = np.repeat(np.arange(len(pixels)), PROMPTS)
    priors: list[Field | None] = [None] * len(owners)
    total = torch.zeros(())
    stats: dict[str, float] = {}
    rounds = int(rng.integers(1, rounds + 1))
    for turn in range(rounds):
        logits, scores = first.logits(prompts, owners, priors, turn, rng)
        tokens = [
            prompt_tokens(xy, kinds, first.size)
            for xy, kinds in zip(prompts.points, prompts.labels, strict=True)
        ]
        windows = [window_around(*one, pixels.shape[1]) for one in zip(logits, tokens, strict=True)]
        seen = [
            look(cut(pixels[owner], window), window, plane, marks)
            for owner, window, plane, marks in zip(owners, windows, logits, tokens, strict=True)
        ]
        with autocast():
            shown = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
            answer, judged = learner.closeup(shown, first.context(windows, owners), scores)
        answer = _held(answer.float(), shown, boxed)
        targets = torch.from_numpy(np.stack(list(map(_aim, prompts.targets, windows))))
        ious = mask_iou(answer, targets)
        total = total + mask_loss(answer, targets).mean() + F.mse_loss(judged.float(), ious)
        stats |= _describe(turn, ious, mask_iou(shown[:, 3], targets), boxed)
        if turn + 1 < rounds:
            guesses = map(_guess, answer.detach().numpy(), windows, tokens, prompts.targets)
            prompts = correct(prompts, np.stack(list(guesses)), rng)
            priors = [None if rng.random() < FORGET_SHARE else plane for plane in logits]
    return total / rounds, stats


class _FirstLook:
    """The finished first look, as it serves: what it makes of prompts on a few encoded images."""

    def __init__(self, sam: Sam) -> None:
        cpu = torch.device("cpu")
        dtype = choose_dtype("auto", cpu)
        sam = deepcopy(sam).eval()
        fold_norms(sam)
        self.size: int = sam.image_encoder.img_size
        self._grid: int = sam.prompt_encoder.image_embedding_size[0]
        self._decoder = FoldedDecoder(sam, device=cpu, dtype=dtype)
        self._encoder = channels_last(sam.image_encoder.to(dtype))
        self._dtype = dtype
        self._stored: list[Tensor] = []

    @classmethod
    def of(cls, learner: Learner) -> "_FirstLook":
        """That of a learner whose first look trains no more."""
        return cls(learner.sam)

    @torch.inference_mode()
    def encode(self, pixels: Picture) -> None:
        """Look at BxSxSx3."""
        whole = (self.size, self.size)
        small = [cv2.resize(one, whole, interpolation=cv2.INTER_AREA) for one in pixels]
        x = (torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() - MEAN) / STD
        embeddings = self._encoder(x.to(self._dtype))
        self._stored = [self._decoder.store(one[None]) for one in embeddings]

    def logits(
        self,
        prompts: Prompts,
        owners: NDArray[np.int64],
        priors: list[Field | None],
        turn: int,
        rng: np.random.Generator,
    ) -> tuple[list[Field], Tensor]:
        """One plane a prompt, as the server would choose it or, of single clicks, the best.

        And M predicted IoUs.
        """
        by_score = rng.random() < BY_SCORE_SHARE
        frame = Frame(self.size, self.size, self.size)
        marks = [
            prompt_tokens(xy, kinds, self.size)
            for xy, kinds in zip(prompts.points, prompts.labels, strict=True)
        ]
        wants: list[Want] = ["all" if turn == 0 and not b else "single" for b in prompts.boxed]
        rows = [
            (self._stored[owner], frame, self._request(tokens, prior, want))
            for owner, tokens, prior, want in zip(owners, marks, priors, wants, strict=True)
        ]
        planes, scores = [], []
        for answer, tokens, target in zip(
            self._decoder.decode(rows), marks, prompts.targets, strict=True
        ):
            chosen = 0 if by_score else _best(answer.logits, target)
            planes.append(fit_to_box(answer.logits[chosen][None], tokens)[0])
            scores.append(float(answer.scores[chosen]))
        return planes, torch.tensor(scores)

    def _request(self, tokens: list[Token], prior: Field | None, want: Want) -> DecodeRequest:
        """A prompt, painted, in the input's pixels."""
        at = {label: (x * self.size, y * self.size) for x, y, label in tokens}
        box = (*at[TOP_LEFT], *at[BOTTOM_RIGHT]) if TOP_LEFT in at else None
        points = tuple(
            (x * self.size, y * self.size, label) for x, y, label in tokens if label <= INCLUDE
        )
        drawn = paint_prompt(tokens, prior, 4 * self._grid).astype(np.float16)
        return DecodeRequest(Prompt(points, box), want, drawn)

    def context(self, windows: list[Window], owners: NDArray[np.int64]) -> Tensor:
        """MxCx12x12 of the stored embeddings."""
        places = [(w.y, w.x, w.side) for w in windows]
        down = torch.from_numpy(
            np.stack([resampling(y, s, self._grid, CONTEXT_CELLS) for y, _, s in places])
        )
        across = torch.from_numpy(
            np.stack([resampling(x, s, self._grid, CONTEXT_CELLS) for _, x, s in places])
        )
        stored = torch.stack([self._stored[owner].float() for owner in owners])
        grids = stored.transpose(1, 2).unflatten(2, (self._grid, self._grid))
        around: Tensor = down[:, None] @ grids @ across[:, None].transpose(2, 3)
        return around


_first_look = functools.cache(_FirstLook.of)
"""Once for each learner: its first look stays as it is."""


def _best(planes: NDArray[np.float32], target: Mask) -> int:
    """Which of some candidates has the largest IoU."""
    if len(planes) == 1:
        return 0
    truth = torch.from_numpy(_shrunk(target, planes.shape[-1]))
    return int(mask_iou(torch.from_numpy(planes), truth[None]).argmax())


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
