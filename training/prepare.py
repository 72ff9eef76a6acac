"""The packed shards (tar) become one cache folder of raw pixels.

python -m training.prepare --data SHARDS --out CACHE

Photos are scaled down to at most 640 pixels, the size of most; cut-outs stay as they are. Shards
named `dev-*` are never read here.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.cache import CacheWriter, decode_rle

__all__ = ["Record", "main", "read_shard"]

LONGEST_SIDE = 640


@dataclass(frozen=True, slots=True)
class Record:
    """One picture of a shard, with its masks where it has some."""

    name: str
    pixels: NDArray[np.uint8]
    masks: list[NDArray[np.bool_]]
    licence: str


def read_shard(path: Path) -> Iterator[Record]:
    """The pictures of one tar file, in the order of their names."""
    with tarfile.open(path) as tar:
        members = {member.name: member for member in tar.getmembers()}
        for name in sorted(members):
            if name.endswith(".json"):
                continue
            note = members.get(name.rsplit(".", 1)[0] + ".json")
            meta = json.loads(_read(tar, note)) if note else {}
            image = Image.open(io.BytesIO(_read(tar, members[name])))
            pixels = np.asarray(image.convert("RGBA" if name.endswith(".webp") else "RGB"))
            masks = [decode_rle(m["counts"], *m["size"]) for m in meta.get("masks", [])]
            yield Record(name, pixels, masks, str(meta.get("licence", "")))


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return file.read()


def _shrink(record: Record) -> Record:
    height, width = record.pixels.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return record
    size = (round(width * scale), round(height * scale))
    pixels = cv2.resize(record.pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    small = [
        cv2.resize(m.astype(np.float32), size, interpolation=cv2.INTER_AREA) for m in record.masks
    ]
    return Record(record.name, pixels, [m > 0.5 for m in small], record.licence)


def main() -> None:
    """Read the command line and prepare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the packed shards")
    parser.add_argument("--out", type=Path, required=True, help="cache folder to write")
    args = parser.parse_args()
    writer = CacheWriter(args.out)
    for kind in ("cutouts", "backgrounds", "real"):
        for path in sorted(args.data.glob(f"{kind}-*.tar")):
            source = path.stem.split("-", 1)[1]
            for record in read_shard(path):
                small = _shrink(record)
                writer.add(source, small.licence, small.pixels, small.masks)
            print(f"prepared {path.name}", flush=True)
    writer.close()


if __name__ == "__main__":
    main()
