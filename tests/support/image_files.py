"""Image files: of every format, and made by hand."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from server.engine.images import decode
from server.errors import WireError

CORNERS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
"""Top left, top right, bottom left, bottom right."""


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def four_corners(width: int = 48, height: int = 32) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    for index, colour in enumerate(CORNERS):
        rows = slice(0, height // 2) if index < 2 else slice(height // 2, None)
        columns = slice(0, width // 2) if index % 2 == 0 else slice(width // 2, None)
        pixels[rows, columns] = colour
    return Image.fromarray(pixels)


def noise(width: int = 80, height: int = 60) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def png(width: int, height: int, body: bytes, *, depth: int = 8, extra: bytes = b"") -> bytes:
    """By hand, so that header and body may disagree."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + extra
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def refusal(data: bytes, max_pixels: int = 1_000_000) -> str:
    with pytest.raises(WireError) as refused:
        decode(data, max_pixels)
    return refused.value.code
