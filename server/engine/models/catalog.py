"""The models by name, where their weights are, and how to load them.

`tiny` lies inside the package. `vit_b`, `vit_l` and `vit_h` are segment-anything's official files:
downloaded once into the user's cache and checked, or given as a local checkpoint. Checkpoints are
loaded with `weights_only=True`: a pickle could otherwise run anything.
"""

import pickle
from pathlib import Path
from typing import Any

import platformdirs
import torch
from safetensors import SafetensorError
from torch import Tensor

from server.engine.models.device import choose_device, choose_dtype
from server.engine.models.download import Progress, RemoteFile, digest, fetch
from server.engine.models.sam import SamModel
from server.engine.models.tiny.model import TinyModel
from server.engine.models.tiny.networks import Tiny, load_tiny
from server.engine.models.upstream import Sam, sam_model_registry

__all__ = ["MODELS", "OFFICIAL", "CheckpointError", "load_model", "weights_path"]

TINY_WEIGHTS = Path(__file__).with_name("weights") / "tiny.safetensors"

_ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything"

OFFICIAL = {
    "vit_b": RemoteFile(
        url=f"{_ADDRESS}/sam_vit_b_01ec64.pth",
        size=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "vit_l": RemoteFile(
        url=f"{_ADDRESS}/sam_vit_l_0b3195.pth",
        size=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "vit_h": RemoteFile(
        url=f"{_ADDRESS}/sam_vit_h_4b8939.pth",
        size=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
}

MODELS = ("tiny", *OFFICIAL)

_WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""Channels of the image encoder tell the official models apart."""


class CheckpointError(ValueError):
    """The file is not the weights of the model it was given for."""


def load_model(
    name: str = "tiny",
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    progress: Progress = lambda had, size: None,  # noqa: ARG005 - shows nothing
) -> SamModel:
    """Load a model by name, ready to warm up.

    Args:
        name: one of `MODELS`.
        checkpoint: weights to use instead of the bundled or downloaded ones.
        device: "auto", "cpu", "cuda" or "cuda:1".
        dtype: "auto", "float32", "bfloat16" or "float16"; "auto" is what the device does well, but
            float32 for `tiny`.
        progress: called with the bytes had and the bytes in all while downloading.

    Raises:
        CheckpointError: the checkpoint is not this model's weights.
        DownloadError: the official file could not be had.
        ValueError: no such model, device or dtype here.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}: expected one of {', '.join(MODELS)}")
    chosen = choose_device(device)
    if name == "tiny" and dtype == "auto":
        dtype = "float32"  # so small that exact masks cost nothing worth having otherwise
    chosen_dtype = choose_dtype(dtype, chosen)
    if checkpoint is None:
        path, sha256 = _weights(name, progress)
    else:
        path, sha256 = checkpoint, _digest(checkpoint)
    fingerprint = f"{name}-{sha256[:16]}"
    if name == "tiny":
        tiny = _load_tiny(path)
        return TinyModel(tiny, fingerprint=fingerprint, device=chosen, dtype=chosen_dtype)
    sam = _load_official(name, path)
    return SamModel(sam, name=name, fingerprint=fingerprint, device=chosen, dtype=chosen_dtype)


def _weights(name: str, progress: Progress) -> tuple[Path, str]:
    """Where the model's own weights are, and their sha256."""
    path = weights_path(name)
    if name == "tiny":
        return path, digest(path)
    return fetch(OFFICIAL[name], path.parent, progress), OFFICIAL[name].sha256


def weights_path(name: str) -> Path:
    """Where the model's own weights lie, or will once they are downloaded."""
    if name == "tiny":
        return TINY_WEIGHTS
    return platformdirs.user_cache_path("samwire") / "models" / OFFICIAL[name].name


def _digest(checkpoint: Path) -> str:
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint} is not a file")
    return digest(checkpoint)


def _load_tiny(path: Path) -> Tiny:
    try:
        return load_tiny(path)
    except (SafetensorError, KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path} is not the weights of samwire's tiny model") from error


def _load_official(name: str, path: Path) -> Sam:
    state = _read_state(path)
    looks_like = _recognise(state)
    if looks_like != name:
        raise CheckpointError(
            f"{path} is not {name}: it looks like {looks_like or 'another model'}"
        )
    with torch.device("meta"):
        sam = sam_model_registry[name]()
    try:
        sam.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} is not {name}: {error}") from error
    return sam


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is not a PyTorch checkpoint of weights alone") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not named weights")
    return state


def _recognise(state: dict[str, Any]) -> str | None:
    """Which official model these weights look like."""
    patches = state.get("image_encoder.patch_embed.proj.weight")
    if not isinstance(patches, Tensor):
        return None
    return _WIDTHS.get(len(patches))
