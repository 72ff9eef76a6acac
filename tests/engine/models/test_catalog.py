"""Loading models by name and from files that are, or are not, what they should be."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from server.engine.models import device
from server.engine.models.catalog import (
    MODELS,
    OFFICIAL,
    TINY_WEIGHTS,
    CheckpointError,
    load_model,
)
from server.engine.models.upstream import Sam, sam_model_registry


@pytest.fixture(scope="module")
def narrow_vit_b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official ViT-B's names and shapes, in a file of zeros a few kilobytes long."""
    with torch.device("meta"):
        sam = sam_model_registry["vit_b"]()
    zero = torch.zeros(1)
    state = {name: zero.expand(tensor.shape) for name, tensor in sam.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "sam_vit_b.pth"
    torch.save(state, path)
    return path


def test_the_catalog_has_the_bundled_model_and_the_three_official_ones() -> None:
    assert MODELS == ("tiny", "vit_b", "vit_l", "vit_h")
    for file in OFFICIAL.values():
        assert file.url.startswith("https://dl.fbaipublicfiles.com/segment_anything/sam_vit_")
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.name.removesuffix(".pth").split("_")[-1] in file.url


def test_an_official_checkpoint_is_loaded_from_a_file(narrow_vit_b: Path) -> None:
    model = load_model("vit_b", checkpoint=narrow_vit_b, device="cpu", dtype="float32")
    assert (model.name, model.input_size) == ("vit_b", 1024)
    assert model.fingerprint.startswith("vit_b-")
    assert model.fingerprint.endswith("-float32")


def test_another_official_models_weights_are_recognised_and_refused(narrow_vit_b: Path) -> None:
    with pytest.raises(CheckpointError, match="is not vit_h: it looks like vit_b"):
        load_model("vit_h", checkpoint=narrow_vit_b)


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path, tiny_sam: Sam) -> None:
    path = tmp_path / "other.pth"
    torch.save(copy.deepcopy(tiny_sam).state_dict(), path)
    with pytest.raises(CheckpointError, match="is not vit_b: it looks like another model"):
        load_model("vit_b", checkpoint=path)


def test_missing_weights_are_named(tmp_path: Path, narrow_vit_b: Path) -> None:
    state = torch.load(narrow_vit_b, weights_only=True)
    del state["mask_decoder.iou_token.weight"]
    path = tmp_path / "partial.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"mask_decoder\.iou_token\.weight"):
        load_model("vit_b", checkpoint=path)


class Mischief:
    """What a hostile pickle would do on being loaded."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("touched"),)


def contents() -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"not a checkpoint",
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
        "a pickled number": pickle.dumps(7, protocol=2),
        "a zip of nothing": b"PK\x05\x06" + bytes(18),
    }


@pytest.mark.parametrize("content", contents().values(), ids=contents().keys())
@pytest.mark.parametrize("name", ["tiny", "vit_b"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="weights"):
        load_model(name, checkpoint=path)


def test_a_checkpoint_that_would_run_code_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"image_encoder.patch_embed.proj.weight": Mischief()}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="weights alone"):
        load_model("vit_b", checkpoint=tmp_path / "weights.pth")
    assert not (tmp_path / "touched").exists()


def test_named_weights_of_another_kind_are_no_tiny_model(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="tiny"):
        load_model("tiny", checkpoint=tmp_path / "other.safetensors")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a file"):
        load_model("vit_b", checkpoint=tmp_path / "nowhere.pth")


def test_an_unknown_model_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="tiny, vit_b, vit_l, vit_h"):
        load_model("vit_x")


@pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the bundled weights are still in training")
def test_the_bundled_model_loads_and_its_name_tells_its_weights() -> None:
    full, reduced = (load_model(device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert full.name == "tiny"
    assert full.fingerprint != reduced.fingerprint
    assert full.fingerprint.split("-")[:2] == reduced.fingerprint.split("-")[:2]
    assert full.input_size % 128 == 0


def test_the_bundled_model_is_exact_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_multiplies_bfloat16", lambda: True)
    assert load_model(device="cpu").dtype == torch.float32
    assert load_model(device="cpu", dtype="bfloat16").dtype == torch.bfloat16
