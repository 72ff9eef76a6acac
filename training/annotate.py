"""The model's own masks, on photos with few or no drawn ones.

python -m training.annotate --data CACHE --init WEIGHTS

The model gets a lone click at every point of a grid, on four views of a photo (`views`). Kept are
answers that it is sure of and that hardly change with the threshold of their logits; of several
alike the best, and none that a person has already drawn. Later training finds them in the cache;
run again, the command replaces them.

Source: Kirillov et al., "Segment Anything" (2023), its data engine and automatic masks; learning
from them follows the noisy student (Xie et al., CVPR 2020). New here is the mean of views, in place
of overlapping crops.
"""

import argparse
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.engine.models.device import choose_device
from server.engine.models.tiny.networks import INPUT_SIZE
from server.engine.models.upstream import Sam
from server.engine.second_look.planes import PIXEL_MEAN, PIXEL_STD
from server.engine.tokens import INCLUDE
from server.geometry import Frame
from training.cache import Cache, Picture, decode_rle, encode_rle, read_index, write_index
from training.learner import Learner, autocast, load_weights
from training.prompting import PAD, Prompts
from training.views import CELL_PIXELS, NOTHING, VIEWS, agreed

__all__ = ["SOURCES", "annotate", "main"]

Mask = NDArray[np.bool_]

SOURCES = (
    "coco_union",
    "coco128_train",
    "minto_person",
    "feralcats",
    "clothing_cc0",
    "grocery",
)

PHOTOS = 16
"""At a time."""
MANY_PROMPTS = 1024
"""Decoded at once on a GPU, to keep it busy."""
FEW_PROMPTS = 64
"""Decoded at once elsewhere: as few as a processor's cache takes."""
GRID = 14
"""Clicks along either side of a photo."""

MARGIN = 1.0
"""How far the threshold of the logits is moved, up and down, to see whether a mask is stable."""
STABLE = 0.65
GOOD = 0.45
"""Least stability, and least predicted IoU times stability."""
LEAST_AREA, MOST_AREA = 0.0015, 0.85
"""Shares of the photo."""
CANDIDATES = 256
"""Of a photo, the best: the only ones compared with each other."""
SAME = 0.6
"""Two guesses of so much IoU say the same."""
DRAWN = 0.4
"""A guess of so much IoU with a drawn mask says what is known already."""
MANY_DRAWN = 4
MOST, MOST_BESIDE_MANY = 12, 6
"""Guesses a photo; fewer where much is drawn."""
SPECK = 0.05
"""Parts of a mask with less than so much of its area are noise."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture as the model sees it."""

    frame: Frame
    pixels: NDArray[np.uint8]
    """S x S x 3, the padding black."""
    drawn: NDArray[np.bool_]
    """K x s x s, the drawn masks on the grid of the logits."""


def load(cache: Cache, picture: Picture, size: int) -> Photo:
    """Shrink or enlarge a picture and its masks to an input of `size` pixels."""
    frame = Frame(picture.width, picture.height, size)
    inside = (frame.model_width, frame.model_height)
    shrinks = max(picture.width, picture.height) > size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[: inside[1], : inside[0]] = cv2.resize(cache.pixels(picture), inside, interpolation=how)
    side = size // CELL_PIXELS
    drawn = np.zeros((len(picture.masks), side, side), np.bool_)
    rows, columns = (ceil(length) for length in frame.valid_logits(side))
    for plane, counts in zip(drawn, picture.masks, strict=True):
        mask = decode_rle(counts, picture.height, picture.width).astype(np.float32)
        plane[:rows, :columns] = (
            cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA) > 0.5
        )
    return Photo(frame, pixels, drawn)


def inside_of(photos: list[Photo], side: int, device: torch.device) -> Tensor:
    """B x side x side bool: whose middle lies in the photo, not in its padding."""
    reach = torch.tensor([photo.frame.valid_logits(side) for photo in photos], device=device)
    middles = torch.arange(side, device=device) + 0.5
    down, across = (middles < length[:, None] for length in reach.T)
    inside: Tensor = down[:, :, None] & across[:, None]
    return inside


def normalised(photos: list[Photo], device: torch.device) -> Tensor:
    """Bx3xSxS, zero in the padding, as the model is served."""
    pixels = torch.from_numpy(np.stack([photo.pixels for photo in photos])).to(device)
    mean, std = (torch.from_numpy(values).to(device) for values in (PIXEL_MEAN, PIXEL_STD))
    shown = ((pixels - mean) / std).permute(0, 3, 1, 2)
    return shown * inside_of(photos, pixels.shape[1], device)[:, None]


def places_of(photos: list[Photo], device: torch.device) -> Tensor:
    """B x GRID^2 x 2 (x, y): a grid over each photo, in shares of the input."""
    steps = (torch.arange(GRID, device=device) + 0.5) / GRID
    grid = torch.cartesian_prod(steps, steps)
    reach = [photo.frame.valid_logits(1)[::-1] for photo in photos]
    return grid * torch.tensor(reach, device=device)[:, None]


def ask(sam: Sam, pixels: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """All candidates of lone clicks, B x P of them: B x 3P x s x s logits and B x 3P scores."""
    count, side = len(pixels), pixels.shape[-1] // CELL_PIXELS
    with autocast(pixels.device):
        seen = [sam.image_encoder(view.show(pixels, CELL_PIXELS)) for view in VIEWS]
    most = MANY_PROMPTS if pixels.device.type == "cuda" else FEW_PROMPTS
    at_once = max(1, most // count)
    answers = []
    for some in places.split(at_once, dim=1):
        clicks = some.flatten(0, 1)
        points = torch.stack([clicks, torch.zeros_like(clicks)], dim=1)
        labels = torch.tensor([INCLUDE, PAD], device=points.device).expand(len(points), 2)
        nothing = points.new_zeros((len(points), side, side))
        known = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        prompts = Prompts(points, labels, nothing.bool())
        answer = agreed(sam, seen, prompts, nothing, known)
        answers.append([part[:, 1:].unflatten(0, (count, -1)).flatten(1, 2) for part in answer])
    logits, scores = (torch.cat(parts, dim=1) for parts in zip(*answers, strict=True))
    return logits, scores


def candidate_quality(logits: Tensor, scores: Tensor, inside: Tensor) -> Tensor:
    """Predicted IoU times stability of B x N candidates, 0 of those that are unfit.

    Args:
        logits: B x N x s x s, below -MARGIN outside of the photo.
        scores: B x N.
        inside: B x s x s bool, the photo.
    """
    sure, covered, maybe = ((logits > at).sum((-2, -1)) for at in (MARGIN, 0.0, -MARGIN))
    stability = sure / maybe.clamp(min=1)
    area = covered / inside.sum((-2, -1))[:, None]
    values = scores * stability
    fit = (stability >= STABLE) & (values >= GOOD) & (area >= LEAST_AREA) & (area <= MOST_AREA)
    return values * fit


def distinct(masks: Tensor, drawn: Tensor, most: int) -> list[int]:
    """Of N x s x s bool masks, best first, those that say something new; `most` at most."""
    flat = torch.cat([drawn, masks]).flatten(1).float()
    common = flat @ flat.T
    areas = flat.sum(1)
    overlaps = (common / (areas[:, None] + areas - common).clamp(min=1)).cpu().numpy()
    beside, among = np.split(overlaps[len(drawn) :], [len(drawn)], axis=1)
    new = np.flatnonzero((beside <= DRAWN).all(axis=1))
    kept: list[int] = []
    while len(new) and len(kept) < most:
        best = int(new[0])
        kept.append(best)
        new = new[1:][among[best, new[1:]] <= SAME]
    return kept


def finish(logits: NDArray[np.float32], frame: Frame) -> tuple[str, ...]:
    """N x s x s logits as RLEs of the photo's size, without specks; none of what is all specks."""
    down, across = frame.valid_logits(logits.shape[-1])
    sx, sy = across / frame.width, down / frame.height
    to_logits = np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5]])
    masks = [
        cv2.warpAffine(
            # A padded cell would pull at the mask's edge.
            np.ascontiguousarray(plane[: ceil(down), : ceil(across)]),
            to_logits,
            (frame.width, frame.height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        > 0
        for plane in logits
    ]
    cleaned = [without_specks(np.asarray(mask)) for mask in masks]
    return tuple(encode_rle(mask) for mask in cleaned if mask.any())


def without_specks(mask: Mask) -> Mask:
    """The parts of a mask that are more than noise."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = stats[:, cv2.CC_STAT_AREA] >= SPECK * mask.sum()
    large[0] = False
    return np.asarray(large[parts])


@torch.inference_mode()
def guess(sam: Sam, photos: list[Photo], device: torch.device) -> list[NDArray[np.float32]]:
    """Of each photo N x s x s logits of what the model sees in it and nobody has drawn."""
    logits, scores = ask(sam, normalised(photos, device), places_of(photos, device))
    inside = inside_of(photos, logits.shape[-1], device)
    logits = logits.where(inside[:, None], NOTHING)
    values, order = candidate_quality(logits, scores, inside).topk(min(CANDIDATES, scores.shape[1]))
    found = []
    for photo, some, own, value in zip(photos, order, logits, values, strict=True):
        best = own[some[value > 0]]
        most = MOST_BESIDE_MANY if len(photo.drawn) >= MANY_DRAWN else MOST
        kept = distinct(best > 0, torch.from_numpy(photo.drawn).to(device), most)
        found.append(best[kept].cpu().numpy())
    return found


def annotate(
    folder: Path, sam: Sam, size: int, device: torch.device, every: int = 1
) -> tuple[int, int]:
    """Add guesses to the photos of a cache, in place of earlier ones; how many photos and guesses.

    Args:
        folder: the cache.
        sam: the model, on `device`.
        size: of its input.
        device: where it computes.
        every: of so many photos one is looked at.

    Raises:
        ValueError: the cache has no photos to look at.
    """
    cache, pictures = Cache(folder), read_index(folder)
    wanted = [at for at, picture in enumerate(pictures) if picture.source in SOURCES][::every]
    if not wanted:
        raise ValueError(f"expected photos of at least one of {', '.join(SOURCES)}: there are none")
    waiting: list[Future[tuple[str, ...]]] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(wanted), PHOTOS):
            some = [pictures[at] for at in wanted[start : start + PHOTOS]]
            photos = list(pool.map(lambda picture: load(cache, picture, size), some))
            for photo, logits in zip(photos, guess(sam, photos, device), strict=True):
                waiting.append(pool.submit(finish, logits, photo.frame))
            if start // PHOTOS % 16 == 0:
                print(f"looked at {len(waiting)} of {len(wanted)} photos", flush=True)
    for at, found in zip(wanted, waiting, strict=True):
        pictures[at] = replace(pictures[at], guesses=found.result())
    write_index(folder, pictures)
    return len(wanted), sum(len(pictures[at].guesses) for at in wanted)


def main() -> None:
    """Read the command line and annotate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare wrote")
    parser.add_argument("--init", type=Path, required=True, help="checkpoint or shipped file")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--size", type=int, default=INPUT_SIZE, help="input pixels, a multiple of 16"
    )
    parser.add_argument("--every", type=int, default=1, help="look at one of so many photos")
    args = parser.parse_args()
    device = choose_device(args.device)
    learner = Learner(args.size)
    learner.start_from(load_weights(args.init))
    learner.to(device).eval()
    photos, guesses = annotate(args.data, learner.sam, args.size, device, args.every)
    print(f"{photos} photos, {guesses / photos:.1f} guesses a photo")


if __name__ == "__main__":
    main()
