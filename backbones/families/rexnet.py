"""ReXNet: MobileNetV2's inverted bottlenecks with channels that grow linearly with the block index.

Source: Han, Yun, Heo, Yoo, "Rethinking Channel Dimensions for Efficient Model Design", CVPR 2021, section 4.3
(the linear rule) and the appendix's Table A (expansion, stride, kernel and SE of every block).

Modules carry the names that timm's ``RexNet`` gives them, so a state dict of one loads into the other.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from timm.layers import ClassifierHead
from torch import Tensor, nn

from backbones.entry import Channels, Entry, channels_of

STEM_CHANNELS = 32
PENULTIMATE_CHANNELS = 1280
SE_REDUCTION = 12
_PAPER = "Han et al., Rethinking Channel Dimensions for Efficient Model Design, CVPR 2021"
# (number of blocks, stride of the first, expansion ratio, squeeze-and-excitation), stage by stage
STAGES: Sequence[tuple[int, int, int, bool]] = (
    (1, 1, 1, False),
    (2, 2, 6, False),
    (2, 2, 6, True),
    (3, 2, 6, True),
    (3, 1, 6, True),
    (5, 2, 6, True),
)


def linear_channels(width: float, blocks: int = 16, first: int = 16, growth: float = 180.0) -> list[int]:
    """Return the output channels of every block: a linear function of the block index (paper, section 4.3).

    Block ``i`` has ``round(width * (first + growth * i / blocks))`` channels. A width below 1 scales the slope alone:
    the first block keeps its ``first`` channels, as the stem does.
    """
    base = first / min(width, 1.0)
    channels = []
    for _ in range(blocks):
        channels.append(round(base * width))
        base += growth / blocks
    return channels


def pyramid_channels(width: float) -> Channels:
    """Return the channels of C1..C5: the last block before each halving, and the last block of all."""
    channels = linear_channels(width)
    return channels_of(channels[i] for i in _last_blocks_of_strides())


def _last_blocks_of_strides() -> list[int]:
    ends, index = [], -1
    for blocks, stride, _, _ in STAGES:
        if stride == 2:
            ends.append(index)
        index += blocks
    return [*ends, index]


class ConvNormAct(nn.Module):
    """Convolution without bias, batch normalisation, and an optional activation."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.act = nn.SiLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        return self.act(self.bn(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation with a normalised bottleneck, as the authors' code has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = channels // SE_REDUCTION
        self.fc1 = nn.Conv2d(channels, reduced, 1)
        self.bn = nn.BatchNorm2d(reduced)
        self.fc2 = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (N, C, H, W) by gates in 0..1."""
        gate = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        gate = self.fc2(self.bn(self.fc1(gate)).relu())
        return x * gate.sigmoid()


class LinearBottleneck(nn.Module):
    """Expand by 1x1, depthwise 3x3, squeeze-and-excite, project by 1x1 (paper, section 4.3).

    SiLU follows the expansion, ReLU6 the depthwise convolution. Where the stride is 1 the input is added onto the
    first channels of the output, since the block widens.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int, se: bool) -> None:
        super().__init__()
        self.use_shortcut = stride == 1 and in_channels <= channels
        hidden = in_channels * expansion
        self.conv_exp = ConvNormAct(in_channels, hidden) if expansion != 1 else None
        self.conv_dw = ConvNormAct(hidden, hidden, 3, stride, groups=hidden, act=False)
        self.se = SqueezeExcite(hidden) if se else None
        self.act_dw = nn.ReLU6(inplace=True)
        self.conv_pwl = ConvNormAct(hidden, channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.conv_exp(x) if self.conv_exp is not None else x
        out = self.conv_dw(out)
        if self.se is not None:
            out = self.se(out)
        out = self.conv_pwl(self.act_dw(out))
        if self.use_shortcut:
            kept = x.shape[1]
            out = torch.cat([out[:, :kept] + x, out[:, kept:]], dim=1)
        return out


class ReXNet(nn.Module):
    """ReXNet of a given width multiplier (0.9, 1.0, 1.3, 1.5, 2.0, 2.2 and 3.0 in the paper and its code).

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    def __init__(self, width: float = 1.0, num_classes: int = 1000, drop_rate: float = 0.2) -> None:
        super().__init__()
        in_channels = round(STEM_CHANNELS * max(width, 1.0))
        self.stem = ConvNormAct(3, in_channels, 3, stride=2)
        features: list[nn.Module] = []
        channels = iter(linear_channels(width))
        for blocks, stage_stride, expansion, se in STAGES:
            for index in range(blocks):
                out_channels = next(channels)
                stride = stage_stride if index == 0 else 1
                features.append(LinearBottleneck(in_channels, out_channels, stride, expansion, se))
                in_channels = out_channels
        self.num_features = int(PENULTIMATE_CHANNELS * width)
        self.features = nn.Sequential(*features, ConvNormAct(in_channels, self.num_features))
        self.head = ClassifierHead(self.num_features, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": chs, "reduction": 2 ** (level + 1), "module": f"features.{block}"}
            for level, (chs, block) in enumerate(zip(pyramid_channels(width), _last_blocks_of_strides(), strict=True))
        ]
        self.apply(_init_weights)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to the last 1x1 convolution's output (N, 1280 * width, H / 32, W / 32)."""
        return self.features(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.forward_features(x))


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def _rexnet(width: float, timm: str | None = None) -> Entry:
    """Return the entry of a width; its channels follow from the specification above.

    SSDLite taps the expansion of the first block at stride 32, before its depthwise convolution.
    """
    channels, first_at_stride_32 = linear_channels(width), _last_blocks_of_strides()[3] + 1
    expanded = channels[first_at_stride_32 - 1] * STAGES[-1][2]
    taps = ((f"features.{first_at_stride_32}.conv_exp", expanded), ("features.16", int(PENULTIMATE_CHANNELS * width)))
    return Entry(
        partial(ReXNet, width), _PAPER, pyramid_channels(width), taps, timm=timm, licence="mit" if timm else None
    )


ROWS = {
    "rexnet_x0.9": _rexnet(0.9),
    "rexnet_x1.0": _rexnet(1.0, "rexnet_100"),
    "rexnet_x1.3": _rexnet(1.3, "rexnet_130"),
    "rexnet_x1.5": _rexnet(1.5, "rexnet_150"),
    "rexnet_x2.0": _rexnet(2.0, "rexnet_200"),
    "rexnet_x2.2": _rexnet(2.2),
    "rexnet_x3.0": _rexnet(3.0, "rexnet_300"),
}
