"""The prepared data on disk: raw pixels in one file, everything else in a JSON index.

`prepare` writes it once, `annotate` adds the model's own masks to the index. Every training process
maps it read-only, so photos are shared between processes and need no decoding.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server import rle

__all__ = [
    "Cache",
    "CacheWriter",
    "Picture",
    "decode_rle",
    "encode_rle",
    "forbids",
    "read_index",
    "write_index",
]

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MASK_MAX_SHARE = 0.97
"""A mask of nearly the whole picture teaches nothing about clicks."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One photo, background or cut-out of the cache."""

    source: str
    licence: str
    height: int
    width: int
    channels: int
    """3, or 4 for a cut-out whose alpha is its mask."""
    offset: int
    masks: tuple[str, ...]
    """COCO compressed RLEs of the picture's size, drawn by people."""
    guesses: tuple[str, ...] = ()
    """Likewise, what a model took for things; none of them is drawn too."""


def read_index(folder: Path) -> list[Picture]:
    """The pictures of a prepared folder, in the order they were added."""
    index = json.loads((folder / "index.json").read_text())
    listed = ("masks", "guesses")
    return [
        Picture(**{**entry, **{name: tuple(entry.get(name, ())) for name in listed}})
        for entry in index
    ]


def write_index(folder: Path, pictures: list[Picture]) -> None:
    """Say what a folder holds; a reader never meets half of it."""
    partial = folder / "index.partial"
    partial.write_text(json.dumps([asdict(picture) for picture in pictures]))
    partial.replace(folder / "index.json")


def decode_rle(counts: str, height: int, width: int) -> Mask:
    """The mask of a COCO compressed RLE."""
    return rle.decode({"size": (height, width), "counts": counts.encode()})


def encode_rle(mask: Mask) -> str:
    """The COCO compressed RLE of a mask."""
    return rle.encode(np.ascontiguousarray(mask))["counts"].decode()


def forbids(licence: str) -> bool:
    """Whether a licence text bars commercial use or derivatives."""
    text = licence.lower()
    return any(
        word in text for word in ("noncommercial", "non-commercial", "-nc", "-nd", "noderiv")
    )


class CacheWriter:
    """Appends pictures; `close` writes the index."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._pixels = (folder / "pixels.bin").open("wb")
        self._pictures: list[Picture] = []

    def add(self, source: str, licence: str, pixels: Pixels, masks: list[Mask]) -> None:
        """Append one picture with its masks."""
        height, width, channels = pixels.shape
        rles = tuple(encode_rle(m) for m in masks if 0 < m.mean() < MASK_MAX_SHARE)
        offset = self._pixels.tell()
        self._pictures.append(Picture(source, licence, height, width, channels, offset, rles))
        self._pixels.write(np.ascontiguousarray(pixels).tobytes())

    def close(self) -> None:
        """Finish the files."""
        self._pixels.close()
        write_index(self._folder, self._pictures)


class Cache:
    """Read access to a prepared folder; `drawn_only` is blind to what a model has guessed."""

    def __init__(
        self, folder: Path, *, exclude_nc_nd: bool = False, drawn_only: bool = False
    ) -> None:
        self._pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r")
        self.by_source: dict[str, list[Picture]] = {}
        self.annotated: set[str] = set()
        """Sources of which some picture has a mask, drawn or guessed."""
        for listed in read_index(folder):
            if exclude_nc_nd and forbids(listed.licence):
                continue
            picture = replace(listed, guesses=()) if drawn_only else listed
            self.by_source.setdefault(picture.source, []).append(picture)
            if picture.masks or picture.guesses:
                self.annotated.add(picture.source)

    def pixels(self, picture: Picture) -> Pixels:
        """Height x width x channels, mapped from the file."""
        size = picture.height * picture.width * picture.channels
        flat = self._pixels[picture.offset : picture.offset + size]
        return flat.reshape(picture.height, picture.width, picture.channels)

    def mask(self, picture: Picture, index: int) -> Mask:
        """One drawn mask of a picture."""
        return decode_rle(picture.masks[index], picture.height, picture.width)
