"""The command line, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from server import rle
from server.__main__ import app
from server.engine.models.catalog import MODELS, weights_path
from tests.support.pictures import jpeg, scene
from tests.support.running_server import running_server

run = CliRunner().invoke


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(scene(320, 240)[0]))
    return path


def segment(*arguments: object) -> list[str]:
    return ["segment", *(str(argument) for argument in arguments), "--model", "fake"]


def test_segment_writes_mask_overlay_and_json(photo: Path, tmp_path: Path) -> None:
    out, overlay = tmp_path / "mask.png", tmp_path / "overlay.png"
    arguments = segment(photo, "--point", "100,120", "--out", out, "--overlay", overlay, "--json")
    result = run(app, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    with Image.open(out) as written, Image.open(overlay) as drawn:
        mask = np.asarray(written) > 0
        assert drawn.size == (320, 240)
    found = told["rle"]
    decoded = rle.decode(rle.Rle(size=tuple(found["size"]), counts=found["counts"].encode()))
    assert np.array_equal(mask, decoded)
    assert mask[120, 100]
    assert told["area"] == mask.sum()


def test_normalized_points_mean_the_same_as_pixels(photo: Path) -> None:
    pixels = run(app, segment(photo, "--point", "160,120", "--exclude", "32,24", "--json"))
    shares = run(
        app, segment(photo, "--point", "0.5,0.5", "--exclude", "0.1,0.1", "--normalized", "--json")
    )
    assert pixels.stdout == shares.stdout


def test_a_photo_read_at_a_reduced_scale_is_asked_about_in_its_own_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(jpeg(scene(1201, 899)[0]))
    arguments = segment(path, "--point", "1100,800", "--json")
    full = json.loads(run(app, arguments).stdout)
    monkeypatch.setenv("SAMWIRE_REDUCED_JPEG", "1")
    reduced = json.loads(run(app, arguments).stdout)
    assert reduced["rle"]["counts"] != full["rle"]["counts"]  # it was read at a reduced scale
    assert reduced["rle"]["size"] == full["rle"]["size"] == [899, 1201]
    assert reduced["bbox"] == pytest.approx(full["bbox"], abs=3)


def test_the_overlay_shows_the_photo_as_the_model_sees_it(tmp_path: Path) -> None:
    photo, overlay = tmp_path / "cut-out.png", tmp_path / "overlay.png"
    Image.new("RGBA", (96, 72), (0, 0, 0, 0)).save(photo)
    result = run(app, segment(photo, "--point", "80,60", "--overlay", overlay))
    assert result.exit_code == 0, result.output
    with Image.open(overlay) as drawn:
        assert np.asarray(drawn.convert("L")).min() > 60  # on white, not on the black nobody sees


def test_a_box_is_a_prompt(photo: Path) -> None:
    result = run(app, segment(photo, "--box", "20,20,120,100", "--json"))
    assert json.loads(result.stdout)["area"] > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "where the object is"),
        (("--exclude", "5,5"), "where the object is"),
        (("--point", "5"), "2 numbers"),
        (("--point", "5,nan"), "2 numbers"),
        (("--point", "5000,5"), "inside the 320 x 240 image"),
        (("--box", "50,50,20,80"), "x0 < x1"),
        (("--box", "50,50,400,80"), "inside the 320 x 240 image"),
        (("--point", "5,5") * 65, "at most 64 items"),
    ],
)
def test_a_bad_prompt_is_said_in_a_sentence(
    photo: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = run(app, segment(photo, *arguments))
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_file_that_is_no_image_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not an image")
    result = run(app, segment(path, "--point", "5,5"))
    assert result.exit_code == 2
    assert "bad_image" in result.stderr


def test_segment_on_a_server_gives_the_same_mask(photo: Path) -> None:
    with running_server() as server:
        there = run(app, segment(photo, "--point", "100,120", "--json", "--server", server.url))
        assert there.exit_code == 0, there.output
    here = run(app, segment(photo, "--point", "100,120", "--json"))
    assert json.loads(there.stdout) == json.loads(here.stdout)


@pytest.mark.parametrize("command", ["segment", "bench"])
def test_a_file_that_is_no_checkpoint_is_told_in_a_sentence(
    command: str, photo: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_text("<html>not found</html>")
    arguments = [str(photo), "--point", "100,120"] if command == "segment" else []
    result = run(app, [command, *arguments, "--model", "vit_b", "--checkpoint", str(weights)])
    assert result.exit_code == 2
    assert result.stderr.endswith("is not a PyTorch checkpoint of weights alone\n")


def test_help_names_the_commands() -> None:
    result = run(app, ["--help"])
    for command in ("serve", "segment", "models", "bench"):
        assert command in result.stdout


def test_models_are_listed_with_where_they_are_or_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    had = weights_path("vit_b")
    had.parent.mkdir(parents=True)
    had.write_bytes(bytes(3_000_000))
    lines = run(app, ["models"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(MODELS)
    assert lines[0].endswith("tiny.safetensors")
    assert lines[1] == f"vit_b       3 MB  {had}"
    assert "2,565 MB  downloaded when first served: https://" in lines[3]


def test_a_server_that_is_not_there_is_said(photo: Path) -> None:
    result = run(app, segment(photo, "--point", "5,5", "--server", "ws://127.0.0.1:9"))
    assert result.exit_code == 2


@pytest.mark.parametrize("command", ["serve", "bench"])
def test_a_services_address_as_port_is_explained_in_a_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMWIRE_PORT", "tcp://10.0.0.1:8000")
    result = run(app, [command, "--model", "fake"])
    assert result.exit_code == 2
    assert result.stderr.startswith("samwire: bad setting: port: expected a number")
    assert "enableServiceLinks: false" in result.stderr


def test_settings_that_do_not_go_together_are_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAMWIRE_MAX_IMAGE_BYTES", "2000000000")
    result = run(app, ["serve", "--model", "fake"])
    assert result.exit_code == 2
    assert result.stderr.startswith("samwire: bad setting: expected max_uploads_bytes to hold")


def test_a_misspelt_variable_is_warned_about_once_and_stops_nothing(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMWIRE_MAX_SESION", "3")
    monkeypatch.setenv("SAMWIRE_[/b]", "3")  # a tag to rich, if it is let through
    result = run(app, segment(photo, "--point", "100,120", "--json"))
    assert result.exit_code == 0
    assert json.loads(result.stdout)["area"] > 0
    said = [line for line in result.stderr.splitlines() if "is no setting" in line]
    assert len(said) == 2
    assert said[0].endswith("did you mean SAMWIRE_MAX_SESSIONS?")
    assert "SAMWIRE_[/b]" in said[1]
