"""1x1 convolutions with a stride and few input channels, in a form that PyTorch can train on a CPU.

In channels_last the backward pass of such a convolution with fewer than 16 input channels writes outside its memory
(PyTorch 2.15 with oneDNN): the process dies in it or later. MobileOne, FastViT and the cell networks have some.
"""

from torch import Tensor, nn
from torch.nn import functional as F

_FEW = 16  # channels


class SubsampledConv2d(nn.Conv2d):
    """A 1x1 convolution of every stride-th pixel: the sums of one with that stride."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight, self.bias)


def subsample_narrow(net: nn.Module) -> nn.Module:
    """Give the convolutions of a network that cannot be trained on a CPU their other form, in place, and return it.

    Names and shapes of weights stay as they are.
    """
    for module in net.modules():
        if (
            type(module) is nn.Conv2d
            and module.kernel_size == (1, 1)
            and module.stride != (1, 1)
            and module.padding == (0, 0)
            and module.groups == 1
            and module.in_channels < _FEW
        ):
            module.__class__ = SubsampledConv2d
    return net
