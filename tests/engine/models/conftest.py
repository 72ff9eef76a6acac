"""Small models with random weights in every parameter, biases and norms included."""

import copy

import numpy as np
import pytest
import torch

from server.engine.models.tiny.networks import build_tiny
from server.engine.models.upstream import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from server.engine.types import RgbImage

torch.set_num_threads(1)
"""Small products gain nothing from more, and lose much where the cores are busy."""


def randomised(sam: Sam, seed: int = 0) -> Sam:
    """Zeros and ones at the start of training hide a forgotten bias or norm."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in sam.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += noise * (0.5 if parameter.dim() == 1 else 0.03)
    sam.eval().requires_grad_(requires_grad=False)
    return sam


def build_official(image_size: int = 320) -> Sam:
    """The official prompt encoder and decoder behind a narrow, shallow ViT."""
    grid = image_size // 16
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=image_size,
            embed_dim=96,
            depth=2,
            num_heads=3,
            window_size=14,
            global_attn_indexes=(1,),
            use_rel_pos=True,
        ),
        prompt_encoder=PromptEncoder(256, (grid, grid), (image_size, image_size), 16),
        mask_decoder=MaskDecoder(
            transformer_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        ),
    )


@pytest.fixture(scope="session")
def official_sam() -> Sam:
    """Do not let a model take it over: copy it."""
    torch.manual_seed(0)
    return randomised(build_official())


@pytest.fixture(scope="session")
def tiny_sam() -> Sam:
    """Do not let a model take it over: copy it."""
    torch.manual_seed(0)
    return randomised(build_tiny(128))


@pytest.fixture(params=["official", "tiny"])
def sam(request: pytest.FixtureRequest, official_sam: Sam, tiny_sam: Sam) -> Sam:
    """A copy of either."""
    return copy.deepcopy(official_sam if request.param == "official" else tiny_sam)


@pytest.fixture
def photo() -> RgbImage:
    """Smooth colours with noise, 240 x 180."""
    y, x = np.mgrid[0:180, 0:240]
    waves = np.stack([np.sin(x / 17), np.cos(y / 11), np.sin((x + y) / 23)], axis=-1)
    noise = np.random.default_rng(0).normal(scale=10, size=waves.shape)
    return np.clip(128 + 100 * waves + noise, 0, 255).astype(np.uint8)
