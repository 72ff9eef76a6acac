"""Measures a checkpoint, or shipped weights, on annotated photos the training never saw.

python -m training.evaluate --shard dev-coco128_val.tar --weights FILE [--out JSON]
python -m training.evaluate --drawn 40 --weights FILE --against EARLIER --sheets FOLDER

A robot annotator clicks and draws boxes, and gets what the server would answer. The model is
compared with the filled box, GrabCut and, on request, other weights on the same masks.
"""

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
import torch

from server.engine.models.tiny.layers import fold_norms
from server.engine.models.tiny.model import TinyModel
from server.engine.models.tiny.networks import Tiny, load_tiny
from training.baselines import box_baselines, click_baseline
from training.drawn import drawn_scenes
from training.figures import Rows, side_by_side, summarise, table
from training.learner import Learner, load_checkpoint
from training.prepare import Record, read_shard
from training.robot import Photo, annotate_boxes, annotate_clicks
from training.sheets import Tile, tile, write_sheets

__all__ = ["main", "measure"]

GRABCUT_CLICKS = 5


def load_model(path: Path, size: int | None) -> TinyModel:
    """Shipped weights (.safetensors), or the averaged weights of a training checkpoint."""
    if path.suffix == ".safetensors":
        tiny = load_tiny(path)
    else:
        state = load_checkpoint(path)
        learner = Learner(size or state["size"])
        learner.start_from(state["average"])
        fold_norms(learner.eval().requires_grad_(requires_grad=False))
        tiny = Tiny(learner.sam, learner.closeup)
    cpu = torch.device("cpu")
    return TinyModel(tiny, fingerprint="measured", device=cpu, dtype=torch.float32)


Measured = tuple[int, Rows, list[Tile]]
"""A photo's number, its masks' figures, and pictures of them."""


def measure(photo: Photo, record: Record, args: argparse.Namespace) -> tuple[Rows, list[Tile]]:
    """Every mask of one photo, annotated."""
    truths = record.masks
    clicked = annotate_clicks(photo, truths, args.clicks)
    boxed = annotate_boxes(photo, truths)
    rows = {f"click{k + 1}": clicked.ious[:, k] for k in range(args.clicks)}
    rows |= {"best_of_three": clicked.best, "score1": clicked.scores[:, 0]}
    rows |= {"box": boxed.ious[:, 0], "box_score": boxed.scores[:, 0]}
    rows["area"] = np.array([mask.mean() for mask in truths])
    if args.rivals != "none":
        filled = box_baselines(record.pixels, truths)
        rows |= {"filled_box": filled[:, 0], "grabcut_box": filled[:, 1]}
    if args.rivals == "all":
        grabcut = click_baseline(record.pixels, truths, GRABCUT_CLICKS)
        rows |= {f"grabcut_click{k + 1}": grabcut[:, k] for k in range(GRABCUT_CLICKS)}
    if not args.sheets:
        return rows, []
    tiles = [tile(record.pixels, *pair) for pair in zip(truths, boxed.masks, strict=True)]
    return rows, tiles


def measure_share(args: argparse.Namespace, weights: Path, share: int) -> list[Measured]:
    """Every `jobs`-th photo, in a process of its own."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = load_model(weights, args.size)
    records = read_shard(args.shard) if args.shard else drawn_scenes(args.drawn)
    measured = []
    for number, record in enumerate(records):
        if number < args.photos and number % args.jobs == share and record.masks:
            measured.append((number, *measure(Photo(model, record.pixels), record, args)))
    return measured


def measure_all(args: argparse.Namespace, weights: Path) -> tuple[Rows, list[Tile]]:
    """Every mask of every photo, on `jobs` processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context) as pool:
        shares = pool.map(partial(measure_share, args, weights), range(args.jobs))
        measured = sorted((one for share in shares for one in share), key=itemgetter(0))
    columns = {
        name: np.concatenate([rows[name] for _, rows, _ in measured]) for name in measured[0][1]
    }
    numbers = [np.full(len(rows["area"]), float(number)) for number, rows, _ in measured]
    tiles = [one for _, _, of_photo in measured for one in of_photo]
    return columns | {"photo": np.concatenate(numbers)}, tiles


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--shard", type=Path, help="a packed shard with masks")
    source.add_argument("--drawn", type=int, help="so many generated scenes instead")
    parser.add_argument("--weights", type=Path, required=True, help=".safetensors or last.pt")
    parser.add_argument("--against", type=Path, help="other weights, on the same masks")
    parser.add_argument("--size", type=int, help="input size of a checkpoint, if not its own")
    parser.add_argument("--photos", type=int, default=10**6, help="only the first so many")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument(
        "--rivals",
        choices=("none", "boxes", "all"),
        default="boxes",
        help="the filled box and GrabCut in it; all: also GrabCut from clicks, which is slow",
    )
    parser.add_argument("--sheets", type=Path, help="folder for pictures of the boxes' masks")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = parse()
    start = time.monotonic()
    rows, tiles = measure_all(args, args.weights)
    summary = summarise(rows) | {"weights": args.weights.name}
    print(table(summary))
    if args.against:
        other, _ = measure_all(args, args.against)
        print(side_by_side(rows, other))
        summary["against"] = summarise(other) | {"weights": args.against.name}
    print(f"in {time.monotonic() - start:.0f} s")
    if args.sheets:
        write_sheets(args.sheets, tiles, rows["box"])
    if args.out:
        args.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
