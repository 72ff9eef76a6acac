import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, WebPImagePlugin

from server.engine import images
from server.engine.images import decode
from server.engine.types import RgbImage
from server.errors import WireError
from tests.support.image_files import CORNERS, four_corners, noise, png, refusal, saved

LIMIT = 1_000_000


def is_refused_or_read(data: bytes) -> bool:
    """Anything but a WireError is a failure."""
    try:
        pixels = decode(data, LIMIT)
    except WireError as refused:
        return refused.code in {"bad_image", "too_many_pixels"}
    return pixels.shape[2] == 3 and pixels.dtype == np.uint8


def corner_colours(pixels: RgbImage) -> list[tuple[int, ...]]:
    """The four corners, each as the nearest of the pure colours."""
    found = (pixels[2, 2], pixels[2, -3], pixels[-3, 2], pixels[-3, -3])
    return [tuple(int(value > 127) * 255 for value in pixel) for pixel in found]


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "GIF"])
def test_each_format_opens(file_format: str) -> None:
    options: dict[str, Any] = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(four_corners(), file_format, **options)

    pixels = decode(data, LIMIT)

    assert pixels.shape == (32, 48, 3)
    assert pixels.dtype == np.uint8
    assert corner_colours(pixels) == CORNERS
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("file_format", ["PPM", "ICO", "PCX", "TGA", "EPS", "ICNS", "JPEG2000"])
def test_other_formats_do_not(file_format: str) -> None:
    assert refusal(saved(noise(), file_format)) == "bad_image"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"GIF89a",
        b"BM",
        b"II*\x00",
        b"MM\x00*\x00\x00\x00\x08",
        b"\x00" * 10_000,
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert refusal(data) == "bad_image"


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
def test_garbage_behind_a_right_beginning_is_refused_or_read(tail: bytes, kind: str) -> None:
    start = saved(four_corners(), kind)[:24]

    assert is_refused_or_read(start + tail)


@given(st.data(), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
def test_changed_bytes_are_refused_or_read(data: st.DataObject, kind: str) -> None:
    changed = bytearray(saved(four_corners(), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))

    assert is_refused_or_read(bytes(changed))


@pytest.mark.parametrize("percent", range(0, 100, 5))
@pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, {}) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF")]
    + [("JPEG", {"progressive": True})],
)
def test_a_truncated_file_is_refused(kind: str, options: dict[str, Any], percent: int) -> None:
    whole = saved(noise(), kind, **options)

    assert refusal(whole[: len(whole) * percent // 100]) == "bad_image"


@pytest.mark.parametrize("percent", range(0, 95, 5))
def test_a_truncated_gif_is_refused(percent: int) -> None:
    whole = saved(noise().quantize(64), "GIF")

    assert refusal(whole[: len(whole) * percent // 100]) == "bad_image"


MODES: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "black and white": (lambda: saved(Image.new("1", (8, 6), 1), "PNG"), (255, 255, 255)),
    "grey": (lambda: saved(Image.new("L", (8, 6), 100), "PNG"), (100, 100, 100)),
    "opaque grey": (lambda: saved(Image.new("LA", (8, 6), (100, 255)), "PNG"), (100, 100, 100)),
    "clear grey": (lambda: saved(Image.new("LA", (8, 6), (100, 0)), "PNG"), (255, 255, 255)),
    "half grey": (lambda: saved(Image.new("LA", (8, 6), (0, 51)), "PNG"), (204, 204, 204)),
    "grey, one clear": (
        lambda: saved(Image.new("L", (8, 6), 7), "PNG", transparency=7),
        (255, 255, 255),
    ),
    "colour": (lambda: saved(Image.new("RGB", (8, 6), (9, 8, 7)), "PNG"), (9, 8, 7)),
    "colour, one clear": (
        lambda: saved(Image.new("RGB", (8, 6), (9, 8, 7)), "PNG", transparency=(9, 8, 7)),
        (255, 255, 255),
    ),
    "opaque": (lambda: saved(Image.new("RGBA", (8, 6), (9, 8, 7, 255)), "PNG"), (9, 8, 7)),
    "clear": (lambda: saved(Image.new("RGBA", (8, 6), (9, 8, 7, 0)), "PNG"), (255, 255, 255)),
    "half": (lambda: saved(Image.new("RGBA", (8, 6), (255, 0, 0, 102)), "PNG"), (255, 153, 153)),
    "half, WebP": (
        lambda: saved(Image.new("RGBA", (8, 6), (255, 0, 0, 102)), "WEBP", lossless=True),
        (255, 153, 153),
    ),
    "palette": (lambda: saved(palette(), "PNG"), (10, 200, 30)),
    "palette, one clear": (lambda: saved(palette(), "PNG", transparency=0), (255, 255, 255)),
    "palette, half": (
        lambda: saved(palette(), "PNG", transparency=bytes([0x33] * 256)),
        (206, 244, 210),
    ),
    "palette, GIF": (lambda: saved(palette(), "GIF"), (10, 200, 30)),
    "palette, GIF, one clear": (lambda: saved(palette(), "GIF", transparency=0), (255, 255, 255)),
    "CMYK": (lambda: saved(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
    "CMYK, JPEG": (lambda: saved(Image.new("CMYK", (8, 6), (0, 0, 0, 0)), "JPEG"), (255,) * 3),
    "16 bits, grey": (lambda: saved(grey16(0x8000), "PNG"), (128, 128, 128)),
    "16 bits, dark": (lambda: saved(grey16(0x0101), "PNG"), (1, 1, 1)),
    "16 bits, TIFF": (lambda: saved(grey16(0xFFFF), "TIFF"), (255, 255, 255)),
    "16 bits, colour": (lambda: png16((0x1000, 0x8000, 0xFFFF)), (16, 128, 255)),
    "32 bits": (lambda: saved(wide(200, np.int32), "TIFF"), (200, 200, 200)),
    "32 bits, bright": (lambda: saved(wide(0x8080, np.int32), "TIFF"), (128, 128, 128)),
    "32 bits, negative": (lambda: saved(wide(-5, np.int32), "TIFF"), (0, 0, 0)),
    "float, 0..1": (lambda: saved(wide(0.2, np.float32), "TIFF"), (51, 51, 51)),
    "float, 0..255": (lambda: saved(wide(77, np.float32), "TIFF"), (77, 77, 77)),
    "float, no number": (lambda: saved(wide(np.nan, np.float32), "TIFF"), (0, 0, 0)),
    "YCbCr": (lambda: saved(Image.new("YCbCr", (8, 6), (76, 85, 255)), "JPEG"), (254, 0, 0)),
}


def palette() -> Image.Image:
    image = Image.new("P", (8, 6), 0)
    image.putpalette([10, 200, 30] * 256)
    return image


def grey16(value: int) -> Image.Image:
    return Image.fromarray(np.full((6, 8), value, np.uint16))


def wide(value: float, dtype: type) -> Image.Image:
    return Image.fromarray(np.full((6, 8), value, dtype))


def png16(colour: tuple[int, int, int]) -> bytes:
    return png(8, 6, (b"\x00" + struct.pack(">3H", *colour) * 8) * 6, depth=16)


@pytest.mark.parametrize("name", MODES)
def test_all_colours_become_rgb(name: str) -> None:
    make, expected = MODES[name]

    pixels = decode(make(), LIMIT)

    assert pixels.shape == (6, 8, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(orientation: int, file_format: str) -> None:
    turned_as_stored: dict[int, Callable[[RgbImage], RgbImage]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    stored = np.ascontiguousarray(turned_as_stored[orientation](np.asarray(four_corners())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 95} if file_format in {"JPEG", "WEBP"} else {}

    pixels = decode(saved(Image.fromarray(stored), file_format, exif=exif, **options), LIMIT)

    assert pixels.shape == (32, 48, 3)
    assert corner_colours(pixels) == CORNERS


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_there_is_not_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    assert corner_colours(decode(saved(four_corners(), "JPEG", exif=exif), LIMIT)) == CORNERS


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's; it is the test's subject
@pytest.mark.parametrize(
    "exif",
    [b"", b"Exif\x00\x00", b"Exif\x00\x00garbage", b"Exif\x00\x00II*\x00\xff\xff\xff\xff"],
)
def test_broken_exif_does_not_close_the_picture(exif: bytes) -> None:
    assert corner_colours(decode(saved(four_corners(), "JPEG", exif=exif), LIMIT)) == CORNERS


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_broken_colour_profile_does_not_close_the_picture(file_format: str) -> None:
    data = saved(four_corners(), file_format, icc_profile=b"no profile" * 50)

    assert corner_colours(decode(data, LIMIT)) == CORNERS


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(file_format: str) -> None:
    others = [Image.new("RGB", (48, 32), colour) for colour in ("white", "black")]
    data = saved(four_corners(), file_format, save_all=True, append_images=others)

    assert corner_colours(decode(data, LIMIT)) == CORNERS


def moved(data: bytes) -> bytes:
    """An animation whose frames lie somewhere on a larger canvas."""
    canvas, corner = struct.pack("<I", 99)[:3] * 2, struct.pack("<I", 7)[:3] * 2
    at = data.index(b"ANMF") + 8
    return data[:24] + canvas + data[30:at] + corner + data[at + 6 :]


def webps() -> dict[str, bytes]:
    opaque, clear = noise(47, 33), noise(47, 33)
    clear.putalpha(noise(47, 33).getchannel("G"))
    several: dict[str, Any] = {"save_all": True, "append_images": [Image.new("RGB", (47, 33))]}
    return {
        "lossy": saved(opaque, "WEBP"),
        "lossless": saved(opaque, "WEBP", lossless=True),
        "with EXIF": saved(opaque, "WEBP", exif=b"Exif\0\0"),
        "with a profile": saved(opaque, "WEBP", icc_profile=b"no profile"),
        "clear": saved(clear, "WEBP"),
        "clear and lossless": saved(clear, "WEBP", lossless=True),
        "of several": moved(saved(opaque, "WEBP", **several)),
        "of several that are clear": moved(
            saved(clear, "WEBP", background=(1, 2, 3, 4), **several)
        ),
    }


@pytest.mark.parametrize("name", webps())
def test_a_webp_is_read_where_others_may_run_and_to_pillows_pixels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = webps()[name]
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        by_pillow = np.array(images._to_rgb(image))
    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "load", None)  # which lets nobody run

    assert (decode(data, LIMIT) == by_pillow).all()


def test_the_first_picture_of_several_in_a_jpeg_counts() -> None:
    data = saved(four_corners(), "MPO", save_all=True, append_images=[noise(48, 32)])

    assert corner_colours(decode(data, LIMIT)) == CORNERS


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (65_535, 1), (1, 65_535)])
def test_extreme_shapes_open(size: tuple[int, int]) -> None:
    assert decode(saved(Image.new("RGB", size), "PNG"), LIMIT).shape == (size[1], size[0], 3)


def test_the_message_says_what_opens() -> None:
    with pytest.raises(WireError, match="JPEG, PNG, WEBP, BMP, GIF, TIFF"):
        decode(b"", LIMIT)


def test_the_message_names_limit_and_size() -> None:
    with pytest.raises(WireError, match="at most 100 pixels, and 65535 a side, got 80 x 60"):
        decode(saved(noise(80, 60), "PNG"), 100)


def test_exif_of_more_than_any_camera_writes_is_not_read_whatever_way_it_came() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.update(dict.fromkeys(range(1000, 2000), 1))
    image = four_corners()
    image.info["exif"] = exif.tobytes()
    assert images._orientation(image) == 1


def test_an_orientation_that_only_xmp_tells_turns_nothing() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert decode(saved(noise(64, 32), "JPEG", xmp=xmp), LIMIT).shape == (32, 64, 3)


def test_exif_behind_the_pixels_of_a_png_is_read_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()[6:]
    chunk = b"eXIf" + content
    extra = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))

    data = png(8, 6, (b"\x00" + b"\x01\x02\x03" * 8) * 6, extra=extra)

    assert decode(data, LIMIT).shape == (8, 6, 3)
