"""What no camera writes is refused before Pillow sees it; what one writes passes."""

import contextlib
import io
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, TiffImagePlugin

from server.engine import preflight
from server.engine.preflight import excess
from tests.support.image_files import noise, png, saved

EXIF_SEGMENT = b"\xff\xe1\x00\x12Exif\x00\x00" + b"x" * 10
EMPTY_SEGMENT = b"\xff\xe0\x00\x02"
EMPTY_CHUNK = b"\x00\x00\x00\x00prVt\x00\x00\x00\x00"


Tags = Mapping[int, tuple[int, ...]]
FRACTIONS = {282: (1001, 30, 5)}
"""As they are counted, and behind one directory of them."""


def jpeg(*, behind_start: bytes = b"", behind_end: bytes = b"", **options: Any) -> bytes:
    whole = saved(noise(), "JPEG", **options)
    return whole[:2] + behind_start + whole[2:] + behind_end


def scans(count: int, between: bytes = b"") -> bytes:
    whole = saved(noise(), "JPEG", progressive=True)
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + (between + scan) * count + whole[-2:]


def in_scan(more: bytes) -> bytes:
    whole = saved(noise(), "JPEG")
    return whole[:-2] + more + whole[-2:]


def tiff(tags: Tags, order: str = "<", *, at: int = 8) -> bytes:
    """One directory of longs: a count, a value and perhaps another kind for each tag."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", at) + b"\0" * (at - 8) + directory(tags, order)


def directory(tags: Tags, order: str = "<") -> bytes:
    entries = b"".join(
        struct.pack(order + "HHII", tag, *kind or [4], count, value)
        for tag, (count, value, *kind) in tags.items()
    )
    return struct.pack(order + "H", len(tags)) + entries + b"\0" * 4


def big_tiff(tags: Tags) -> bytes:
    entries = b"".join(
        struct.pack("<HHQQ", tag, *kind or [16], count, value)
        for tag, (count, value, *kind) in tags.items()
    )
    return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(tags)) + entries + b"\0" * 8


def exif(tags: Tags, behind: bytes = b"") -> bytes:
    return b"Exif\0\0" + tiff(tags) + behind


GIF_HEAD = b"GIF89a\x01\x00\x01\x00\x00\x00\x00"
GIF_PICTURE = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\x00;"
GIF_PALETTE = b"GIF89a\x01\x00\x01\x00\x87\x00\x00" + b"," * 768
AFTER_SCAN = preflight._AFTER_SCAN
LARGEST = 32 << 20
"""Bytes of a file, as the settings are."""


def gif(before: bytes, head: bytes = GIF_HEAD) -> bytes:
    return head + before + GIF_PICTURE


def webp(chunks: bytes, *, behind: bytes = b"") -> bytes:
    """Of one pixel, with these chunks beside it."""
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\0" * 10
    pixel = saved(Image.new("RGB", (1, 1)), "WEBP")[12:]
    body = b"WEBP" + canvas + chunks + pixel
    return b"RIFF" + struct.pack("<I", len(body)) + body + behind


def frames(count: int) -> bytes:
    """An animation's, each one chunk that holds one, and more if it says so."""
    pixel = saved(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    return (b"ANMF" + struct.pack("<I", 16 + len(pixel)) + b"\0" * 16 + pixel) * count


def tiled(width: int, tile: int) -> dict[int, tuple[int, ...]]:
    return {256: (1, width), 257: (1, width), 322: (1, tile), 323: (1, 16)}


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (jpeg(behind_start=EMPTY_SEGMENT * 1001), "1000 segments"),
        (jpeg(behind_start=(b"\xff\xe1\xff\xff" + b"Exif\0\0" + b"x" * 65527) * 17), "EXIF"),
        (
            jpeg(behind_start=(b"\xff\xc0\xff\xff" + b"\x08\0\1\0\1\3" * 10922 + b"x") * 17),
            "frames",
        ),
        (jpeg(behind_start=(b"\xff\xdb\xff\xff" + b"\0" * 65533) * 17), "tables"),
        (jpeg(behind_start=(b"\xff\xed\xff\xff" + b"\0" * 65533) * 17), "resources"),
        (jpeg(exif=exif(FRACTIONS, bytes(9000))), "1000 fractions"),
        (jpeg(exif=b"Exif\0\0" + exif(FRACTIONS, bytes(9000))), "1000 fractions"),
        (saved(noise(), "PNG", exif=exif(FRACTIONS, bytes(9000))), "1000 fractions"),
        (saved(noise(), "WEBP", exif=exif(FRACTIONS, bytes(9000))), "1000 fractions"),
        (jpeg(behind_start=b"\0" * 5000), "between"),
        (jpeg(behind_start=b"\xff" * 5000), "between"),
        (jpeg(behind_start=b"\xff\xd0" * 5000), "between"),
        (jpeg(behind_start=b"\xff\xf5\xff\xff" + b"\xff\xf6" * 5000), "between"),
        (scans(101), "100 scans"),
        # What looks like the end of the picture, in a comment, hides nothing.
        (scans(101, between=b"\xff\xfe\x00\x04\xff\xd9"), "100 scans"),
        (in_scan(b"\xff" * (1 << 20) + b"\xff" * 100), "1048576 bytes of fill"),
        (in_scan(b"\xff\xff\x00" * (1 << 20)), "1048576 bytes of fill"),
        (png(8, 6, b"", extra=EMPTY_CHUNK * 1001), "1000 PNG chunks"),
        (png(8, 6, b"", extra=EMPTY_CHUNK.replace(b"prVt", b"IDAT") * 2000), "PNG chunks"),
        (gif(b"\0" * 70_000), "65536 blocks before a GIF's picture"),
        (gif(b"\0" * 70_000, GIF_PALETTE), "65536 blocks"),
        (gif(b"!\xf9\x04\0\0\0\0\0" * 30_000), "65536 blocks"),
        # What looks like a picture is in a block that Pillow reads on for.
        (gif(b"!\xf9\0," + b"a" * 44 + b"\0" * 70_000), "65536 blocks"),
        (gif(b"!\xff\x0bNETSCAPE2.0\0," + b"a" * 44 + b"\0" * 70_000), "65536 blocks"),
        (webp(b"none\x01\0\0\0xx" * 70_000), "65536 WebP chunks"),
        (webp(frames(40_000)), "65536 WebP chunks"),
        (webp(b"ANMF\0\0\0\xff" + b"\0" * 16 + b"none\0\0\0\0" * 70_000), "65536 WebP chunks"),
        (tiff(tiled(1, 32_768)), "tiles of at most 1024"),
        (tiff(tiled(1, 32_768), ">"), "tiles of at most 1024"),
        (big_tiff(tiled(1, 32_768)), "tiles of at most 1024"),
        (big_tiff({256: (1, 1 | 1 << 40, 4), 322: (1, 32_768)}), "tiles of at most 1024"),
        (tiff(tiled(1, 16) | {322: (2, 8)}), "one whole number in tag 322"),
        (tiff(tiled(1, 16) | {256: (1, 1, 11)}), "one whole number in tag 256"),
        (tiff(tiled(1, 16) | {256: (1, 1, 16)}), "one whole number in tag 256"),
        (b"MM\0+" + bytes(100), "little-endian"),
        (tiff(dict.fromkeys(range(1000, 2001), (1, 1))), "1000 entries"),
        (big_tiff(dict.fromkeys(range(1000, 2001), (1, 1))), "1000 entries"),
        (tiff(tiled(1, 16) | FRACTIONS) + bytes(9000), "1000 fractions"),
        (tiff({34665: (1, 26)}) + directory(FRACTIONS) + bytes(9000), "1000 fractions"),
        (
            tiff({34853: (1, 26)})
            + directory({40965: (1, 44)})
            + directory(FRACTIONS)
            + bytes(9000),
            "fractions",
        ),
        (tiff({33723: (262_145, 8)}) + bytes(1 << 20), "262144 numbers"),
        (tiff({320: (262_145, 8, 1)}) + bytes(1 << 20), "262144 numbers"),
        (tiff(tiled(1, 16) | {273: (65_537, 8)}), "strips or tiles"),
        (tiff(tiled(1, 16) | {273: (65_537, 8, 1)}), "strips or tiles"),
        (big_tiff(tiled(1, 16) | {324: (1 << 40, 8)}), "strips or tiles"),
    ],
)
def test_a_file_of_too_much_is_refused_and_told_of_what(file: bytes, told: str) -> None:
    found = excess(file)
    assert found is not None
    assert found.startswith("expected")
    assert told in found


@pytest.mark.parametrize(
    "make",
    [
        lambda: gif(b"!\xfe" + b"\x01a" * (LARGEST // 2) + b"\0"),
        lambda: gif(b"\0" * LARGEST),
        lambda: webp(b"none\0\0\0\0" * (LARGEST // 8)),
    ],
    ids=["GIF of comments", "GIF of nothing", "WebP"],
)
def test_the_largest_file_is_walked_no_further_than_its_limit(make: Callable[[], bytes]) -> None:
    steps = 0

    class Walked(bytes):
        """Told of each look at it, which is what a walk takes its time for."""

        def __getitem__(self, key: Any) -> Any:
            nonlocal steps
            steps += 1
            return super().__getitem__(key)

    assert excess(Walked(make())) is not None
    assert steps < 5 * preflight.MAX_PIECES


@pytest.mark.parametrize("pair", [b"\xff\0", b"\xff\xd0", b"\xff\xff", b"\0\0"])
def test_a_scan_is_searched_in_pieces_so_that_other_threads_have_their_turn(
    pair: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = 0

    class Searched:
        def search(self, data: bytes, start: int, end: int) -> re.Match[bytes] | None:
            nonlocal longest
            longest = max(longest, end - start)
            return AFTER_SCAN.search(data, start, end)

    monkeypatch.setattr(preflight, "_AFTER_SCAN", Searched())
    excess(in_scan(pair * (1 << 20)))
    assert 0 < longest <= (256 << 10) + 1


@given(st.integers(1, 40))
def test_wherever_a_scan_is_parted_its_end_is_found(piece_bytes: int) -> None:
    file = in_scan(b"\xff\0\xff\xd3\xff\xff" * 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(preflight, "_PIECE_BYTES", piece_bytes)
        parted = [piece for piece in preflight._segments(file) if piece[0] == preflight._SCANNED]
    scan = file[parted[0][1] : -2]
    assert b"".join(file[start:end] for _, start, end in parted) == scan


def test_a_run_length_encoded_bmp_is_refused() -> None:
    whole = bytearray(saved(Image.new("L", (8, 6)), "BMP"))
    assert excess(bytes(whole)) is None
    whole[30] = BmpImagePlugin.BmpImageFile.COMPRESSIONS["RLE8"]
    assert excess(bytes(whole)) == "expected a BMP that is not run-length encoded"


def camera() -> Image.Exif:
    """What one says of a picture, and where it was."""
    told = Image.Exif()
    told[0x0112], told[0x011A] = 6, 72.0
    told.get_ifd(0x8769)[0x829A] = 0.01
    told.get_ifd(0x8825)[2] = (52.0, 30.0, 1.5)
    return told


def animated(file_format: str) -> bytes:
    frames = [noise(24, 8 + turn).resize((24, 8)) for turn in range(3)]
    return saved(frames[0], file_format, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    "file",
    [
        jpeg(),
        jpeg(progressive=True),
        jpeg(restart_marker_blocks=1),
        jpeg(exif=b"Exif\0\0" + b"x" * 60_000, icc_profile=b"p" * 200_000, comment=b"c" * 9000),
        jpeg(behind_start=b"\xff" * 100 + EXIF_SEGMENT),
        in_scan(b"\xff" * 1000 + b"\xff\xd0" * 5000),
        animated("MPO"),
        saved(noise(600, 400), "PNG"),
        animated("PNG"),
        saved(noise(), "BMP"),
        saved(noise().convert("1"), "BMP"),
        b"BM" + b"\0" * 12 + struct.pack("<IHHHH", 12, 8, 6, 1, 24) + b"\x01" * 200,
        saved(noise(), "TIFF"),
        saved(noise(), "TIFF", compression="tiff_deflate"),
        saved(noise(), "TIFF", big_tiff=True),
        tiff(tiled(100, 512)),
        tiff(tiled(5000, 5008)),
        tiff({700: (1 << 20, 8, 1)}) + bytes(1 << 20),
        tiff({34665: (1, 8), 34853: (1, 8)}),
        tiff({282: (1 << 30, 8, 5)}),
        saved(noise(), "TIFF", exif=camera()),
        jpeg(exif=camera()),
        saved(noise(), "PNG", exif=camera()),
        saved(noise(), "WEBP", exif=camera()),
        animated("GIF"),
        saved(noise(), "GIF", comment=b"c" * 9000, transparency=0),
        gif(b"!\xfe" + (b"\xff" + b"c" * 255) * 1000 + b"\0"),
        gif(b"", GIF_PALETTE),
        GIF_HEAD + GIF_PICTURE[:-2] + b"\0" * 70_000,
        animated("WEBP"),
        saved(noise(), "WEBP", exif=b"x" * 70_000, icc_profile=b"p" * 200_000),
        webp(b"", behind=b"none\0\0\0\0" * 70_000),
    ],
)
def test_what_programs_write_passes(file: bytes) -> None:
    assert excess(file) is None


def test_a_film_behind_the_picture_is_none_of_its_scans() -> None:
    film = b"\xff\xda\x00\x02" * 5000
    assert excess(jpeg(behind_end=film)) is None
    assert excess(jpeg(progressive=True, behind_end=film)) is None


def test_the_markers_without_a_length_are_those_that_pillow_reads_none_of() -> None:
    markers: dict[int, tuple[str, str, Callable[..., None] | None]] = JpegImagePlugin.MARKER
    bare = {marker & 0xFF for marker, (_, _, handler) in markers.items() if handler is None}
    assert bare == preflight._WITHOUT_LENGTH - {0x01}


class Watched(io.BytesIO):
    """Counts the single bytes that are read: Pillow's steps through a GIF."""

    steps = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.steps += size == 1
        return super().read(size)


GIF_PIECES = st.one_of(
    st.sampled_from([b"!", b"!\xfe", b"!\xf9", b"!\xff\x0bNETSCAPE2.0", b"!\xff", b",", b";"]),
    st.sampled_from([b"\0", b"\0", b"\x01a", b"\x04abcd", b"\x03\x01\0\0"]),
    st.binary(max_size=3),
)


@given(st.lists(GIF_PIECES, max_size=30), st.sampled_from([GIF_HEAD, GIF_PALETTE]))
def test_each_step_of_pillow_through_a_gif_is_counted(pieces: list[bytes], head: bytes) -> None:
    data = gif(b"".join(pieces), head)
    file, found = Watched(data), None
    with contextlib.suppress(Exception):  # then it went no further
        found = GifImagePlugin.GifImageFile(file)
    counted = len(list(preflight._gif_pieces(data)))
    assert file.steps <= 2 * counted + 2
    assert found is None or counted <= file.steps


def test_the_kinds_of_values_in_a_tiff_are_those_that_pillow_knows() -> None:
    known = set(TiffImagePlugin.ImageFileDirectory_v2._load_dispatch)
    assert known == preflight._NUMBERS | {1, 2, 7}


@pytest.mark.parametrize("widths", [(1, 5000), (5000, 1)])
def test_of_a_width_that_comes_twice_the_shorter_bounds_the_tiles(widths: tuple[int, int]) -> None:
    whole = tiff({256: (1, widths[0]), 999: (1, widths[1]), 322: (1, 5000)})
    twice = whole.replace(struct.pack("<H", 999), struct.pack("<H", 256))
    assert excess(twice) == "expected tiles of at most 1024 pixels a side, got 5000"


MAGIC = st.sampled_from(
    [
        *(b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b""),
        *(b"GIF89a", GIF_HEAD, GIF_PALETTE, b"RIFF\xff\0\0\0WEBP"),
    ]
)


@given(MAGIC, st.binary(max_size=200))
def test_whatever_follows_the_first_bytes_there_is_an_answer(magic: bytes, rest: bytes) -> None:
    found = excess(magic + rest)
    assert found is None or found.startswith("expected")


@given(st.sampled_from(["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP"]), st.data())
def test_a_file_cut_or_changed_anywhere_has_an_answer(kind: str, data: st.DataObject) -> None:
    whole = bytearray(saved(noise(16, 12), kind))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    found = excess(bytes(io.BytesIO(whole).read(data.draw(st.integers(0, len(whole))))))
    assert found is None or found.startswith("expected")
