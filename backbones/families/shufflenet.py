"""ShuffleNet: units whose grouped or split branches talk through a shuffle of the channels.

Sources: V1, Zhang, Zhou, Lin, Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
Devices", CVPR 2018, figure 2 (units) and table 1 (layout). V2, Ma, Zhang, Zheng, Sun, "ShuffleNet V2: Practical
Guidelines for Efficient CNN Architecture Design", ECCV 2018, figure 3 c and d (units) and table 5 (layout).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from timm.layers import ClassifierHead, ConvNormAct
from torch import Tensor, nn
from torchvision.models import get_model_weights

from backbones.entry import Entry, Preprocessing, Published, channels_of

_V1 = "Zhang et al., ShuffleNet, CVPR 2018"
_V2 = "Ma et al., ShuffleNet V2, ECCV 2018"

UNITS = (4, 8, 4)  # of stages 2, 3 and 4, the first of each with stride 2
# V1, table 1: output channels of stages 2, 3 and 4 by the number of groups, all for about 140M multiply-adds
V1_CHANNELS = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
# V1: output channels of the stem by width multiplier, as the authors' code has them: x1.5 keeps those of x1.0
V1_STEM = {0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
V1_BOTTLENECK = 4  # a unit's inner channels are its output's divided by this
# V2, table 5: output channels of stages 2, 3 and 4, and of the last 1x1 convolution, by width multiplier
V2_CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
V2_STEM = 24


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of every group out to all groups (V1, section 3.1): (N, C, H, W) keeps its shape."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(batch, channels, height, width)  # from (N, C / groups, groups, H, W)


class UnitV1(nn.Module):
    """Grouped 1x1, depthwise 3x3, shuffle, grouped 1x1; added to the input, or beside it at stride 2 (V1, figure 2).

    The figure has the shuffle before the depthwise convolution, which is the same network with its channels in another
    order. Place and order are those of the authors' code (megvii-model/ShuffleNet-Series), whose weights need them.

    Args:
        reduce_groups: groups of the first 1x1 convolution.
        groups: groups of the second one, and of the shuffle.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, groups: int, reduce_groups: int) -> None:
        super().__init__()
        self.groups = groups
        inner = channels // V1_BOTTLENECK
        branch = channels if stride == 1 else channels - in_channels
        self.reduce = ConvNormAct(in_channels, inner, 1, groups=reduce_groups)
        self.depthwise = ConvNormAct(inner, inner, 3, stride, groups=inner, apply_act=False)
        self.expand = ConvNormAct(inner, branch, 1, groups=groups, apply_act=False)
        self.shortcut = nn.Identity() if stride == 1 else nn.AvgPool2d(3, stride, padding=1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.depthwise(self.reduce(x))
        # The code sends channel a * groups + g to g * (channels / groups) + a.
        out = self.expand(channel_shuffle(out, out.shape[1] // self.groups))
        if self.stride == 1:
            return (self.shortcut(x) + out).relu()
        return torch.cat([self.shortcut(x), out.relu()], dim=1)


class UnitV2(nn.Module):
    """Half the channels pass a 1x1, depthwise 3x3, 1x1 branch, then all are shuffled (V2, figure 3 c and d).

    At stride 2 both branches see the whole input, and the other one is a depthwise 3x3 and a 1x1 convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.splits = stride == 1
        half = channels // 2
        self.side = (
            nn.Identity()
            if self.splits
            else nn.Sequential(
                ConvNormAct(in_channels, in_channels, 3, stride, groups=in_channels, apply_act=False),
                ConvNormAct(in_channels, half, 1),
            )
        )
        self.branch = nn.Sequential(
            ConvNormAct(half if self.splits else in_channels, half, 1),
            ConvNormAct(half, half, 3, stride, groups=half, apply_act=False),
            ConvNormAct(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        left, right = x.chunk(2, dim=1) if self.splits else (x, x)
        return channel_shuffle(torch.cat([self.side(left), self.branch(right)], dim=1), 2)


class ShuffleNet(nn.Module):
    """The skeleton of both versions: stem, pooling, three stages of units, perhaps a last 1x1 convolution, classifier.

    Args:
        channels: output channels of the stem and of the stages.
        first_unit: builds the first unit of all from (input channels, output channels, stride).
        unit: builds the others.
        last_channels: of the last 1x1 convolution, None without one.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.
        head_bias: whether the classifier has a bias.

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    stage2: nn.Module
    stage3: nn.Module
    stage4: nn.Module

    def __init__(
        self,
        channels: Sequence[int],
        first_unit: Callable[[int, int, int], nn.Module],
        unit: Callable[[int, int, int], nn.Module],
        last_channels: int | None,
        num_classes: int,
        drop_rate: float,
        head_bias: bool,
    ) -> None:
        super().__init__()
        stem, *stages = channels
        self.stem = ConvNormAct(3, stem, 3, stride=2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        in_channels, build = stem, first_unit
        for number, (units, out_channels) in enumerate(zip(UNITS, stages, strict=True), start=2):
            stage = nn.Sequential(build(in_channels, out_channels, 2))
            stage.extend(unit(out_channels, out_channels, 1) for _ in range(units - 1))
            self.add_module(f"stage{number}", stage)
            in_channels, build = out_channels, unit
        self.num_features = last_channels or in_channels
        self.last = ConvNormAct(in_channels, last_channels, 1) if last_channels else nn.Identity()
        self.head = ClassifierHead(self.num_features, num_classes, drop_rate=drop_rate)
        if not head_bias:
            self.head.fc = nn.Linear(self.num_features, num_classes, bias=False)
        modules = ("stem", "pool", "stage2", "stage3", "stage4")
        self.feature_info = [
            {"num_chs": chs, "reduction": 2**level, "module": module}
            for level, (chs, module) in enumerate(zip((stem, *channels), modules, strict=True), start=1)
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, num_features, H / 32, W / 32)."""
        x = self.pool(self.stem(x))  # stride 4
        return self.last(self.stage4(self.stage3(self.stage2(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.forward_features(x))


def v1_channels(groups: int, width: float) -> tuple[int, ...]:
    """Return the output channels of V1's stem and stages.

    The stem's are a multiple of the groups: the last convolution of stage 2's first unit has as many channels as the
    stage less the stem, in groups.
    """
    stem = math.ceil(V1_STEM[width] / groups) * groups
    return (stem, *(int(width * stage) for stage in V1_CHANNELS[groups]))


def shufflenet_v1(groups: int = 3, width: float = 1.0, num_classes: int = 1000, drop_rate: float = 0.0) -> ShuffleNet:
    """Build ShuffleNet V1 of a number of groups and a width multiplier; its classifier has no bias.

    The very first 1x1 convolution has no groups, since it has few input channels (section 3.2).
    """
    channels = v1_channels(groups, width)
    unit = partial(UnitV1, groups=groups)
    first, others = partial(unit, reduce_groups=1), partial(unit, reduce_groups=groups)
    return ShuffleNet(channels, first, others, None, num_classes, drop_rate, head_bias=False)


def shufflenet_v2(width: float = 1.0, num_classes: int = 1000, drop_rate: float = 0.0) -> ShuffleNet:
    """Build ShuffleNet V2 of a width multiplier."""
    *stages, last = V2_CHANNELS[width]
    return ShuffleNet((V2_STEM, *stages), UnitV2, UnitV2, last, num_classes, drop_rate, head_bias=True)


def _v1(groups: int, width: float, published: Published) -> Entry:
    stem, *stages = v1_channels(groups, width)
    taps = (("stage3", stages[1]), ("stage4", stages[2]))
    return Entry(
        partial(shufflenet_v1, groups, width), _V1, channels_of((stem, stem, *stages)), taps, published=published
    )


def _v2(width: float, params: float, macs: float) -> Entry:
    """Return the entry of a width, whose weights are torchvision's: the same tensors in the same order."""
    *stages, last = V2_CHANNELS[width]
    weights = get_model_weights(f"shufflenet_v2_x{width}".replace(".", "_")).DEFAULT
    return Entry(
        partial(shufflenet_v2, width),
        _V2,
        channels_of((V2_STEM, V2_STEM, *stages)),
        (("stage3", stages[1]), ("last", last)),
        preprocessing=Preprocessing(interpolation="bilinear"),
        url=weights.url,
        licence="bsd-3-clause",
        published=Published(params, macs, "paper, table 5"),
    )


_CODE = "the authors' code, megvii-model/ShuffleNet-Series, ShuffleNetV1/README.md"
_MIXED = "multiply-adds: paper, table 1; params: osmr/imgclsmob, gluon/README.md, with a bias in the classifier"
ROWS = {
    "shufflenet_v1_g1_x1.0": _v1(1, 1.0, Published(1.532, 0.143, _MIXED)),
    "shufflenet_v1_g2_x1.0": _v1(2, 1.0, Published(1.734, 0.140, _MIXED)),
    "shufflenet_v1_g3_x0.5": _v1(3, 0.5, Published(0.7, 0.038, _CODE)),
    "shufflenet_v1_g3_x1.0": _v1(3, 1.0, Published(1.9, 0.138, _CODE)),
    "shufflenet_v1_g3_x1.5": _v1(3, 1.5, Published(3.4, 0.292, _CODE)),
    "shufflenet_v1_g3_x2.0": _v1(3, 2.0, Published(5.4, 0.524, _CODE)),
    "shufflenet_v1_g4_x1.0": _v1(4, 1.0, Published(1.968, 0.133, _MIXED)),
    "shufflenet_v1_g8_x0.5": _v1(8, 0.5, Published(1.0, 0.040, _CODE)),
    "shufflenet_v1_g8_x1.0": _v1(8, 1.0, Published(2.4, 0.138, _CODE)),
    "shufflenet_v1_g8_x1.5": _v1(8, 1.5, Published(4.3, 0.290, _CODE)),
    "shufflenet_v1_g8_x2.0": _v1(8, 2.0, Published(6.5, 0.522, _CODE)),
    "shufflenet_v2_x0.5": _v2(0.5, 1.4, 0.041),
    "shufflenet_v2_x1.0": _v2(1.0, 2.3, 0.146),
    "shufflenet_v2_x1.5": _v2(1.5, 3.5, 0.299),
    "shufflenet_v2_x2.0": _v2(2.0, 7.4, 0.591),
}
