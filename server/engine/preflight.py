"""Files that would keep Pillow busy, or full, long before it knows how many pixels they have.

A limit on pixels does not bound what a file costs: a JPEG can be a million segments of nothing, a
PNG a million empty chunks, a TIFF of one pixel a single tile of a gigabyte. Each format's own
structure is walked here first, byte by byte as little as possible, and what no camera or program
writes is refused. Whatever is merely broken passes: Pillow says so at once.
"""

import re
import struct
from collections.abc import Callable, Iterator

__all__ = ["excess"]

MAX_SEGMENTS = 1000
"""Of a JPEG, and of a PNG's chunks beside those that hold pixels."""
MAX_SCANS = 100
"""Each scan of a progressive JPEG goes over all pixels again, and an empty one is a few bytes long.
Encoders write about ten."""
MAX_EXIF_BYTES = 1 << 20
MAX_STRAY_BYTES = 4096
"""Between a JPEG's segments, where none belong; Pillow steps over them one at a time."""
CHUNK_BYTES = 256
"""Chunks with pixels may be `MAX_SEGMENTS` more than if each had so many."""
MAX_PIECES = 1 << 16
"""Strips or tiles of a TIFF, chunks of a WebP, and of a GIF all that comes before its picture."""
MAX_TILE_SIDE = 1024
"""Of a TIFF whose sides are shorter."""

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_WITHOUT_LENGTH = frozenset({0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
"""The marker that ends a scan: neither a stuffed zero nor one to start anew at."""
_RUN_LENGTH_ENCODED = (1, 2)
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323
_PIECES = (273, 279, 324, 325)
"""The tags that list where strips and tiles lie, and how long they are."""


def excess(data: bytes) -> str | None:
    """What the file has too much of, as "expected at most ..."; None when it is fit to be read."""
    walk = _WALKS.get(data[:2])
    return None if walk is None else walk(data)


def _of_jpeg(data: bytes) -> str | None:
    exif = scans = 0
    for count, (marker, start, end) in enumerate(_segments(data), start=1):
        scans += marker == _SOS
        if marker == _APP1 and data.startswith(_EXIF, start):
            exif += end - start
        if marker < 0:
            return f"expected at most {MAX_STRAY_BYTES} bytes between a JPEG's segments"
        if count > MAX_SEGMENTS:
            return f"expected at most {MAX_SEGMENTS} segments in a JPEG"
        if exif > MAX_EXIF_BYTES:
            return f"expected at most {MAX_EXIF_BYTES} bytes of EXIF"
        if scans > MAX_SCANS:
            return f"expected at most {MAX_SCANS} scans in a JPEG"
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the first end of image; -1 for too much between.

    What follows the image, as the film in a phone's motion photo, is none of its segments.
    """
    at, stray, scanned = 2, 0, False
    while at + 4 <= len(data):
        marker = data[at + 1]
        if scanned and marker == _EOI:
            return
        if data[at] != 0xFF or marker in {0x00, 0xFF} or marker in _WITHOUT_LENGTH:
            stray += 1
            at += 1
            if stray > MAX_STRAY_BYTES:
                yield -1, at, at
                return
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        yield marker, at + 4, end
        at = end
        if marker == _SOS:
            scanned = True
            found = _AFTER_SCAN.search(data, at)
            if found is None:
                return
            at = found.start()


def _of_png(data: bytes) -> str | None:
    pixels = others = 0
    most = MAX_SEGMENTS + len(data) // CHUNK_BYTES
    at = len(_PNG)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IEND":
            return None
        if name in {b"IDAT", b"fdAT", b"fcTL"}:
            pixels += 1
        else:
            others += 1
        if others > MAX_SEGMENTS or pixels > most:
            return f"expected at most {MAX_SEGMENTS if others > MAX_SEGMENTS else most} PNG chunks"
        at += 12 + length
    return None


def _of_webp(data: bytes) -> str | None:
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    at, chunks = 12, 0
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        # A frame has chunks of its own; what is none of them is read as if it came behind it.
        at += 24 if name == b"ANMF" else 8 + length + length % 2
        chunks += 1
        if chunks > MAX_PIECES:
            return f"expected at most {MAX_PIECES} WebP chunks"
    return None


def _of_gif(data: bytes) -> str | None:
    for count, _ in enumerate(_gif_pieces(data), start=1):
        if count > MAX_PIECES:
            return f"expected at most {MAX_PIECES} blocks before a GIF's picture"
    return None


def _gif_pieces(data: bytes) -> Iterator[int]:
    """Where each stray byte, extension and block of one begins, up to the first picture.

    Pillow reads them one at a time. The blocks of the picture it does not, nor what follows.
    """
    at = 13
    if data[10:11] >= b"\x80":
        at += 6 << (data[10] & 7)
    while at < len(data) and data[at] not in b",;":
        yield at
        if data[at] != ord("!"):
            at += 1
            continue
        owed = _blocks_owed(data, at)
        at += 2
        while at < len(data):
            yield at
            length = data[at]
            at += 1 + length
            if length:
                owed -= 1
            elif owed <= 0:
                break
            else:
                owed = 0


def _blocks_owed(data: bytes, at: int) -> int:
    """How many blocks Pillow counts on in an extension; past an end before them it reads on."""
    if data.startswith(b"!\xfe", at):  # a comment
        return 0
    loops = data.startswith(b"!\xff", at) and data.startswith(b"NETSCAPE2.0", at + 3)
    return 2 if loops and data[at + 2] >= len(b"NETSCAPE2.0") else 1


def _of_bmp(data: bytes) -> str | None:
    # Pillow undoes it in Python, a pixel at a time.
    header, compression = data[14:18], data[30:34]
    if int.from_bytes(header, "little") < 40:  # an old header, without the field
        return None
    if int.from_bytes(compression, "little") in _RUN_LENGTH_ENCODED:
        return "expected a BMP that is not run-length encoded"
    return None


def _of_tiff(data: bytes) -> str | None:
    sides = {_WIDTH: 0, _HEIGHT: 0, _TILE_WIDTH: 0, _TILE_HEIGHT: 0}
    for tag, count, value in _entries(data):
        if tag in _PIECES and count > MAX_PIECES:
            return f"expected at most {MAX_PIECES} strips or tiles in a TIFF"
        if tag in sides:
            sides[tag] = max(sides[tag], value)
    for side, tile in ((_WIDTH, _TILE_WIDTH), (_HEIGHT, _TILE_HEIGHT)):
        most = max(MAX_TILE_SIDE, sides[side] + 15)
        if sides[tile] > most:
            return f"expected tiles of at most {most} pixels a side, got {sides[tile]}"
    return None


def _entries(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, count and value of each entry of the first directory; of one value, or the first."""
    order = "<" if data[:1] == b"I" else ">"
    big = 43 in data[2:4]
    first, head, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    try:
        (at,) = struct.unpack_from(order + first, data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + head, data, at)
        at += struct.calcsize(order + head)
        for _ in range(min(entries, 1 << 16)):
            tag, kind, count = struct.unpack_from(order + entry, data, at)
            at += struct.calcsize(order + entry)
            # Shorts are stored in the first bytes of the field, in either order of bytes.
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else first), data, at)
            yield tag, count, value
            at += struct.calcsize(order + first)
    except (struct.error, OverflowError):
        return


_WALKS: dict[bytes, Callable[[bytes], str | None]] = {
    b"\xff\xd8": _of_jpeg,
    _PNG[:2]: _of_png,
    b"RI": _of_webp,
    b"GI": _of_gif,
    b"BM": _of_bmp,
    b"II": _of_tiff,
    b"MM": _of_tiff,
}
"""By a file's first two bytes, which are enough to tell the formats that are read at all."""
