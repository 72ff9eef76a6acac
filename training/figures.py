"""Measurements of every mask -> the figures that people compare.

Means come with bootstrap intervals over photos, because masks of one photo are not independent
samples. Pure arithmetic over columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "side_by_side", "summarise", "table"]

Rows = dict[str, NDArray[np.float64]]
"""A column for each figure, a row for each mask; `photo` says whose."""

CLICK_COUNTS = (1, 2, 3, 5, 10, 20)
NOC_LEVELS = (0.80, 0.85, 0.90)
SIZES = {"small": (0.0, 0.01), "medium": (0.01, 0.1), "large": (0.1, 1.01)}
"""Shares of the photo's area."""
RESAMPLES = 1000


def summarise(rows: Rows) -> dict[str, Any]:
    """Means with 95 % intervals, by size, and how far predicted IoUs are off."""
    figures = {
        name: rows[name]
        for name in rows
        if name.startswith(("click", "best", "box", "fill", "grab")) and not name.endswith("_score")
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


def side_by_side(rows: Rows, other: Rows) -> str:
    """This model's figures, another's, and the difference mask by mask."""
    ours, theirs = summarise(rows)["figures"], summarise(other)["figures"]
    lines = [f"{'':16}{'this':>8}{'other':>8}   difference"]
    for name in ours:
        if name in theirs and name in rows:
            gap, low, high = _interval(rows[name] - other[name], rows["photo"])
            values = f"{ours[name][0]:8.3f}{theirs[name][0]:8.3f}"
            lines.append(f"{name:16}{values}  {gap:+.3f} [{low:+.3f}, {high:+.3f}]")
    return "\n".join(lines)
