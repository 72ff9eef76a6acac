"""The bundled model's networks: SAM's prompt encoder and mask decoder behind an encoder of our own.

The encoder is shaped for a CPU: dense convolutions and matrix products that run at full rate in
bfloat16, channels last, few activations at high resolution, batch norms that fold into their
convolutions. Convolutions down to stride 16, global attention there, where the embedding lives:
few places, so that a click is decoded in milliseconds. Features of strides 8 and 4 go along with
it for the outlines (`fine`). `steps` is the encoder; `forward` only runs it to the end.
"""

import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from server.engine.models.base import run_steps
from server.engine.models.decoder.fine import FineMaskDecoder, space_to_depth
from server.engine.models.tiny.closeup import CloseUp
from server.engine.models.tiny.layers import ConvNorm, ResidualBlock, fold_norms
from server.engine.models.tiny.quantization import dequantized
from server.engine.models.upstream import PromptEncoder, Sam, TwoWayTransformer

__all__ = [
    "EMBED_DIM",
    "EMBED_STRIDE",
    "INPUT_SIZE",
    "Tiny",
    "TinyEncoder",
    "build_tiny",
    "load_tiny",
]

INPUT_SIZE = 384
EMBED_DIM = 192
EMBED_STRIDE = 16
MIDDLE_DIM, FINE_DIM = EMBED_DIM // 4, EMBED_DIM // 8
"""Channels at strides 8 and 4: those of the mask decoder's upscaled features."""
CONTEXT_DIM = 256
CONTEXT_HEADS = 8
FREQUENCIES = 8
"""Sines per axis that tell the context blocks where a token is."""


class ContextBlock(nn.Module):
    """A pre-norm transformer block: every token of the image sees every other."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """BxNxC to the same."""
        return self.feed_forward(self.attend(x))

    def attend(self, x: Tensor) -> Tensor:
        """The first half: what every token takes from the others."""
        batch, count, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, count, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        taken: Tensor = x + self.proj(attended.reshape(batch, count, dim))
        return taken

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second half: what each makes of it."""
        made: Tensor = x + self.mlp(self.norm2(x))
        return made


class PositionEncoding(nn.Module):
    """Where each token is, as a learned mix of sines over the image's width and height."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(4 * FREQUENCIES, dim)

    def forward(self, height: int, width: int, like: Tensor) -> Tensor:
        """1x(height*width)xC in the dtype of `like`."""
        rows = (torch.arange(height, device=like.device) + 0.5) / height
        columns = (torch.arange(width, device=like.device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).view(-1, 2)
        scale = torch.pi * torch.arange(1, FREQUENCIES + 1, device=like.device)
        angles = (grid[:, :, None] * scale).flatten(1)
        waves = torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)
        mixed: Tensor = self.mix(waves)
        return mixed.unsqueeze(0)


class TinyEncoder(nn.Module):
    """Bx3xSxS normalised pixels to a Bx768x(S/16)x(S/16) embedding, finer features included."""

    def __init__(self, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size
        self.stem = nn.ModuleList([ConvNorm(3, 32, stride=2), ConvNorm(32, 64, stride=2)])
        self.stride4 = nn.ModuleList([ResidualBlock(64)])
        self.down8 = ConvNorm(64, 128, stride=2)
        self.stride8 = nn.ModuleList([ResidualBlock(128) for _ in range(2)])
        self.down16 = ConvNorm(128, CONTEXT_DIM, stride=2)
        self.places = PositionEncoding(CONTEXT_DIM)
        self.context = nn.ModuleList([ContextBlock(CONTEXT_DIM, CONTEXT_HEADS) for _ in range(6)])
        self.norm = nn.LayerNorm(CONTEXT_DIM)
        self.out = nn.Linear(CONTEXT_DIM, EMBED_DIM)
        self.fine4 = _zero_initialised(nn.Conv2d(64, FINE_DIM, 1))
        self.fine8 = _zero_initialised(nn.Conv2d(128, MIDDLE_DIM, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The embedding, in one go."""
        return run_steps(self.steps(x))

    def steps(self, x: Tensor) -> Generator[float, None, Tensor]:
        """Encode in pieces of a few milliseconds, yielding the fraction done between them."""
        total = len(self.stem) + len(self.stride4) + len(self.stride8) + 2 * len(self.context) + 1
        done = 0
        x = x.contiguous(memory_format=torch.channels_last)
        for conv in self.stem:
            x = F.relu(conv(x))
            yield (done := done + 1) / total
        for block in self.stride4:
            x = block(x)
            yield (done := done + 1) / total
        fine = space_to_depth(space_to_depth(self.fine4(x)))
        x = F.relu(self.down8(x))
        for block in self.stride8:
            x = block(x)
            yield (done := done + 1) / total
        middle = space_to_depth(self.fine8(x))
        x = F.relu(self.down16(x))
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.places(height, width, tokens)
        for block in cast("Iterable[ContextBlock]", self.context):
            tokens = block.attend(tokens)
            yield (done := done + 1) / total
            tokens = block.feed_forward(tokens)
            yield (done := done + 1) / total
        features = self.out(self.norm(tokens)).transpose(1, 2)
        return torch.cat([features.unflatten(2, (height, width)), middle, fine], dim=1)


def _zero_initialised(layer: nn.Conv2d) -> nn.Conv2d:
    """Adds nothing until it is trained."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def build_tiny(img_size: int = INPUT_SIZE) -> Sam:
    """An untrained tiny model for square inputs of `img_size` pixels (a multiple of 16)."""
    grid = img_size // EMBED_STRIDE
    sam = Sam(
        image_encoder=TinyEncoder(img_size),
        prompt_encoder=PromptEncoder(
            embed_dim=EMBED_DIM,
            image_embedding_size=(grid, grid),
            input_image_size=(img_size, img_size),
            mask_in_chans=16,
        ),
        mask_decoder=FineMaskDecoder(
            transformer_dim=EMBED_DIM,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=EMBED_DIM, num_heads=4, mlp_dim=512
            ),
            iou_head_hidden_dim=128,
        ),
    )
    _raise_frequencies(sam.prompt_encoder)
    return sam


def _raise_frequencies(encoder: PromptEncoder) -> None:
    """Let half of the positional frequencies tell places apart that are a cell of the grid apart.

    Upstream's are made for an object of some tenth of the picture: too blunt for the small ones.
    """
    frequencies = encoder.pe_layer.positional_encoding_gaussian_matrix
    frequencies[:, frequencies.shape[1] // 2 :] *= 4


@dataclass(frozen=True, slots=True)
class Tiny:
    """The networks of both looks."""

    sam: Sam
    closeup: CloseUp

    def networks(self) -> nn.ModuleDict:
        """Both, under the names that their weights are stored under."""
        return nn.ModuleDict({"sam": self.sam, "closeup": self.closeup})


def load_tiny(path: Path) -> Tiny:
    """The trained networks of `path`, in float32, their norms folded, ready for inference."""
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["samwire"])
        state = dequantized({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    tiny = Tiny(build_tiny(metadata["input_size"]), CloseUp(EMBED_DIM))
    networks = tiny.networks()
    networks.load_state_dict(state)
    networks.eval().requires_grad_(requires_grad=False)
    fold_norms(networks)
    return tiny
