"""Files that would keep Pillow busy, or full, long before it knows how many pixels they have.

A limit on pixels does not bound what a file costs: a JPEG can be a million segments of nothing, a
PNG a million empty chunks, a TIFF of one pixel a single tile of a gigabyte. Each format's own
structure is walked here first, byte by byte as little as possible, and what no camera or program
writes is refused. Whatever is merely broken passes: Pillow says so at once.
"""

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

__all__ = ["excess", "excess_of_exif"]

MAX_SEGMENTS = 1000
"""Of a JPEG, and of a PNG's chunks beside those that hold pixels."""
MAX_SCANS = 100
"""Each scan of a progressive JPEG goes over all pixels again, and an empty one is a few bytes long.
Encoders write about ten."""
MAX_PARSED_BYTES = 1 << 20
"""Of a JPEG's segments that Pillow takes to pieces; others it takes whole."""
MAX_FILL_BYTES = 1 << 20
"""In a JPEG's scans. They mean nothing, and Pillow goes over a run of them anew with each 64 KiB
that it reads."""
MAX_STRAY_BYTES = 4096
"""Between a JPEG's segments, where none belong; Pillow steps over them one at a time."""
CHUNK_BYTES = 256
"""Chunks with pixels may be `MAX_SEGMENTS` more than if each had so many."""
MAX_PIECES = 1 << 16
"""Strips or tiles of a TIFF, chunks of a WebP, and of a GIF all that comes before its picture."""
MAX_TILE_SIDE = 1024
"""Of a TIFF whose sides are shorter."""
MOST_OF_A_TIFF = {
    "entries": 1000,
    "strips or tiles": MAX_PIECES,
    "fractions": 1000,
    "numbers": 1 << 18,
}
"""In its first directory, and those within that are read with it; EXIF is a TIFF too. Pillow makes
Python's numbers of them, and of fractions objects that cost fifty times as much."""

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_PARSED = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDE, 0xED})
"""Frames, tables and Photoshop's resources."""
_SCANNED, _STRAY = 0x00, -1
"""Where other segments have a marker: a piece of a scan, and too much between them."""
_WITHOUT_LENGTH = frozenset({0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
"""The marker that ends a scan: neither a stuffed zero nor one to start anew at."""
_PIECE_BYTES = 1 << 18
"""Of a scan, searched at once: while a search runs, no other thread does."""
_RUN_LENGTH_ENCODED = (1, 2)
_SIDES = ((256, 322), (257, 323))
"""The tags of a TIFF's width and its tiles', of its height and theirs."""
_OFFSETS, _COLOURS = (273, 324), 320
_DIRECTORIES = (34665, 34853, 40965)
"""The tags that say where EXIF, GPS and interoperability lie."""
_SINGLE = frozenset({*_SIDES[0], *_SIDES[1], *_DIRECTORIES})
_FRACTIONS = frozenset({5, 10})
_NUMBERS = frozenset({3, 4, 6, 8, 9, 11, 12, 13, 16}) | _FRACTIONS
"""Kinds of values; those of text and of bytes are taken whole."""
_WHOLES = {3: "H", 4: "I", 13: "I", 16: "Q"}


def excess(data: bytes) -> str | None:
    """What the file has too much of, as "expected at most ..."; None when it is fit to be read."""
    walk = _WALKS.get(data[:2])
    return None if walk is None else walk(data)


def _of_jpeg(data: bytes) -> str | None:
    exif, segments, parsed, scans, fill = bytearray(), 0, 0, 0, 0
    for marker, start, end in _segments(data):
        if marker == _SCANNED:
            fill += 2 * data.count(b"\xff\xff", start, end)
        else:
            segments += 1
        scans += marker == _SOS
        if marker == _APP1 and data.startswith(_EXIF, start):
            exif += data[start + len(_EXIF) * bool(exif) : end]
        parsed += end - start if marker in _PARSED else 0
        if marker == _STRAY:
            return f"expected at most {MAX_STRAY_BYTES} bytes between a JPEG's segments"
        if segments > MAX_SEGMENTS:
            return f"expected at most {MAX_SEGMENTS} segments in a JPEG"
        if parsed + len(exif) > MAX_PARSED_BYTES:
            return (
                f"expected at most {MAX_PARSED_BYTES} bytes of EXIF, resources, frames and tables"
            )
        if scans > MAX_SCANS:
            return f"expected at most {MAX_SCANS} scans in a JPEG"
        if fill > MAX_FILL_BYTES:
            return f"expected at most {MAX_FILL_BYTES} bytes of fill in a JPEG's scans"
    return excess_of_exif(bytes(exif))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment and each piece of a scan, up to the end of the image.

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
                yield _STRAY, at, at
                return
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        yield marker, at + 4, end
        at = end
        if marker == _SOS:
            scanned = True
            for start, at in _pieces_of_scan(data, end):
                yield _SCANNED, start, at


def _pieces_of_scan(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Start and end of each, up to the marker that ends the scan."""
    for start in range(at, len(data), _PIECE_BYTES):
        end = min(start + _PIECE_BYTES, len(data))
        found = _AFTER_SCAN.search(data, start, end + 1)
        if found is not None:
            yield start, found.start()
            return
        yield start, end


def _of_png(data: bytes) -> str | None:
    pixels = others = 0
    most = MAX_SEGMENTS + len(data) // CHUNK_BYTES
    exif = b""
    at = len(_PNG)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IEND":
            break
        if name in {b"IDAT", b"fdAT", b"fcTL"}:
            pixels += 1
        else:
            others += 1
        if name == b"eXIf":
            exif = data[at + 8 : at + 8 + length]
        if others > MAX_SEGMENTS or pixels > most:
            return f"expected at most {MAX_SEGMENTS if others > MAX_SEGMENTS else most} PNG chunks"
        at += 12 + length
    return excess_of_exif(exif)


def _of_webp(data: bytes) -> str | None:
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    at, chunks = 12, 0
    exif = b""
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            exif = exif or data[at + 8 : at + 8 + length]
        # A frame has chunks of its own; what is none of them is read as if it came behind it.
        at += 24 if name == b"ANMF" else 8 + length + length % 2
        chunks += 1
        if chunks > MAX_PIECES:
            return f"expected at most {MAX_PIECES} WebP chunks"
    return excess_of_exif(exif)


def excess_of_exif(data: bytes) -> str | None:
    """As `excess`, of a block of EXIF."""
    # Pillow passes over two such heads, and whoever writes one twice.
    block = data.removeprefix(_EXIF).removeprefix(_EXIF)
    return _of_tiff(block) if block[:2] in {b"II", b"MM"} else None


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
    if data.startswith(b"MM\0+"):  # Pillow reads it as if it were none, and libtiff as what it is
        return "expected a BigTIFF to be little-endian"
    found: Counter[str] = Counter()
    sides: defaultdict[int, list[int]] = defaultdict(list)
    for tag, kind, count, value in _entries(data):
        found["entries"] += 1
        found["strips or tiles"] += count * (tag in _OFFSETS)
        if count <= len(data):  # else it is merely broken, and passed over
            found["fractions"] += count * (kind in _FRACTIONS)
            found["numbers"] += count * (kind in _NUMBERS or tag == _COLOURS)
        for what, most in MOST_OF_A_TIFF.items():
            if found[what] > most:
                return f"expected at most {most} {what} in a TIFF"
        if tag in _SINGLE and value is None:
            return f"expected one whole number in tag {tag} of a TIFF"
        sides[tag].append(value or 0)
    for side, tile in _SIDES:
        # Of a tag that comes twice one is read and the other is not.
        most = max(MAX_TILE_SIDE, min(sides[side], default=0) + 15)
        longest = max(sides[tile], default=0)
        if longest > most:
            return f"expected tiles of at most {most} pixels a side, got {longest}"
    return None


def _entries(data: bytes) -> Iterator[tuple[int, int, int, int | None]]:
    """Tag, kind, count and value of all entries that Pillow reads; a value only where it is one."""
    little, big = data[:1] == b"I", data[2:3] == b"+"
    first = int.from_bytes(data[8:16] if big else data[4:8], "little" if little else "big")
    waiting, seen = [first], {first}
    while waiting:
        directory = _directory(data, waiting.pop(), "<" if little else ">", big=big)
        for tag, kind, count, value in directory:
            yield tag, kind, count, value
            if tag in _DIRECTORIES and value is not None and value not in seen:
                waiting.append(value)
                seen.add(value)


def _directory(
    data: bytes, at: int, order: str, *, big: bool
) -> Iterator[tuple[int, int, int, int | None]]:
    """As `_entries`, of the one that lies there."""
    head, entry, room = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    try:
        (entries,) = struct.unpack_from(order + head, data, at)
        at += struct.calcsize(order + head)
        for _ in range(entries):
            tag, kind, count = struct.unpack_from(order + entry, data, at)
            at += struct.calcsize(order + entry)
            code, value = _WHOLES.get(kind), None
            if code is not None and count == 1 and struct.calcsize(order + code) <= room:
                (value,) = struct.unpack_from(order + code, data, at)
            yield tag, kind, count, value
            at += room
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
