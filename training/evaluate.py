"""Step 3: measure a checkpoint, or shipped weights, on annotated photos the training never saw.

python -m training.evaluate --shard dev-coco128_val.tar --weights FILE [--photos 40] [--out JSON]

A robot annotator clicks; means come with bootstrap intervals over photos, because the masks of one
photo are no independent sample. The filled box and GrabCut stand beside the model's boxes.
"""

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from server.engine.models.layers import fold_norms
from server.engine.models.tiny import Tiny, load_tiny
from server.engine.models.tiny_model import TinyModel
from training.baselines import box_baselines
from training.learner import Learner, load_checkpoint
from training.prepare import Record, read_shard
from training.robot import Photo, annotate_boxes, annotate_clicks

__all__ = ["main", "measure", "summarise", "table"]

Rows = dict[str, NDArray[np.float64]]
"""A column for each figure, a row for each mask; `photo` says whose."""

CLICK_COUNTS = (1, 2, 3, 5, 10)
NOC_LEVELS = (0.80, 0.85, 0.90)
SIZES = {"small": (0.0, 0.01), "medium": (0.01, 0.1), "large": (0.1, 1.01)}
"""Shares of the photo's area."""
RESAMPLES = 1000


def load_model(path: Path, size: int | None) -> TinyModel:
    """Shipped weights (.safetensors), or the averaged weights of a training checkpoint."""
    if path.suffix == ".safetensors":
        tiny = load_tiny(path)
    else:
        state = load_checkpoint(path)
        learner = Learner(size or state["size"])
        learner.load_state_dict(state["average"], strict=False)
        fold_norms(learner.eval().requires_grad_(requires_grad=False))
        tiny = Tiny(learner.sam, learner.closeup)
    return TinyModel(tiny, fingerprint="measured", device=torch.device("cpu"), dtype=torch.bfloat16)


def measure(photo: Photo, record: Record, clicks: int, *, baselines: bool) -> Rows:
    """Every mask of one photo, annotated."""
    clicked = annotate_clicks(photo, record.masks, clicks)
    boxed = annotate_boxes(photo, record.masks)
    rows = {f"click{k + 1}": clicked.ious[:, k] for k in range(clicks)}
    rows |= {"best_of_three": clicked.best, "score1": clicked.scores[:, 0]}
    rows |= {"box": boxed.ious[:, 0], "box_score": boxed.scores[:, 0]}
    rows["area"] = np.array([mask.mean() for mask in record.masks])
    if baselines:
        filled = box_baselines(record.pixels, record.masks)
        rows |= {"filled_box": filled[:, 0], "grabcut_box": filled[:, 1]}
    return rows


def measure_share(args: argparse.Namespace, share: int) -> list[tuple[int, Rows]]:
    """Every `jobs`-th photo, in a process of its own; each with its number."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = load_model(args.weights, args.size)
    measured = []
    for number, record in enumerate(read_shard(args.shard)):
        if number < args.photos and number % args.jobs == share and record.masks:
            photo = Photo(model, record.pixels)
            rows = measure(photo, record, args.clicks, baselines=not args.no_baselines)
            measured.append((number, rows))
    return measured


def measure_all(args: argparse.Namespace) -> Rows:
    """Every mask of every photo, on `jobs` processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context) as pool:
        shares = pool.map(partial(measure_share, args), range(args.jobs))
        measured = sorted((one for share in shares for one in share), key=itemgetter(0))
    columns = {
        name: np.concatenate([rows[name] for _, rows in measured]) for name in measured[0][1]
    }
    numbers = [np.full(len(rows["area"]), float(number)) for number, rows in measured]
    return columns | {"photo": np.concatenate(numbers)}


def summarise(rows: Rows) -> dict[str, Any]:
    """Means with 95 % intervals, by size, and how far predicted IoUs are off."""
    figures = {
        name: rows[name]
        for name in rows
        if name.startswith(("click", "best", "box", "fill", "grab"))
    }
    clicks = sum(name.startswith("click") for name in rows)
    ious = np.stack([rows[f"click{k + 1}"] for k in range(clicks)], axis=1)
    for level in NOC_LEVELS:
        reached = np.concatenate([ious >= level, np.ones((len(ious), 1), bool)], axis=1)
        figures[f"noc{round(level * 100)}"] = np.minimum(reached.argmax(axis=1) + 1.0, clicks)
    if "filled_box" in rows:
        rival = (
            "filled_box"
            if rows["filled_box"].mean() >= rows["grabcut_box"].mean()
            else "grabcut_box"
        )
        figures["box_gain"] = rows["box"] - rows[rival]
    return {
        "masks": len(ious),
        "photos": len(np.unique(rows["photo"])),
        "cap": clicks,
        "figures": {name: _interval(values, rows["photo"]) for name, values in figures.items()},
        "by_size": {name: _by_size(rows, low, high) for name, (low, high) in SIZES.items()},
        "calibration": {
            "click1": _calibration(rows["score1"], rows["click1"]),
            "box": _calibration(rows["box_score"], rows["box"]),
        },
    }


def _interval(values: NDArray[np.float64], photo: NDArray[np.float64]) -> list[float]:
    """Mean, and the 2.5th and 97.5th percentile of means over resampled photos."""
    _, owner = np.unique(photo, return_inverse=True)
    sums, counts = np.bincount(owner, values), np.bincount(owner)
    picks = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [round(float(v), 4) for v in (values.mean(), low, high)]


def _by_size(rows: Rows, low: float, high: float) -> dict[str, float]:
    inside = (rows["area"] >= low) & (rows["area"] < high)
    names = [n for n in ("click1", "best_of_three", "click5", "box", "filled_box") if n in rows]
    means: dict[str, float] = {
        name: round(float(rows[name][inside].mean()), 4) for name in names if inside.any()
    }
    return {"masks": float(inside.sum()), **means}


def _calibration(score: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    off = score.clip(0, 1) - truth
    related = np.corrcoef(score, truth)[0, 1] if len(score) > 1 else 0.0
    return {
        "mean_error": round(float(off.mean()), 4),
        "mean_absolute_error": round(float(np.abs(off).mean()), 4),
        "correlation": round(float(related), 4),
    }


def table(summary: dict[str, Any]) -> str:
    """The figures that people compare, as text."""
    figures = summary["figures"]
    names = [f"click{k}" for k in CLICK_COUNTS if f"click{k}" in figures]
    names.insert(1, "best_of_three")
    names += [n for n in figures if n.startswith(("noc", "box", "fill", "grab"))]
    lines = [
        f"{summary['masks']} masks of {summary['photos']} photos, at most {summary['cap']} clicks"
    ]
    lines += [f"{n:16}{v:8.3f}  [{lo:.3f}, {hi:.3f}]" for n in names for v, lo, hi in [figures[n]]]
    lines += [f"{name:8} {values}" for name, values in summary["by_size"].items()]
    lines += [f"calibration {name}: {values}" for name, values in summary["calibration"].items()]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=Path, required=True, help="a packed shard with masks")
    parser.add_argument("--weights", type=Path, required=True, help=".safetensors or last.pt")
    parser.add_argument("--size", type=int, help="input size of a checkpoint, if not its own")
    parser.add_argument("--photos", type=int, default=10**6, help="only the first so many")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--no-baselines", action="store_true", help="skip GrabCut, which is slow")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, help="JSON to write")
    args = parser.parse_args()
    start = time.monotonic()
    summary = summarise(measure_all(args)) | {"weights": args.weights.name}
    print(table(summary))
    print(f"in {time.monotonic() - start:.0f} s")
    if args.out:
        args.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
