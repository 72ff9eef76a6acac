"""JPEGs read at 1/2, 1/4 or 1/8 of their scale."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.engine import masks
from server.engine.fake import FakeModel
from server.engine.images import decode, read
from server.engine.models.base import run_steps
from server.engine.types import DecodeRequest, Prompt, RgbImage
from server.errors import WireError
from server.geometry import Frame
from tests.support.image_files import CORNERS, four_corners, noise, saved

LIMIT = 1_000_000
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

sides = st.integers(1, 300)
block_sides = st.integers(8, 300)  # a block of a JPEG, or more
enough = st.integers(1, 200)
orientations = st.integers(1, 8)


def waves(width: int, height: int) -> Image.Image:
    """Smooth colours, so that a scale shows little."""
    y, x = np.mgrid[0:height, 0:width]
    colours = np.stack([np.sin(x / 23), np.cos(y / 19), np.sin((x + y) / 31)], axis=-1)
    return Image.fromarray((128 + 100 * colours).astype(np.uint8))


def lying(image: Image.Image, orientation: int, **options: Any) -> bytes:
    """A JPEG that says it has to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, "JPEG", exif=exif, quality=95, **options)


def turned(pixels: RgbImage, orientation: int) -> RgbImage:
    image = Image.fromarray(pixels)
    return np.asarray(image.transpose(TURNED[orientation]) if orientation > 1 else image)


@given(sides, sides, enough, orientations)
def test_the_size_is_the_images_own(width: int, height: int, side: int, orientation: int) -> None:
    data = lying(waves(width, height), orientation)

    found = read(data, LIMIT, side=side)

    upright = decode(data, LIMIT).shape
    assert found.size == (upright[1], upright[0])
    assert found.rgb.flags.c_contiguous


@given(sides, sides, enough, orientations)
def test_masks_and_clicks_are_of_the_whole_image(
    width: int, height: int, side: int, orientation: int
) -> None:
    model = FakeModel(encode_steps=1)
    read_ = read(lying(waves(width, height), orientation), LIMIT, side=side)
    embedding = run_steps(model.encode(read_.rgb, read_.size))
    point = (embedding.width - 0.5, embedding.height - 0.5)
    request = DecodeRequest(Prompt(((*point, 1),)), "single")
    [decoded] = model.decode([(embedding, request)])
    [mask], _ = masks.finish(decoded, Frame(embedding.width, embedding.height, model.input_size))

    assert mask.size == ((width, height) if orientation > 4 else (height, width))
    x, y, across, down = mask.bbox
    assert (x + across, y + down) == (embedding.width, embedding.height)


def scale_for(width: int, height: int, side: int) -> int:
    """1 over the smallest scale at which the longest side has `side` pixels."""
    longest = max(width, height)
    return max(each for each in (1, 2, 4, 8) if each == 1 or longest >= each * side)


@given(block_sides, block_sides, enough)
def test_the_smallest_scale_is_taken_that_is_enough(width: int, height: int, side: int) -> None:
    found = read(lying(waves(width, height), 1), LIMIT, side=side).rgb

    scale = scale_for(width, height, side)
    assert found.shape == (-(-height // scale), -(-width // scale), 3)


@given(block_sides, block_sides, enough)
def test_the_pixels_are_nearly_those_of_a_plain_resize(width: int, height: int, side: int) -> None:
    data = lying(waves(width, height), 1)

    found = read(data, LIMIT, side=side).rgb.astype(int)

    scale = scale_for(width, height, side)
    plain = np.asarray(Image.fromarray(decode(data, LIMIT)).reduce(scale)).astype(int)
    # A last row or column of less than `scale` pixels is filled up by each in its own way.
    whole = np.s_[: height // scale, : width // scale]
    difference = np.abs(found[whole] - plain[whole])
    assert difference.mean() < 2.0
    assert np.percentile(difference, 99) < 16


@given(sides, sides, enough, orientations)
def test_what_lies_is_turned_as_at_full_scale(
    width: int, height: int, side: int, orientation: int
) -> None:
    picture = waves(width, height)

    found = read(lying(picture, orientation), LIMIT, side=side).rgb

    straight = read(lying(picture, 1), LIMIT, side=side).rgb
    assert np.array_equal(found, turned(straight, orientation))


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP", "GIF"])
def test_other_formats_are_read_whole(file_format: str) -> None:
    data = saved(four_corners(), file_format)

    found = read(data, LIMIT, side=1)

    assert np.array_equal(found.rgb, decode(data, LIMIT))
    assert found.size == (48, 32)


def test_a_tiff_that_is_turned_while_it_is_loaded_has_its_upright_size() -> None:
    # Found in here, an orientation turns the pixels, but not the size in the header.
    said = b'<rdf:Description tiff:Orientation="6"/>'
    data = saved(four_corners(), "TIFF", tiffinfo={700: said})

    found = read(data, LIMIT, side=1)

    assert found.size == (32, 48)
    assert found.rgb.shape == (48, 32, 3)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"progressive": True}),
        ("RGB", {"subsampling": "4:4:4"}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_jpegs_of_any_kind_are_reduced(mode: str, options: dict[str, Any]) -> None:
    data = saved(four_corners(480, 320).convert(mode), "JPEG", **options)

    found = read(data, LIMIT, side=60)

    assert found.rgb.shape == (40, 60, 3)
    assert found.size == (480, 320)
    assert np.abs(found.rgb.astype(int) - decode(data, LIMIT)[::8, ::8]).mean() < 8


def test_of_several_pictures_in_a_jpeg_the_first_is_reduced() -> None:
    data = saved(four_corners(480, 320), "MPO", save_all=True, append_images=[noise(480, 320)])

    found = read(data, LIMIT, side=60)

    assert found.size == (480, 320)
    assert found.rgb.shape == (40, 60, 3)
    assert np.abs(found.rgb[5, 5].astype(int) - CORNERS[0]).max() < 8


def test_the_limit_counts_all_pixels() -> None:
    data = saved(noise(800, 600), "JPEG")

    assert read(data, 800 * 600, side=100).rgb.shape == (75, 100, 3)
    with pytest.raises(WireError, match="got 800 x 600"):
        read(data, 800 * 600 - 1, side=100)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("percent", range(0, 100, 10))
def test_a_truncated_file_is_refused(percent: int, *, progressive: bool) -> None:
    whole = saved(noise(400, 300), "JPEG", progressive=progressive)

    with pytest.raises(WireError) as refused:
        read(whole[: len(whole) * percent // 100], LIMIT, side=50)
    assert refused.value.code == "bad_image"
