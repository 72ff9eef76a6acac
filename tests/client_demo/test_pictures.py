import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client_demo.pictures import picture_of
from server.protocol import MAX_DATA_BYTES

RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_sent_as_it_is(tmp_path: Path, kind: type[str] | type[Path]) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"whatever")

    picture = picture_of(kind(path))

    assert picture.data == b"whatever"
    assert picture.sha256 == hashlib.sha256(b"whatever").hexdigest()


def test_bytes_are_sent_as_they_are() -> None:
    assert picture_of(b"whatever").data == b"whatever"


@pytest.mark.parametrize("pixels", [RGB, RGB[..., 0], RGB[:, ::2], np.asfortranarray(RGB)])
def test_an_array_arrives_pixel_by_pixel(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    packed = picture_of(pixels).data

    with Image.open(io.BytesIO(packed)) as image:
        assert np.array_equal(np.array(image), pixels)


@pytest.mark.parametrize(
    "pixels", [RGB.astype(np.float32), RGB[..., :2], RGB[None], np.zeros(3, np.uint8)]
)
def test_an_array_that_is_no_image_is_refused(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    with pytest.raises(ValueError, match="expected height x width"):
        picture_of(pixels)


def test_a_file_that_is_missing_is_said() -> None:
    with pytest.raises(FileNotFoundError):
        picture_of("no/such/photo.jpg")


def test_chunks_fit_a_frame_and_are_the_whole() -> None:
    data = bytes(2 * MAX_DATA_BYTES + 1)
    chunks = picture_of(data).chunks()

    assert [len(chunk) for chunk in chunks] == [MAX_DATA_BYTES, MAX_DATA_BYTES, 1]
    assert b"".join(chunks) == data
