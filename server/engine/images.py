"""Image bytes -> RGB array, under limits.

The header is read first: format, size and orientation are known, and refused if need be, before a
single pixel is. Whatever colours a file has - grey, palette, alpha, CMYK, 16 bits - become RGB;
transparent parts become white, as on a page. Of an animation the first frame counts.
"""

import io
from dataclasses import dataclass

import numpy as np

# Importing a plugin registers its format; only these are ever tried.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from server.engine.types import RgbImage
from server.errors import WireError

__all__ = ["FORMATS", "Header", "decode", "read_header"]

_PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    TiffImagePlugin.TiffImageFile,
)
FORMATS = tuple(plugin.format for plugin in _PLUGINS)

_ORIENTATION = 0x0112
_SIDEWAYS = {5, 6, 7, 8}
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True)
class Header:
    """What can be known without the pixels."""

    format: str
    width: int
    """After EXIF orientation."""
    height: int


def read_header(data: bytes, max_pixels: int) -> Header:
    """Read format and size.

    Raises:
        WireError: `bad_image` or `too_many_pixels`.
    """
    try:
        with _open(data) as image:
            width, height = image.size
            sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
            file_format = image.format or ""
    # Pillow's plugins raise whatever they stumble over in a broken file.
    except Exception as broken:
        raise _bad_image() from broken
    if width * height > max_pixels:
        text = f"expected at most {max_pixels} pixels, got {width} x {height}"
        raise WireError("too_many_pixels", text)
    if sideways:
        width, height = height, width
    return Header(file_format, width, height)


def decode(data: bytes, max_pixels: int) -> RgbImage:
    """Read the pixels: height x width x 3, upright.

    Raises:
        WireError: `bad_image` or `too_many_pixels`.
    """
    read_header(data, max_pixels)
    try:
        with _open(data) as image:
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except Exception as broken:
        raise _bad_image() from broken


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _to_eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Keep the upper byte of 16-bit grey; 32-bit and float values are taken as they are."""
    values = np.asarray(image)
    if image.mode.startswith("I;16") or values.max() > 255:
        values = values / 257.0
    return Image.fromarray(np.clip(values, 0, 255).round().astype(np.uint8))


def _bad_image() -> WireError:
    return WireError("bad_image", f"expected a whole image of {', '.join(FORMATS)}")
