import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client_demo.demo import main
from tests.support.pictures import jpeg, scene
from tests.support.running_server import RunningServer


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(scene(480, 360)[0]))
    return path


def test_a_click_writes_a_mask_and_an_overlay(
    fake: RunningServer, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, overlaid = tmp_path / "mask.png", tmp_path / "out.png"

    main([str(photo), "--point", "130,162", "--exclude", "300,150", "--server", fake.url,
          "--out", str(out), "--overlay", str(overlaid)])  # fmt: skip

    told = capsys.readouterr().out
    with Image.open(out) as mask, Image.open(overlaid) as drawn:
        assert mask.size == drawn.size == (480, 360)
        assert f"{np.count_nonzero(np.array(mask)):,} px" in told
    assert f"wrote {out}" in told
    assert f"wrote {overlaid}" in told
    assert "click" in told


def test_json_is_all_that_is_printed(
    fake: RunningServer, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(photo), "--box", "70,90,190,230", "--server", fake.http, "--json"])

    told = json.loads(capsys.readouterr().out)
    assert told["rle"]["size"] == [360, 480]
    assert told["area"] > 0
    assert {"bbox", "score", "timings"} <= set(told)


def test_normalized_coordinates_mean_the_same(
    fake: RunningServer, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for point in (["--point", "120,90"], ["--point", "0.25,0.25", "--normalized"]):
        main([str(photo), *point, "--server", fake.url, "--json"])
        results.append(json.loads(capsys.readouterr().out)["rle"])

    assert results[0] == results[1]


@pytest.mark.parametrize(
    "wrong",
    [["--point", "1"], ["--point", "a,b"], ["--box", "1,2,3"], ["--exclude", "1,2"], []],
    ids=" ".join,
)
def test_a_prompt_that_is_none_is_explained(
    photo: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(photo), *wrong])

    assert ended.value.code == 2
    assert "--point" in capsys.readouterr().err or "--box" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("photo_name", "point", "reason"),
    [
        ("missing.jpg", "1,1", "No such file"),
        ("photo.jpg", "1000,1", "expected a point inside the 480 x 360 image"),
        ("text.jpg", "1,1", "bad_image"),
    ],
)
def test_what_goes_wrong_is_one_line(
    fake: RunningServer, photo: Path, photo_name: str, point: str, reason: str
) -> None:
    (photo.parent / "text.jpg").write_text("no photo")

    with pytest.raises(SystemExit) as ended:
        main([str(photo.parent / photo_name), "--point", point, "--server", fake.url])

    assert str(ended.value.code).startswith("samwire: ")
    assert reason in str(ended.value.code)


def test_a_server_that_is_not_there_is_one_line(photo: Path) -> None:
    with pytest.raises(SystemExit, match=r"samwire: .*cannot reach"):
        main([str(photo), "--point", "1,1", "--server", "ws://127.0.0.1:9"])
