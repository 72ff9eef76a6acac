"""Open a folder of exports with the tools their readers use, and compare with the server's masks.

`reference.json` holds the masks as the server sent them, in the order of the objects.
"""

import contextlib
import io
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

Mask = NDArray[np.bool_]
NAMES = ["disc", "square"]


def same(kind: str, mine: Mask, theirs: Mask) -> None:
    """Not one pixel may differ."""
    if mine.shape != theirs.shape or not np.array_equal(mine, theirs):
        raise SystemExit(f"{kind}: the mask differs from the server's")


def check_coco(folder: Path, masks: list[Mask], reference: list[dict[str, Any]]) -> None:
    """As a training script reads it."""
    coco = COCO(str(folder / "shapes.coco.json"))
    names = [coco.cats[a["category_id"]]["name"] for a in coco.anns.values()]
    if names != NAMES:
        raise SystemExit(f"coco: categories {names}")
    for annotation, mask, sent in zip(coco.anns.values(), masks, reference, strict=True):
        same("coco", mask, coco.annToMask(annotation).astype(bool))
        if annotation["area"] != sent["area"] or annotation["bbox"] != sent["bbox"]:
            raise SystemExit("coco: area or bbox differ from the server's")


def check_masks(folder: Path, masks: list[Mask]) -> None:
    """One black and white picture an object."""
    for number, (name, mask) in enumerate(zip(NAMES, masks, strict=True), start=1):
        image = np.asarray(Image.open(folder / f"shapes-{number:02}-{name}.png"))
        same("masks", mask, image == 255)


def check_indexed(folder: Path, masks: list[Mask]) -> None:
    """Later objects lie on top."""
    image = Image.open(folder / "shapes.index.png")
    if image.mode != "P":
        raise SystemExit(f"indexed: mode {image.mode}")
    pixels = np.asarray(image)
    same("indexed", masks[1], pixels == 2)
    same("indexed", masks[0] & ~masks[1], pixels == 1)


def check_cutouts(folder: Path, masks: list[Mask], reference: list[dict[str, Any]]) -> None:
    """The alpha channel is the mask, cropped to its box."""
    for number, (name, mask) in enumerate(zip(NAMES, masks, strict=True), start=1):
        image = Image.open(folder / f"shapes-{number:02}-{name}-cutout.png")
        x, y, width, height = (int(v) for v in reference[number - 1]["bbox"])
        crop = mask[y : y + height, x : x + width]
        same("cutouts", crop, np.asarray(image)[..., 3] == 255)


def check_polygons(folder: Path, masks: list[Mask]) -> None:
    """Filled by the even-odd rule at the pixels' centres."""
    collection = json.loads((folder / "shapes.geojson").read_text())
    for feature, mask in zip(collection["features"], masks, strict=True):
        filled = np.zeros(mask.shape, bool)
        for part in feature["geometry"]["coordinates"]:
            for ring in part:
                filled ^= fill(ring, mask.shape)
        same("polygons", mask, filled)


def fill(ring: list[list[float]], shape: tuple[int, ...]) -> Mask:
    """One closed ring; its edges lie between pixels, never on a centre."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for (ax, ay), (bx, by) in itertools.pairwise(ring):
        if ax == bx:
            inside ^= (x < ax) & (y > min(ay, by)) & (y < max(ay, by))
    return inside


def main() -> None:
    """Say what was checked."""
    folder = Path(sys.argv[1])
    reference: list[dict[str, Any]] = json.loads((folder / "reference.json").read_text())
    packed = [{"size": r["size"], "counts": r["counts"].encode()} for r in reference]
    masks = [coco_mask.decode(p).astype(bool) for p in packed]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of its progress
        check_coco(folder, masks, reference)
    check_masks(folder, masks)
    check_indexed(folder, masks)
    check_cutouts(folder, masks, reference)
    check_polygons(folder, masks)
    sys.stdout.write("coco masks indexed cutouts polygons\n")


if __name__ == "__main__":
    main()
