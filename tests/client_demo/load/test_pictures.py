import io
from pathlib import Path

from PIL import Image

from client_demo.load.pictures import Pictures


def test_no_two_images_have_the_same_bytes_and_all_can_be_read() -> None:
    pictures = Pictures(width=64, height=48)
    files = [pictures.next() for _ in range(6)]

    assert len(set(files)) == 6
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            image.load()
            assert image.size == (64, 48)


def test_to_begin_with_few_images_are_used_and_the_same_session_gets_the_same_again() -> None:
    pictures = Pictures(width=64, height=48)
    first = [pictures.first(number) for number in range(20)]
    pictures.next()

    assert len(set(first)) == 4
    assert [pictures.first(number) for number in range(20)] == first


def test_given_photos_are_taken_by_turns(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())

    pictures = Pictures([tmp_path / "a", tmp_path / "b"])

    assert [pictures.next()[:1] for _ in range(4)] == [b"a", b"b", b"a", b"b"]
