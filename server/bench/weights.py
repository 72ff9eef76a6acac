"""Random weights: the true architecture at the true size, for timing without a download.

Untrained, a decoder's mask is a checkerboard: each of the four kernels of a transposed convolution
fills its own quarter of a cell with noise. No annotator sees such masks; they are 20 times as dear
to finish as a thing's, and too large for a frame. So checkpoints have flat kernels there.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from server.engine.models.tiny.closeup import CloseUp
from server.engine.models.tiny.networks import EMBED_DIM, Tiny, build_tiny
from server.engine.models.tiny.quantization import quantized
from server.engine.models.upstream import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
    sam_model_registry,
)

__all__ = ["official_decoder", "random_sam", "write_random_checkpoint"]

_SEED = 0
_INPUT_SIZE = 1024
_GRID = (64, 64)
_DIM = 256


def write_random_checkpoint(name: str, folder: Path) -> Path:
    """A checkpoint of the model `name` as `--checkpoint` takes it.

    Raises:
        ValueError: it is a model without weights.
    """
    if name == "tiny":
        return _write_tiny(folder / "tiny.safetensors")
    if name not in sam_model_registry:
        raise ValueError(f"{name} has no weights")
    path = folder / f"{name}.pth"
    sam = random_sam(name)
    _flatten(sam)
    torch.save(sam.state_dict(), path)
    return path


def _write_tiny(path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        tiny = Tiny(build_tiny(), CloseUp(EMBED_DIM))
    _flatten(tiny.sam)
    note = json.dumps({"input_size": tiny.sam.image_encoder.img_size})
    save_file(quantized(tiny.networks().state_dict()), path, metadata={"samwire": note})
    return path


def _flatten(sam: Sam) -> None:
    """Let each upscaling kernel be its own mean, at the spread it had."""
    for layer in sam.mask_decoder.output_upscaling:
        if isinstance(layer, nn.ConvTranspose2d):
            weight = layer.weight.detach()
            mean = weight.mean((2, 3), keepdim=True) * weight[0, 0].numel() ** 0.5
            layer.weight.data.copy_(mean.expand_as(weight))


def random_sam(name: str) -> Sam:
    """The official model `name`, untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        sam: Sam = sam_model_registry[name]()
    return sam.eval().requires_grad_(requires_grad=False)


def official_decoder() -> Sam:
    """The official prompt encoder and mask decoder, untrained, behind next to no image encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        sam = Sam(
            image_encoder=ImageEncoderViT(
                img_size=_INPUT_SIZE,
                embed_dim=32,
                depth=1,
                num_heads=2,
                window_size=14,
                use_rel_pos=True,
            ),
            prompt_encoder=PromptEncoder(_DIM, _GRID, (_INPUT_SIZE, _INPUT_SIZE), 16),
            mask_decoder=MaskDecoder(
                transformer_dim=_DIM,
                transformer=TwoWayTransformer(
                    depth=2, embedding_dim=_DIM, mlp_dim=2048, num_heads=8
                ),
            ),
        )
    return sam.eval().requires_grad_(requires_grad=False)
