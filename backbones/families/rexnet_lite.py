"""ReXNet-lite: ReXNet without squeeze-and-excitation and SiLU, channels divisible by 8, a second layer in the head.

Source: clovaai/rexnet, rexnetv1_lite.py and README.md, by the authors of Han, Yun, Heo, Yoo, "Rethinking Channel
Dimensions for Efficient Model Design", CVPR 2021; the paper itself has no such model. Blocks and strides are ReXNet's.
"""

from functools import partial

import torch
from timm.layers import ClassifierHead, ConvNormAct, make_divisible
from timm.models._efficientnet_builder import efficientnet_init_weights
from torch import Tensor, nn

from backbones.entry import Channels, Entry, Published, channels_of
from backbones.families.rexnet import PENULTIMATE_CHANNELS, STAGES, STEM_CHANNELS

FIRST_CHANNELS, GROWTH = 16, 164  # of the first block, and from it to the last
HEAD_CHANNELS = 1024
_STRIDES = [stride if index == 0 else 1 for blocks, stride, _, _ in STAGES for index in range(blocks)]
_EXPANSIONS = [expansion for blocks, _, expansion, _ in STAGES for _ in range(blocks)]
# The last block of each of C1..C5.
_LAST_BLOCKS = [*(index - 1 for index, stride in enumerate(_STRIDES) if stride == 2), len(_STRIDES) - 1]
_conv = partial(ConvNormAct, act_layer=nn.ReLU6)


def lite_channels(width: float) -> list[int]:
    """Return the output channels of every block: linear in its index, then divisible by 8."""
    last = len(_STRIDES) - 1
    return [make_divisible(round(width * (FIRST_CHANNELS + GROWTH * index / last)), 8) for index in range(last + 1)]


class LinearBottleneck(nn.Module):
    """Expand by 1x1, depthwise 3x3, project by 1x1; ReLU6 after the first two.

    Where the stride is 1 the input is added onto the first channels of the output, since the block widens.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.use_shortcut = stride == 1 and in_channels <= channels
        hidden = in_channels * expansion
        self.expand = _conv(in_channels, hidden, 1) if expansion != 1 else nn.Identity()
        self.depthwise = _conv(hidden, hidden, 3, stride, groups=hidden)
        self.project = _conv(hidden, channels, 1, apply_act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.project(self.depthwise(self.expand(x)))
        if self.use_shortcut:
            kept = x.shape[1]
            out = torch.cat([out[:, :kept] + x, out[:, kept:]], dim=1)
        return out


class ReXNetLite(nn.Module):
    """ReXNet-lite of a width multiplier of 1 or more (1.0, 1.3, 1.5 and 2.0 in its authors' code).

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    def __init__(self, width: float = 1.0, num_classes: int = 1000, drop_rate: float = 0.2) -> None:
        super().__init__()
        in_channels = make_divisible(round(STEM_CHANNELS * width), 8)
        self.stem = _conv(3, in_channels, 3, stride=2)
        self.features = nn.Sequential()
        for channels, stride, expansion in zip(lite_channels(width), _STRIDES, _EXPANSIONS, strict=True):
            self.features.append(LinearBottleneck(in_channels, channels, stride, expansion))
            in_channels = channels
        self.num_features = int(PENULTIMATE_CHANNELS * width)
        self.features.append(_conv(in_channels, self.num_features, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.pre_logits = _conv(self.num_features, HEAD_CHANNELS, 1, bias=True)
        self.head = ClassifierHead(HEAD_CHANNELS, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": chs, "reduction": 2**level, "module": f"features.{block}"}
            for level, (chs, block) in enumerate(zip(_pyramid(width), _LAST_BLOCKS, strict=True), start=1)
        ]
        efficientnet_init_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to the last 1x1 convolution's output (N, 1280 * width, H / 32, W / 32)."""
        return self.features(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.pre_logits(self.pool(self.forward_features(x))))


def _pyramid(width: float) -> Channels:
    channels = lite_channels(width)
    return channels_of(channels[block] for block in _LAST_BLOCKS)


def _entry(width: float, params: float, macs: float) -> Entry:
    """Return the entry of a width. SSDLite taps the expansion of the first block at stride 32."""
    channels = _pyramid(width)
    expanding = _LAST_BLOCKS[3] + 1
    taps = (
        (f"features.{expanding}.expand", channels[3] * _EXPANSIONS[expanding]),
        (f"features.{len(_STRIDES)}", int(PENULTIMATE_CHANNELS * width)),
    )
    paper = "Han et al., Rethinking Channel Dimensions for Efficient Model Design, CVPR 2021, in its code alone"
    published = Published(params, macs, "the authors' code, clovaai/rexnet, README.md")
    return Entry(partial(ReXNetLite, width), paper, channels, taps, published=published)


ROWS = {
    "rexnet_lite_x1.0": _entry(1.0, 4.7, 0.41),
    "rexnet_lite_x1.3": _entry(1.3, 6.8, 0.65),
    "rexnet_lite_x1.5": _entry(1.5, 8.3, 0.84),
    "rexnet_lite_x2.0": _entry(2.0, 13, 1.5),
}
