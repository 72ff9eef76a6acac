"""Attention between few tokens and a large image without projecting the image.

Upstream projects the image for every attention between tokens and image: keys and values of
N x C/2 for N = 4096 positions, over and over. Tokens are few (T: 7 to 16), and matrix products may
be regrouped: push the tokens through the transposed projection, and meet the image as it is. Exact
for any weights.

Notation: tokens t, image features K (N x C), positions P (N x C), heads h of width d, projections
W (out x in) with biases b, transposes '.

**Tokens read the image** (`TokenToImage`). Upstream's score of a token and a position, then ours:

    q_h . (W_k,h (K + P) + b_k,h) / sqrt(d)  =  (W_k,h' q_h / sqrt(d)) . (K + P) + const

The constant is the token's, the same at every position: softmax over positions drops it, and b_k
with it. What head h reads is

    (W_v,h K' + b_v,h) softmax(score_h)      =  W_v,h (K' softmax(score_h)) + b_v,h

since a softmax sums to one; so b_v joins the output's bias: W_o b_v + b_o.

**Tokens write to the image** (`ImageToToken`): upstream's image-to-token attention, the roles
exchanged. Now softmax runs over tokens, so a token's constant counts:

    (W_q,h (K + P) + b_q,h) . k_h / sqrt(d)  =  (W_q,h' k_h / sqrt(d)) . (K + P) + c_h
    c_h = b_q,h . k_h / sqrt(d)
    K  += sum_h softmax(score_h)' (v_h W_o,h') + b_o

and b_o is shared out among the heads' values: each head's weights sum to one. Softmax over tokens
does not see what a head's tokens have in common either, so rows and constants are centred first:
these scores are where reduced precision costs masks most of their accuracy, and small ones are
rounded less. For the same reason this softmax is taken in float32.

Either way the image enters two products, of N x C x (heads * T) each, where upstream makes two of
N x C x C/2 before it attends. Rows of scores are ordered (head, token).

**Transposed convolutions** of kernel = stride = 2 touch each input once (`as_linear`): a linear map
from C channels to 2 x 2 x C'. **Convolutions** of kernel = stride make each output from inputs of
its own (`PatchConv`).

**Norms over channels** first take the channels' mean off. A linear map before them can have none of
its own (`PatchConv` has none); dividing by the root of the mean square remains (`RmsNorm`). With
four or sixteen channels, along the positions, that takes a fraction of the time of torch's
LayerNorm.

Tokens stay float32 whatever the image is computed in: they are few, small float32 products are the
faster ones on a CPU, and masks keep more of their accuracy.
"""

import math

import torch
from torch import Tensor, nn

from server.engine.models.upstream import Attention, LayerNorm2d

__all__ = [
    "ImageToToken",
    "PatchConv",
    "RmsNorm",
    "TokenToImage",
    "as_linear",
]


class TokenToImage(nn.Module):
    """Tokens attending to the image."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads: int = attention.num_heads
        self.query = _scaled(attention.q_proj, self.heads)
        self.key = nn.Parameter(_split(attention.k_proj.weight, self.heads))
        self.value = nn.Parameter(_split(attention.v_proj.weight, self.heads).transpose(1, 2))
        out = attention.out_proj
        self.out = _linear(out.weight, out.bias + out.weight @ attention.v_proj.bias)

    def forward(self, tokens_pe: Tensor, keys_pe: Tensor, keys: Tensor) -> Tensor:
        """What BxTxC tokens gain from the image.

        Args:
            tokens_pe: BxTxC, the tokens with their own positions.
            keys_pe: BxNxC, keys + positions.
            keys: BxNxC.
        """
        batch = tokens_pe.shape[0]
        rows = _rows(torch.bmm(_by_head(self.query(tokens_pe), self.heads), self.key), batch)
        scores = torch.bmm(rows.to(keys.dtype), keys_pe.transpose(1, 2))
        read = torch.bmm(scores.softmax(dim=-1), keys).to(tokens_pe.dtype)
        gained: Tensor = self.out(_joined(torch.bmm(_unrows(read, self.heads), self.value), batch))
        return gained


class ImageToToken(nn.Module):
    """The image attending to the tokens."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads: int = attention.num_heads
        self.key = _scaled(attention.k_proj, self.heads)
        self.query = nn.Parameter(_split(attention.q_proj.weight, self.heads))
        self.constant = nn.Parameter(attention.q_proj.bias.view(self.heads, -1, 1))
        self.value = _linear(attention.v_proj.weight, attention.v_proj.bias)
        out = attention.out_proj
        self.out = nn.Parameter(_split(out.weight.t(), self.heads))
        self.share = nn.Parameter(out.bias / self.heads)

    def forward(
        self,
        tokens: Tensor,
        tokens_pe: Tensor,
        attn_mask: Tensor,
        keys_pe: Tensor,
        keys: Tensor,
    ) -> Tensor:
        """BxNxC keys after every position added what it took from the tokens.

        Args:
            tokens: BxTxC.
            tokens_pe: BxTxC, the tokens with their own positions.
            attn_mask: BxT, -inf for a token nobody may see, else 0.
            keys_pe: BxNxC, keys + positions.
            keys: BxNxC.
        """
        batch, count, _ = tokens.shape
        found = _by_head(self.key(tokens_pe), self.heads)
        rows = _centred(_rows(torch.bmm(found, self.query), batch), self.heads)
        constants = _centred(_rows(torch.bmm(found, self.constant), batch), self.heads)
        constants = constants + attn_mask.repeat(1, self.heads).unsqueeze(-1)
        scores = torch.bmm(rows.to(keys.dtype), keys_pe.transpose(1, 2)) + constants
        weights = scores.view(batch, self.heads, count, -1).softmax(dim=2).view_as(scores)
        values = torch.bmm(_by_head(self.value(tokens), self.heads), self.out) + self.share
        values = _rows(values, batch)
        return torch.baddbmm(keys, weights.to(keys.dtype).transpose(1, 2), values.to(keys.dtype))


class PatchConv(nn.Module):
    """A convolution of kernel = stride, less its outputs' mean: Bx(C*k*k)xN inputs to BxC'xN."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        if convolution.kernel_size != convolution.stride:
            raise ValueError(f"expected kernel = stride, got {convolution}")
        weight = convolution.weight.detach().flatten(1)
        bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias
        self.weight = nn.Parameter(weight - weight.mean(0))
        self.bias = nn.Parameter((bias - bias.mean()).detach().unsqueeze(-1))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs in the order channel, row, column; N wherever they come from."""
        gathered: Tensor = self.weight @ x + self.bias
        return gathered


class RmsNorm(nn.Module):
    """What is left of upstream's LayerNorm2d where the channels' mean is zero already."""

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.detach().clone().unsqueeze(-1))
        self.bias = nn.Parameter(norm.bias.detach().clone().unsqueeze(-1))
        self.eps: float = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """BxCxN to the same."""
        root = (x.square().mean(dim=1, keepdim=True) + self.eps).rsqrt()
        return x * root * self.weight + self.bias


def as_linear(convolution: nn.ConvTranspose2d) -> nn.Linear:
    """A 2x2, stride 2 transposed convolution as a linear map from C to 2 x 2 x C' channels."""
    if convolution.kernel_size != (2, 2) or convolution.stride != (2, 2):
        raise ValueError(f"expected kernel and stride of 2, got {convolution}")
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias.repeat(4)
    return _linear(weight, bias)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """BxTx(heads*d) to headsx(B*T)xd."""
    return x.view(-1, heads, x.shape[-1] // heads).transpose(0, 1)


def _joined(x: Tensor, batch: int) -> Tensor:
    """Heads x(B*T)xd to BxTx(heads*d)."""
    return x.transpose(0, 1).reshape(batch, -1, x.shape[0] * x.shape[-1])


def _rows(x: Tensor, batch: int) -> Tensor:
    """Heads x(B*T)xC to Bx(heads*T)xC; without a copy where B is 1."""
    heads, _, channels = x.shape
    return x.view(heads, batch, -1, channels).transpose(0, 1).reshape(batch, -1, channels)


def _unrows(x: Tensor, heads: int) -> Tensor:
    """Bx(heads*T)xC to headsx(B*T)xC."""
    batch, _, channels = x.shape
    return x.view(batch, heads, -1, channels).transpose(0, 1).reshape(heads, -1, channels)


def _centred(x: Tensor, heads: int) -> Tensor:
    """Bx(heads*T)xC less the mean over each head's tokens."""
    batch, count, channels = x.shape
    x = x.view(batch, heads, -1, channels)
    return (x - x.mean(dim=2, keepdim=True)).view(batch, count, channels)


def _split(weight: Tensor, heads: int) -> Tensor:
    """A (heads*d)xC matrix as headsxdxC."""
    return weight.reshape(heads, -1, weight.shape[1])


def _scaled(projection: nn.Linear, heads: int) -> nn.Linear:
    """The projection with the scores' 1/sqrt(d) in it."""
    scale = 1 / math.sqrt(projection.out_features // heads)
    return _linear(projection.weight * scale, projection.bias * scale)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear
