"""The model in training, its running average, and how both are kept on disk."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from server.engine.models.device import choose_dtype
from server.engine.models.tiny.closeup import CloseUp
from server.engine.models.tiny.networks import build_tiny
from server.engine.models.tiny.quantization import dequantized
from server.engine.models.upstream import Attention, MaskDecoder, Sam
from training.depth import leave_out_at_random
from training.grouping import GroupingHead

__all__ = ["Average", "Learner", "autocast", "load_checkpoint", "load_weights", "save_checkpoint"]


class Learner(nn.Module):
    """The shipped model, first and second look, and the head that only training uses."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.sam: Sam = build_tiny(size)
        self.closeup = CloseUp(self.sam.prompt_encoder.embed_dim)
        self.grouping = GroupingHead(self.sam.prompt_encoder.embed_dim)
        self.sam.image_encoder.to(memory_format=torch.channels_last)
        leave_out_at_random(self.sam.image_encoder.context)
        _aim(self.sam.mask_decoder)

    def start_from(self, weights: Mapping[str, Tensor], parts: tuple[str, ...] = ("",)) -> None:
        """Take weights over; a shipped file has all but the head that only training uses.

        Args:
            weights: named, as of a checkpoint or of a shipped file.
            parts: how the names of those begin that are wanted; the others stay as they are.

        Raises:
            ValueError: they are of another architecture.
        """
        kept = {name: value for name, value in weights.items() if name.startswith(parts)}
        missing, unknown = self.load_state_dict(kept, strict=False)
        lost = [name for name in missing if name.startswith(parts) and "grouping." not in name]
        if lost or unknown:
            raise ValueError(f"weights of another architecture: no {lost}, but {unknown}")

    def embed(self, pixels: Tensor) -> Tensor:
        """Bx3xSxS normalised pixels to the embedding, in the autocast dtype."""
        embedding: Tensor = self.sam.image_encoder(pixels)
        return embedding

    def train_only_first_look(self) -> None:
        """Keep the close-up as it is."""
        self.closeup.requires_grad_(requires_grad=False)

    def train_only_attention(self) -> None:
        """Of the first look what comes after its convolutions, with their norms as they are."""
        self.eval().requires_grad_(requires_grad=False)
        encoder = self.sam.image_encoder
        for part in (encoder.places, encoder.context, encoder.norm, encoder.out):
            part.requires_grad_(requires_grad=True)
        self.sam.prompt_encoder.requires_grad_(requires_grad=True)
        self.sam.mask_decoder.requires_grad_(requires_grad=True)

    def train_only_closeup(self) -> None:
        """Keep the first look as it is, its norms too."""
        self.eval().requires_grad_(requires_grad=False)
        self.closeup.train().requires_grad_(requires_grad=True)


def autocast(device: torch.device) -> torch.autocast:
    """Half-precision products where the device has them; elsewhere they take far longer."""
    half = choose_dtype("auto", device) == torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)


@torch.no_grad()
def _aim(decoder: MaskDecoder) -> None:
    """Start with attention that looks where the prompt points.

    Queries and keys share their projection, so that equal positional encodings attract each other
    from the first step on. With independent ones the decoder answers empty masks for many minutes
    until it has found the click.
    """
    for layer in decoder.transformer.layers:
        for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token):
            _tie(attention)
    _tie(decoder.transformer.final_attn_token_to_image)


def _tie(attention: Attention, gain: float = 2.5) -> None:
    attention.q_proj.weight.mul_(gain)
    attention.k_proj.weight.copy_(attention.q_proj.weight)


class Average:
    """An exponential moving average of weights and norms; what is evaluated and shipped."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = deepcopy(model).eval().requires_grad_(requires_grad=False)
        self._decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards `model`: fast at first, then by the decay."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        pairs = zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        own: list[Tensor] = []
        new: list[Tensor] = []
        for kept, value in pairs:
            if kept.is_floating_point():
                own.append(kept)
                new.append(value)
            else:
                kept.copy_(value)
        torch._foreach_lerp_(own, new, 1 - decay)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a reader, or a crash, never meets half of one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_weights(path: Path) -> dict[str, Tensor]:
    """What a stage starts from: a checkpoint's averaged weights, or a shipped file's."""
    if path.suffix == ".safetensors":
        return dequantized(load_file(path))
    average: dict[str, Tensor] = load_checkpoint(path)["average"]
    return average
