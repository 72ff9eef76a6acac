"""Convolutions with batch norms, the material of the bundled model's own networks."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["ConvNorm", "ResidualBlock", "fold_norms"]


class ConvNorm(nn.Sequential):
    """A convolution and its batch norm, which `fold` makes one."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs))

    def fold(self) -> None:
        """Put the norm's scale and shift into the convolution. Only for inference."""
        conv, norm = self
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            self[0] = fuse_conv_bn_eval(conv, norm)
            self[1] = nn.Identity()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to the same."""
        return F.relu(x + self.second(F.relu(self.first(x))))


def fold_norms(network: nn.Module) -> None:
    """Put every norm of a network into its convolution. Only for inference."""
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.fold()
