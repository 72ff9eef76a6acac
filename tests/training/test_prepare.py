import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.cache import Cache, encode_rle
from training.prepare import LONGEST_SIDE, main, read_shard


def shard(path: Path, **pictures: tuple[np.ndarray, dict[str, object] | None]) -> None:
    """Pictures by their names (`_` for the dot), with their notes."""
    with tarfile.open(path, "w") as tar:
        for name, (pixels, note) in pictures.items():
            stem, kind = name.rsplit("_", 1)
            picture = io.BytesIO()
            Image.fromarray(pixels).save(picture, kind, lossless=True)
            files = {f"{stem}.{kind}": picture.getvalue()}
            if note is not None:
                files[f"{stem}.json"] = json.dumps(note).encode()
            for inside, data in files.items():
                member = tarfile.TarInfo(inside)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def half(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.bool_)
    mask[:, : width // 2] = True
    return mask


def note(mask: np.ndarray) -> dict[str, object]:
    return {"masks": [{"size": list(mask.shape), "counts": encode_rle(mask)}], "licence": "CC0"}


def test_a_shard_is_read_in_the_order_of_its_names_with_masks_and_licence(tmp_path: Path) -> None:
    mask = half(30, 40)
    photo = np.full((30, 40, 3), 7, np.uint8)
    cut_out = np.full((20, 20, 4), 9, np.uint8)
    shard(tmp_path / "a.tar", b_png=(photo, note(mask)), a_webp=(cut_out, None))
    first, second = read_shard(tmp_path / "a.tar")
    assert (first.name, first.masks, first.licence) == ("a.webp", [], "")
    assert first.pixels.shape == (20, 20, 4)  # what is transparent stays so
    assert (second.name, second.licence) == ("b.png", "CC0")
    np.testing.assert_array_equal(second.pixels, photo)
    np.testing.assert_array_equal(second.masks, [mask])


def test_photos_are_shrunk_with_their_masks_and_what_is_measured_on_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = half(2 * LONGEST_SIDE, 640), half(50, 60)
    for name, mask in (("real-coco_union", large), ("real-grocery", small), ("dev-secret", small)):
        pixels = np.full((*mask.shape, 3), 50, np.uint8)
        shard(tmp_path / f"{name}.tar", photo_png=(pixels, note(mask)))
    words = ["prepare", "--data", str(tmp_path), "--out", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", words)
    main()
    cache = Cache(tmp_path / "cache")
    assert set(cache.by_source) == {"coco_union", "grocery"}
    [shrunk], [kept] = cache.by_source["coco_union"], cache.by_source["grocery"]
    np.testing.assert_array_equal(cache.mask(shrunk, 0), half(LONGEST_SIDE, 320))
    assert cache.pixels(shrunk).shape == (LONGEST_SIDE, 320, 3)
    np.testing.assert_array_equal(cache.mask(kept, 0), small)
    assert shrunk.licence == "CC0"
