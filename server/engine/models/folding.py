"""The algebra of the folded decoder: upstream's weights in, fewer and smaller products out.

Upstream projects the image for every attention between tokens and image. Tokens are few (T: 8 to
16), image positions many (N: 4096), so it is cheaper to push the tokens through the transposed
projections and to meet the image unprojected. Exact, whatever the weights.

Notation: tokens t, image features K (N x C), positions P (N x C), heads h of width d, projections
W (out x in) with biases b, transposes '.

**Tokens read the image** (`Read`). Upstream: queries W_q t + b_q, keys W_k (K + P) + b_k, values
W_v K + b_v: two products of N x C x C/2. Folded:

    score_h = (W_q,h t + b_q,h) . (W_k,h (K + P) + b_k,h) / sqrt(d)
            = (A_h t + a_h) . (K + P) + const       A_h = W_k,h' W_q,h / sqrt(d)
    out     = sum_h W_o,h (W_v,h K' softmax(score_h) + b_v,h) + b_o
            = sum_h V_h (K' softmax(score_h)) + v   V_h = W_o,h W_v,h

The constant is the token's, not the position's: softmax over positions drops it, and b_k with it.
Softmax sums to one, so b_v passes unweighted: v = W_o b_v + b_o.

**Tokens write to the image** (`Write`): upstream's image-to-token attention, roles exchanged. Now
softmax runs over tokens, so a token's constant counts:

    score_h = (A_h t + a_h) . (K + P) + (c_h . t + e_h)      A_h = W_q,h' W_k,h / sqrt(d)
    K      += sum_h softmax(score_h)' (V_h t + v_h)          V_h = W_o,h W_v,h

with v_h = W_o,h b_v,h + b_o / heads: each head's weights sum to one, so the shares of b_o add up.

Rows of the score matrix are ordered (token, head), as the linear leaves them: no head is ever
transposed. One attention is a linear on tokens, a product with K + P, a softmax, a product with
(or into) K, a linear on tokens.

**Transposed convolutions** of kernel = stride = 2 touch each input once (`spread`): a linear map
from C channels to 2 x 2 x C'. Products of weights are formed in float64 and rounded once.
"""

import math

import torch
from torch import Tensor, nn

from server.engine.models.upstream import Attention

__all__ = ["Read", "Write", "spread"]


class Read(nn.Module):
    """Tokens attending to the image."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.score, _ = _fold_scores(attention.q_proj, attention.k_proj, attention.num_heads)
        v, o = _double(attention.v_proj), _double(attention.out_proj)
        # C x (heads * C): what each head read from the image, turned into what a token gains.
        weight = torch.cat(_fold_values(attention), dim=1)
        self.gain = _linear(weight, o.weight @ v.bias + o.bias)

    def forward(self, tokens: Tensor, placed: Tensor, keys: Tensor) -> Tensor:
        """What BxTxC tokens gain from BxNxC keys, found by `placed` = keys + positions."""
        batch, count, channels = tokens.shape
        rows = self.score(tokens).view(batch, -1, channels)
        weights = torch.bmm(rows, placed.transpose(1, 2)).softmax(dim=-1)
        read = torch.bmm(weights, keys).view(batch, count, -1)
        gained: Tensor = self.gain(read)
        return gained


class Write(nn.Module):
    """The image attending to the tokens."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.score, self.constant = _fold_scores(
            attention.k_proj, attention.q_proj, attention.num_heads
        )
        v, o = _double(attention.v_proj), _double(attention.out_proj)
        # (heads * C) x C: what a token adds to the positions that look at it, head by head.
        weight = torch.cat(_fold_values(attention), dim=0)
        shares = _by_head(o.weight, self.heads, dim=1) @ v.bias.view(self.heads, -1, 1)
        bias = (shares.squeeze(-1) + o.bias / self.heads).flatten()
        self.value = _linear(weight, bias)

    def forward(
        self, tokens: Tensor, sought: Tensor, hidden: Tensor, placed: Tensor, keys: Tensor
    ) -> Tensor:
        """BxNxC keys after every position added what it took from the tokens.

        Args:
            tokens: BxTxC.
            sought: BxTxC, the tokens as they are looked for: with their own positions.
            hidden: BxT, -inf for a token nobody may see, else 0.
            placed: BxNxC, keys + positions.
            keys: BxNxC.
        """
        batch, count, channels = tokens.shape
        rows = self.score(sought).view(batch, -1, channels)
        scores = torch.bmm(rows, placed.transpose(1, 2)).view(batch, count, self.heads, -1)
        scores += (self.constant(sought) + hidden.unsqueeze(-1)).unsqueeze(-1)
        weights = scores.softmax(dim=1).view(batch, count * self.heads, -1)
        values = self.value(tokens).view(batch, -1, channels)
        return torch.baddbmm(keys, weights.transpose(1, 2), values)


def spread(convolution: nn.ConvTranspose2d) -> nn.Linear:
    """A 2x2, stride 2 transposed convolution as a linear map from C to 2 x 2 x C' channels."""
    if convolution.kernel_size != (2, 2) or convolution.stride != (2, 2):
        raise ValueError(f"expected kernel and stride of 2, got {convolution}")
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias.repeat(4)
    return _linear(weight, bias)


def _fold_scores(near: nn.Linear, far: nn.Linear, heads: int) -> tuple[nn.Linear, nn.Linear]:
    """Fold the image's projection `far` into the tokens' `near`.

    Returns the map from tokens to (heads * C) score rows, and that to each head's constant.
    """
    near, far = _double(near), _double(far)
    width = near.out_features // heads
    near_weight = _by_head(near.weight, heads, dim=0) / math.sqrt(width)
    near_bias = near.bias.view(heads, width, 1) / math.sqrt(width)
    far_weight = _by_head(far.weight, heads, dim=0).transpose(1, 2)
    far_bias = far.bias.view(heads, 1, width)
    rows = _linear((far_weight @ near_weight).flatten(0, 1), (far_weight @ near_bias).flatten())
    constant = _linear((far_bias @ near_weight).squeeze(1), (far_bias @ near_bias).flatten())
    return rows, constant


def _fold_values(attention: Attention) -> list[Tensor]:
    """W_o,h W_v,h (C x C) of each head."""
    outputs = _by_head(_double(attention.out_proj).weight, attention.num_heads, dim=1)
    values = _by_head(_double(attention.v_proj).weight, attention.num_heads, dim=0)
    return list(outputs @ values)


def _by_head(weight: Tensor, heads: int, dim: int) -> Tensor:
    """Split one dimension of a matrix into heads, heads first."""
    return torch.stack(weight.chunk(heads, dim=dim))


def _double(linear: nn.Linear) -> nn.Linear:
    double = nn.Linear(linear.in_features, linear.out_features, dtype=torch.float64)
    double.load_state_dict(linear.state_dict())
    return double


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear map of these weights, in float32."""
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear
