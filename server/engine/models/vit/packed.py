"""Linear layers whose weights are laid out once as a CPU's products read them.

A product of few rows spends up to a third of its time bringing the weights into the order that its
kernel wants, anew at every call; an encode in short steps is made of such products. oneDNN takes
weights in that order, for any number of rows. torch offers that to its compiler alone: the
operators are private, and where they are missing layers stay as they are.
"""

import logging

import torch
from torch import Tensor, nn

from server.engine.models.upstream import MLPBlock

__all__ = ["PackedLinear", "pack_linears"]

log = logging.getLogger(__name__)

_operators = torch.ops.mkldnn


class PackedLinear(nn.Module):
    """Stands in for a linear layer, for inference. It keeps the packed weight alone.

    Args:
        linear: on a CPU.
        rows: that a call will usually have; any number may come.
        gelu: whether its answers go through GELU, while they are still at hand.

    Raises:
        RuntimeError, AttributeError: this torch, or this processor in this dtype, packs nothing.
    """

    def __init__(self, linear: nn.Linear, rows: int, *, gelu: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        # What follows, and which GELU: the exact one.
        self._then = ("gelu", "none") if gelu else ("none", "")
        with torch.inference_mode():
            self._packed = _operators._reorder_linear_weight(linear.weight, rows)  # noqa: SLF001
            self(linear.weight[:1])  # what it cannot multiply is found out now

    def forward(self, x: Tensor) -> Tensor:
        """...xI to ...xO."""
        multiply = _operators._linear_pointwise  # noqa: SLF001
        then, which = self._then
        product: Tensor = multiply(x, self._packed, self.bias, then, [], which)
        return product


def pack_linears(network: nn.Module, rows: int) -> None:
    """Replace each linear layer of a network on a CPU by a packed one, where this torch can.

    The GELU between the two of an MLP is made part of the first.

    Args:
        network: for inference from now on.
        rows: that a product will usually have.
    """
    # Names, not layers: each plain weight is let go before the next is packed.
    found = [
        (parent, name)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.Linear)
    ]
    if not (found and _packs(getattr(*found[0]).weight.dtype)):
        return
    for parent, name in found:
        gelu = isinstance(parent, MLPBlock) and name == "lin1" and _is_exact(parent.act)
        setattr(parent, name, PackedLinear(getattr(parent, name), rows, gelu=gelu))
        if gelu:
            parent.act = nn.Identity()


def _is_exact(activation: nn.Module) -> bool:
    return isinstance(activation, nn.GELU) and activation.approximate == "none"


def _packs(dtype: torch.dtype) -> bool:
    try:
        PackedLinear(nn.Linear(8, 8, dtype=dtype), 1, gelu=True)
    except (RuntimeError, AttributeError) as refusal:
        log.info("weights stay unpacked, images will take longer: %s", refusal)
        return False
    return True
