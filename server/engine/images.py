"""Image bytes -> RGB array, under limits.

The header is read first: format and size are known, and refused if need be, before a single pixel
is; and a file of more pieces than any program writes even before that (`preflight`). Whatever
colours a file has - grey, palette, alpha, CMYK, 16 bits - become RGB; transparent parts become
white, as on a page. Of an animation the first frame counts.

A JPEG can be read at 1/2, 1/4 or 1/8 of its scale: its decoder leaves out the fine waves of each
block of 8 x 8 pixels, and most of the work with them.
"""

import io
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray

# Importing a plugin registers its format; only these are ever tried.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from server.engine.preflight import excess, excess_of_exif
from server.engine.types import ReadImage, RgbImage, Size
from server.errors import WireError

__all__ = ["FORMATS", "MAX_PIXELS", "MAX_SIDE", "check", "decode", "read"]

# A file can have one for each of its tags, and each goes to the log, and is kept for the next time.
warnings.filterwarnings("ignore", module=r"PIL\.")
# As OpenCV would write what it finds wrong with one.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    TiffImagePlugin.TiffImageFile,
)
FORMATS = tuple(plugin.format for plugin in _PLUGINS)

MAX_PIXELS = 178_956_970
"""Pillow's own bound; no setting goes beyond it."""
MAX_SIDE = 65_535
"""A JPEG's. A picture of one row costs many times what a square one of as many pixels does."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)
"""Orientations in which width and height change places."""
_WHITE = (255, 255, 255)
_FROM_OPENCV = {"RGB": cv2.COLOR_BGR2RGB, "RGBA": cv2.COLOR_BGRA2RGBA}


def check(data: bytes, max_pixels: int) -> None:
    """Refuse by the header alone what `read` would refuse by it.

    Raises:
        WireError: `bad_image`, `too_many_pixels`, or `overload` when there is no memory for it.
    """
    _refuse_excess(data)
    _open(data, max_pixels).close()


def decode(data: bytes, max_pixels: int) -> RgbImage:
    """Read all pixels: height x width x 3, upright.

    Raises:
        WireError: as `read`.
    """
    return read(data, max_pixels).rgb


def read(
    data: bytes, max_pixels: int, *, side: int | None = None, checked: bool = False
) -> ReadImage:
    """Read the pixels, upright: all of them, or of a JPEG fewer if that is enough.

    Args:
        data: the file.
        max_pixels: refuse larger images, whatever scale they would be read at.
        side: a longest side, in pixels, that is enough; None = all there is.
        checked: `check` found nothing against it.

    Raises:
        WireError: `bad_image`, `too_many_pixels`, or `overload` when there is no memory for them.
    """
    if not checked:
        _refuse_excess(data)
    with _open(data, max_pixels) as image:
        try:
            stored = image.size
            if side is not None:
                _reduce(image, side)
            reduced = image.size != stored
            loaded = _loaded(image, data)
            orientation = _orientation(image)
            upright = _upright(loaded, orientation)
            # Pillow turns a TIFF itself as it loads it: what was read whole tells its own size.
            size = _turned(stored, orientation) if reduced else upright.size
            return ReadImage(np.array(_to_rgb(upright)), size)
        except Exception as broken:
            raise _unread(broken, max_pixels) from broken


def _refuse_excess(data: bytes) -> None:
    found = excess(data)
    if found is not None:
        raise WireError("bad_image", found)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(max_pixels, "far more") from None
    # Pillow's plugins raise whatever they stumble over in a broken file.
    except Exception as broken:
        raise _unread(broken, max_pixels) from broken
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        image.close()
        raise _too_many_pixels(max_pixels, f"{width} x {height}")
    return image


def _reduce(image: Image.Image, side: int) -> None:
    """Have it read at the smallest scale at which its longest side has `side` pixels or more.

    Sides that do not divide are rounded up: the last row and column may stand for less than the
    others, so that the copy, laid over the image, is off by less than one of its own pixels.
    """
    width, height = image.size
    # Formats without such scales, which are all but JPEG, do nothing here.
    image.draft(None, (side, 1) if width >= height else (1, side))


def _loaded(image: Image.Image, data: bytes) -> Image.Image:
    """With its pixels; a WebP's by OpenCV, which asks the same libwebp and lets others run.

    Pillow lets nobody, for up to a third of a second of 40 megapixels, and takes twice the memory.
    """
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is not None and pixels.shape[2] == len(image.mode):
            return Image.fromarray(cv2.cvtColor(pixels, _FROM_OPENCV[image.mode], dst=pixels))
    image.load()  # whose word it is, where it cannot be read
    return image


def _turned(size: Size, orientation: int) -> Size:
    width, height = size
    return (height, width) if orientation in _LYING else (width, height)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 also when the EXIF data cannot be read, for the picture still can."""
    # Not by `getexif`: that asks XMP too, which browsers do not.
    exif = Image.Exif()
    try:
        block = image.info.get("exif", b"")
        if excess_of_exif(block) is not None:  # whatever way it came
            return 1
        exif.load(block)
        found = exif.get(_ORIENTATION)
    except Exception:  # noqa: BLE001 # as above: anything at all
        return 1
    return found if isinstance(found, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.mode == "RGB" and not image.has_transparency_data:
        return image  # to convert it would copy it
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        page = Image.new("RGB", image.size, _WHITE)
        page.paste(opaque, mask=opaque.getchannel("A"))
        return page
    return image.convert("RGB")


def _to_eight_bits(pixels: NDArray[np.generic], mode: str) -> NDArray[np.uint8]:
    """Grey of 16 bits keeps its upper byte; else the scale is 0..1, 0..255 or 0..65535, as fits."""
    values = np.nan_to_num(pixels.astype(np.float32))
    brightest = float(values.max())
    if mode.startswith("I;16") or brightest > 255:
        values /= 257.0
    elif mode == "F" and brightest <= 1.0:
        values *= 255.0
    np.clip(values, 0, 255, out=values)
    return np.rint(values, out=values).astype(np.uint8)


def _too_many_pixels(max_pixels: int, found: str) -> WireError:
    text = f"expected at most {max_pixels} pixels, and {MAX_SIDE} a side, got {found}"
    return WireError("too_many_pixels", text)


def _unread(error: Exception, max_pixels: int) -> WireError:
    """Whose fault it is: the file's, or that of a server short of memory."""
    # libwebp does not say which; it keeps two canvases, so that is what there must be room for.
    if isinstance(error, MemoryError) or not _has_room_for(2 * 4 * max_pixels):
        text = "there is no memory for this image now"
        return WireError("overload", text, retry_after=1.0)
    return WireError("bad_image", f"expected a whole image of {', '.join(FORMATS)}")


def _has_room_for(count: int) -> bool:
    try:
        np.empty(count, np.uint8)
    except MemoryError:
        return False
    return True
