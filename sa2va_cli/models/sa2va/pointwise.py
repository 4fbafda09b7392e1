"""1x1 convolutions as matrix products.

They compute the same, but as convolutions the processor's libraries sum in an order that depends on
the number of threads. (On some processors products of small matrices do so, too.)
"""

from torch import Tensor, nn
from torch.nn import functional as F


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution: each pixel's channels through one matrix."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)."""
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(
            0, 3, 1, 2
        )


def make_pointwise(module: nn.Module) -> None:
    """Replace every plain 1x1 convolution inside, on the device that is the default."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d and child.kernel_size == (1, 1) and child.stride == (1, 1):
                setattr(parent, name, PointwiseConv(child.in_channels, child.out_channels))
