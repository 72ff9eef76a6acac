"""Masks with the counts pycocotools gives them, for the TypeScript codec's tests.

Run in the server's environment: `python scripts/dump_rle_vectors.py`.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

TARGET = Path(__file__).parent.parent / "tests/unit/client/rle-vectors.json"


def masks() -> list[NDArray[np.uint8]]:
    """Degenerate, noisy and smooth masks."""
    random = np.random.default_rng(7)
    edge = [np.zeros((1, 1)), np.ones((1, 1)), np.zeros((3, 5)), np.ones((5, 3))]
    noise = [random.random((h, w)) < p for h, w, p in [(7, 9, 0.5), (16, 4, 0.1), (31, 33, 0.9)]]
    y, x = np.mgrid[:120, :160]
    rings = [(((x - 80) ** 2 + (y - 60) ** 2) // r) % 3 == 1 for r in (150, 900, 4000)]
    return [np.asarray(m, np.uint8) for m in [*edge, *noise, *rings]]


def tall() -> dict[str, object]:
    """Runs long enough to need every character of a number."""
    size = (3000, 4000)
    mask = np.zeros(size, np.uint8)
    mask[100:2900, 50:3950] = 1
    mask[1000:1100, 1000:3000] = 0
    packed = coco.encode(np.asfortranarray(mask))
    return {"size": size, "counts": packed["counts"].decode(), "area": int(mask.sum())}


def main() -> None:
    """Write the vectors."""
    cases = []
    for mask in masks():
        packed = coco.encode(np.asfortranarray(mask))
        cases.append(
            {
                "size": mask.shape,
                "counts": packed["counts"].decode(),
                "rows": "".join(map(str, mask.ravel())),
                "area": int(mask.sum()),
                "bbox": coco.toBbox(packed).tolist() if mask.any() else [0, 0, 0, 0],
            }
        )
    TARGET.write_text(json.dumps({"cases": cases, "tall": tall()}) + "\n")


if __name__ == "__main__":
    main()
