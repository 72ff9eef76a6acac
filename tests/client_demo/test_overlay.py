from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from client_demo import overlay
from server import rle
from tests.support.pictures import scene


def test_the_mask_is_tinted_and_the_rest_dimmed() -> None:
    picture = np.full((200, 300, 3), 120, np.uint8)
    mask = np.zeros((200, 300), np.bool_)
    mask[50:150, 50:150] = True

    drawn = overlay.draw(picture, mask)

    assert drawn[100, 100, 2] > 150 > drawn[100, 100, 0]  # towards the tint's blue
    assert (drawn[100, 250] < 120).all()
    assert len(set(drawn[100, 250].tolist())) == 1  # dimmed, not coloured
    assert (picture == 120).all()


def test_the_edge_is_outlined() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    mask = np.zeros((200, 300), np.bool_)
    mask[50:150, 50:150] = True

    drawn = overlay.draw(picture, mask)

    assert drawn[100, 50].max() > 200
    assert drawn[100, 40].max() == 0


def test_prompts_are_drawn_where_they_are() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    nothing = np.zeros((300, 300), np.bool_)

    drawn = overlay.draw(
        picture, nothing, points=[(60, 60, 1), (200, 200, 0)], box=(20, 100, 120, 280)
    )

    assert drawn[64, 64, 1] > drawn[64, 64, 0]  # green: include
    assert drawn[204, 204, 0] > drawn[204, 204, 1]  # red: exclude
    assert drawn[59, 59].min() > 200  # the plus
    assert drawn[190, 19].max() > 100  # the box's left side
    assert drawn[20, 250].max() == 0


def test_strokes_grow_with_the_picture() -> None:
    def inked(side: int) -> float:
        nothing = np.zeros((side, side), np.bool_)
        drawn = overlay.draw(
            np.zeros((side, side, 3), np.uint8), nothing, points=[(side / 2, side / 2, 1)]
        )
        return float(np.count_nonzero(drawn.any(axis=2))) / side**2

    assert inked(1280) == pytest.approx(inked(640), rel=0.2)


@pytest.mark.parametrize("fill", [False, True])
def test_a_mask_of_nothing_or_everything_can_be_drawn(fill: bool) -> None:
    picture, _ = scene(64, 48)

    assert overlay.draw(picture, np.full((48, 64), fill)).shape == (48, 64, 3)


def test_a_photo_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)

    assert overlay.load_rgb(tmp_path / "photo.jpg").shape == (40, 20, 3)


def test_a_mask_is_told_in_one_line() -> None:
    assert overlay.summary((480, 640), (10.0, 20.0, 100.0, 50.0), 4321, 0.91234) == (
        "4,321 px (1.4 % of 640 x 480), 100 x 50 at 10, 20, score 0.912"
    )
    assert "empty" in overlay.summary((480, 640), (0, 0, 0, 0), 0, 0.1)


def test_json_holds_what_pycocotools_reads() -> None:
    _, (ball, *_) = scene(96, 72)
    packed = rle.encode(ball)

    told = overlay.as_json(packed, rle.bbox(packed), rle.area(packed), 0.5)

    assert coco.area(told["rle"]) == told["area"] == ball.sum()
    assert coco.toBbox(told["rle"]).tolist() == told["bbox"]


def test_a_mask_is_saved_in_black_and_white(tmp_path: Path) -> None:
    _, (ball, *_) = scene(96, 72)

    overlay.save_png(tmp_path / "mask.png", ball)

    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "L"
        assert np.array_equal(np.array(image), ball * np.uint8(255))
