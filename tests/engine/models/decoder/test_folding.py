"""Each folded piece against the upstream module it replaces."""

import pytest
import torch
from torch import nn

from server.engine.models.decoder.folding import (
    ImageToToken,
    PatchConv,
    RmsNorm,
    TokenToImage,
    as_linear,
)
from server.engine.models.upstream import Attention, LayerNorm2d


def attention(heads: int, downsample_rate: int) -> Attention:
    torch.manual_seed(heads)
    return Attention(64, num_heads=heads, downsample_rate=downsample_rate)


@pytest.fixture(params=[(8, 2), (4, 2), (1, 1)], ids=["8 heads", "4 heads", "one head"])
def upstream(request: pytest.FixtureRequest) -> Attention:
    return attention(*request.param)


def tokens_keys_positions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, 7, 64, generator=generator)
    keys = torch.randn(3, 50, 64, generator=generator)
    return tokens, keys, torch.randn(50, 64, generator=generator)


@torch.no_grad()
def test_reading_equals_upstreams_attention_to_the_image(upstream: Attention) -> None:
    tokens, keys, positions = tokens_keys_positions()
    expected = upstream(q=tokens, k=keys + positions, v=keys)
    torch.testing.assert_close(TokenToImage(upstream)(tokens, keys + positions, keys), expected)


@torch.no_grad()
def test_writing_equals_upstreams_attention_from_the_image(upstream: Attention) -> None:
    tokens, keys, positions = tokens_keys_positions()
    tokens_pe = tokens + 1
    expected = keys + upstream(q=keys + positions, k=tokens_pe, v=tokens)
    shown = torch.zeros(3, 7)
    found = ImageToToken(upstream)(tokens, tokens_pe, shown, keys + positions, keys)
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_a_hidden_token_writes_nothing(upstream: Attention) -> None:
    tokens, keys, positions = tokens_keys_positions()
    hidden = torch.zeros(3, 7)
    hidden[:, 5:] = -torch.inf
    write = ImageToToken(upstream)
    without = write(tokens[:, :5], tokens[:, :5], hidden[:, :5], keys + positions, keys)
    torch.testing.assert_close(write(tokens, tokens, hidden, keys + positions, keys), without)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_a_spread_equals_the_transposed_convolution(*, bias: bool) -> None:
    torch.manual_seed(1)
    convolution = nn.ConvTranspose2d(6, 5, kernel_size=2, stride=2, bias=bias)
    image = torch.randn(1, 6, 3, 4)
    blocks = as_linear(convolution)(image.permute(0, 2, 3, 1)).view(1, 3, 4, 2, 2, 5)
    found = blocks.permute(0, 5, 1, 3, 2, 4).reshape(1, 5, 6, 8)
    torch.testing.assert_close(found, convolution(image))


def test_a_convolution_whose_outputs_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel and stride of 2"):
        as_linear(nn.ConvTranspose2d(4, 4, kernel_size=3, stride=2))


@pytest.mark.parametrize("side", [1, 2])
def test_a_gathering_equals_the_convolution_less_the_mean_of_its_outputs(side: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, side, side).requires_grad_(requires_grad=False)
    x = torch.randn(1, 4, 2 * side, 3 * side)
    blocks = x.view(4, 2, side, 3, side).permute(0, 2, 4, 1, 3).reshape(1, 4 * side**2, 6)
    expected = convolution(x).flatten(2)
    expected = expected - expected.mean(dim=1, keepdim=True)
    torch.testing.assert_close(PatchConv(convolution)(blocks), expected)


def trained_norm(channels: int) -> LayerNorm2d:
    norm = LayerNorm2d(channels).requires_grad_(requires_grad=False)
    norm.weight.uniform_(0.5, 1.5)
    norm.bias.uniform_(-0.5, 0.5)
    return norm


@torch.no_grad()
def test_after_a_gathering_only_the_scale_of_the_norm_is_left_to_do() -> None:
    torch.manual_seed(2)
    convolution, norm = nn.Conv2d(1, 6, 2, 2), trained_norm(6)
    x = torch.randn(3, 1, 8, 4)
    blocks = x.view(3, 4, 2, 2, 2).permute(0, 2, 4, 1, 3).reshape(3, 4, 8)
    found = RmsNorm(norm)(PatchConv(convolution)(blocks))
    torch.testing.assert_close(found, norm(convolution(x)).flatten(2))


def test_a_convolution_whose_inputs_overlap_is_not_gathered() -> None:
    with pytest.raises(ValueError, match="stride"):
        PatchConv(nn.Conv2d(4, 6, 3, 1))
