"""Images too large, and files that pretend."""

import json
import struct
import subprocess
import sys
import tomllib
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from server.engine import images
from server.engine.images import decode
from server.errors import WireError
from tests.support.image_files import noise, png, refusal, saved


def test_the_limit_is_exact() -> None:
    data = saved(noise(80, 60), "PNG")

    assert decode(data, 80 * 60).shape == (60, 80, 3)
    assert refusal(data, 80 * 60 - 1) == "too_many_pixels"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_too_many_pixels_are_refused_by_the_header(file_format: str) -> None:
    whole = saved(noise(400, 300), file_format)

    with pytest.raises(WireError) as refused:
        images.check(whole, 400 * 300 - 1)

    assert refused.value.code == "too_many_pixels"
    images.check(whole, 400 * 300)


def big_gif() -> bytes:
    """One pixel by its screen, 65,535 squared by its frame."""
    frame = struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
    return b"GIF89a\x01\x00\x01\x00\x00\x00\x00," + frame + b"\x02\x02\x4c\x01\x00;"


def big_webp(side: int) -> bytes:
    """An animation of a few pixels on a canvas of that many squared."""
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("white", "black")]
    whole = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert whole[12:16] == b"VP8X"
    return whole[:24] + struct.pack("<I", side - 1)[:3] * 2 + whole[30:]


def big_jpeg() -> bytes:
    """A frame header of 65,500 squared over the data of a small picture."""
    whole = saved(noise(), "JPEG")
    at = whole.index(b"\xff\xc0") + 5
    return whole[:at] + struct.pack(">HH", 65_500, 65_500) + whole[at + 4 :]


def big_tiff() -> bytes:
    """One uncompressed strip of 60,000 squared grey pixels that is not there."""
    tags = {256: 60_000, 257: 60_000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 60_000, 279: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + b"\x00\x00\x00\x00"


BOMBS = {
    "png": png(20_001, 20_001, b"\x00" * 1000),
    "png of 2^31": png(2**31 - 1, 2**31 - 1, b"\x00"),
    "png just over Pillow's warning": png(10_000, 9_000, b"\x00" * 1000),
    "png within": png(9_000, 9_000, b"\x00" * 1000),
    "gif": big_gif(),
    "webp": big_webp(13_000),
    "webp of the largest canvas": big_webp(16_383),
    "jpeg": big_jpeg(),
    "tiff": big_tiff(),
    "bmp": saved(noise(), "BMP")[:18]
    + struct.pack("<ii", 60_000, 60_000)
    + saved(noise(), "BMP")[26:],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(name: str) -> None:
    assert refusal(BOMBS[name], 40_000_000) == "too_many_pixels"


def test_bombs_take_no_memory() -> None:
    # In a process of its own: what this one has used before would hide it.
    script = """
import json, resource, sys
from server.engine import images
from server.errors import WireError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

bombs = json.load(sys.stdin)
before = peak()
for bomb in bombs:
    try:
        images.check(bytes.fromhex(bomb), 40_000_000)
    except WireError:
        pass
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([bomb.hex() for bomb in BOMBS.values()]),
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(done.stdout) < 20_000  # KiB; the pixels would be a million and more


@pytest.mark.filterwarnings("ignore:Tag data larger than file")  # Pillow's, and why it is asked for
def test_tags_that_share_their_bytes_take_no_more_memory_than_the_file() -> None:
    sides = [struct.pack("<HHII", tag, 4, 1, 1) for tag in (256, 257)]
    shared = [struct.pack("<HHII", tag, 7, 1 << 20, 8) for tag in range(1000, 1900)]
    entries = b"".join(sides + shared)
    data = b"II*\x00" + struct.pack("<IH", 8, len(sides + shared)) + entries + bytes(1 << 20)

    tracemalloc.start()
    with pytest.raises(WireError):
        images.check(data, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 * len(data)


def test_no_pillow_is_let_in_that_is_not_so_frugal() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert "Pillow>=13" in tomllib.loads(project.read_text())["project"]["dependencies"]


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_a_side_too_long_is_refused_however_few_the_pixels(size: tuple[int, int]) -> None:
    assert refusal(saved(Image.new("1", size), "PNG")) == "too_many_pixels"


def test_a_file_of_too_many_pieces_is_refused_in_a_sentence() -> None:
    whole = saved(noise(), "JPEG", progressive=True)
    scan = whole[whole.rindex(b"\xff\xda") : -2]

    with pytest.raises(WireError, match="bad_image: expected at most 100 scans in a JPEG"):
        decode(whole[:-2] + scan * 1000 + whole[-2:], 1_000_000)


def told_of(files: list[bytes], before: str) -> list[str]:
    """What `read` says of them in a process of its own, and then what it wrote to stderr."""
    script = f"""
import json, resource, sys
from server.engine import images
from server.errors import WireError

files = [bytes.fromhex(file) for file in json.load(sys.stdin)]
{before}
for file in files:
    try:
        images.read(file, 10_000_000)
    except WireError as refused:
        print(refused.code)
    else:
        print("read")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([file.hex() for file in files]),
        capture_output=True,
        text=True,
        check=True,
    )
    return [*done.stdout.split(), done.stderr]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not bounded so")
def test_a_file_there_is_no_memory_for_is_not_called_bad() -> None:
    plain = Image.new("RGB", (3_000, 3_000))
    files = [big_webp(3_000), saved(plain, "WEBP"), saved(plain, "JPEG", progressive=True)]
    limited = """
used = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmSize" in line)
resource.setrlimit(resource.RLIMIT_AS, ((used << 10) + (40 << 20), resource.RLIM_INFINITY))
"""
    assert told_of(files, "") == ["read"] * 3 + [""]
    assert told_of(files, limited) == ["overload"] * 3 + [""]


def test_what_pillow_has_to_say_of_a_file_is_not_written_to_the_log() -> None:
    tags = b"".join(struct.pack("<HHII", tag, 2, 100, 1 << 30) for tag in range(1000, 1900))
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 900) + tags + b"\0" * 4
    files = [saved(noise(), kind, exif=exif) for kind in ("PNG", "WEBP", "JPEG")]
    assert told_of(files, "") == ["read", "read", "read", ""]


def test_nor_is_what_opencv_has_to_say() -> None:
    frames = [noise(), Image.new("RGB", noise().size)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    at = data.index(b"VP8 ") + 18
    assert told_of([data[:at] + b"\xff\xff" + data[at + 2 :]], "") == ["bad_image", ""]
