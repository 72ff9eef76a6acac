"""The usual robot annotator: it clicks the middle of the largest error.

It makes the canvas's requests to the server's own code: candidates for a lone click, of which it
takes the first, the single mask for anything else, each time with the logits of its last answer as
prior. So what is measured is what the canvas gets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server import rle
from server.engine import masks
from server.engine.models.base import Model, run_steps
from server.engine.types import Box, DecodeRequest, Logits, Point, Prompt, RgbImage
from server.geometry import Frame

__all__ = [
    "Annotated",
    "Answer",
    "Photo",
    "annotate_boxes",
    "annotate_clicks",
    "iou",
    "next_click",
    "tight_box",
]

Mask = NDArray[np.bool_]

BATCH = 8
"""Objects decoded at a time."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """What the robot got for N objects."""

    ious: NDArray[np.float64]
    """N x clicks (x 1 for boxes)."""
    best: NDArray[np.float64]
    """N: best of the three candidates of the first answer, in truth."""
    scores: NDArray[np.float64]
    """N x clicks: the IoU the model predicted."""
    masks: list[Mask]
    """The last ones."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Candidates for one object, best first by predicted IoU."""

    masks: list[Mask]
    scores: list[float]
    logits: Logits
    """Of the first."""


class Photo:
    """One encoded photo, ready for prompts in its own pixels."""

    def __init__(self, model: Model, rgb: RgbImage) -> None:
        self.rgb = rgb
        self.height, self.width = rgb.shape[:2]
        self._model = model
        self._embedding = run_steps(model.encode(rgb))

    def ask(self, requests: Sequence[DecodeRequest]) -> list[Answer]:
        """Answer each as the server would."""
        answers = []
        frame = Frame(self.width, self.height, self._model.input_size)
        for start in range(0, len(requests), BATCH):
            batch = [(self._embedding, request) for request in requests[start : start + BATCH]]
            for decoded in self._model.decode(batch):
                found, logits = masks.finish(decoded, frame)
                drawn = [rle.decode({"size": one.size, "counts": one.counts}) for one in found]
                answers.append(Answer(drawn, [one.score for one in found], logits[0]))
        return answers


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
    if not missed[0] and not extra[0]:
        missed = _deepest(truth)
    label = int(missed[0] >= extra[0])
    _, x, y = missed if label else extra
    return x + 0.5, y + 0.5, label


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
    guesses = [np.zeros((photo.height, photo.width), np.bool_)] * count
    points: list[tuple[Point, ...]] = [()] * count
    priors: list[Logits | None] = [None] * count
    ious, scores = np.zeros((count, clicks)), np.zeros((count, clicks))
    best = np.zeros(count)
    for turn in range(clicks):
        new = [next_click(g, t) for g, t in zip(guesses, truths, strict=True)]
        points = [(*had, click) for had, click in zip(points, new, strict=True)]
        answers = photo.ask(
            [
                DecodeRequest(Prompt(clicked), "single" if turn else "all", prior)
                for clicked, prior in zip(points, priors, strict=True)
            ]
        )
        if turn == 0:
            best = _best(answers, truths)
        priors = [answer.logits for answer in answers]
        guesses = [answer.masks[0] for answer in answers]
        ious[:, turn] = [iou(g, t) for g, t in zip(guesses, truths, strict=True)]
        scores[:, turn] = [answer.scores[0] for answer in answers]
    return Annotated(ious, best, scores, guesses)


def _best(answers: list[Answer], truths: list[Mask]) -> NDArray[np.float64]:
    return np.array(
        [max(iou(m, truth) for m in a.masks) for a, truth in zip(answers, truths, strict=True)]
    )


def annotate_boxes(photo: Photo, truths: list[Mask]) -> Annotated:
    """One tight box on each of the N masks."""
    boxes: list[Box] = [tight_box(truth) for truth in truths]
    answers = photo.ask([DecodeRequest(Prompt((), box), "single") for box in boxes])
    guesses = [answer.masks[0] for answer in answers]
    ious = np.array([[iou(g, t)] for g, t in zip(guesses, truths, strict=True)])
    scores = np.array([[answer.scores[0]] for answer in answers])
    return Annotated(ious, ious[:, 0], scores, guesses)
