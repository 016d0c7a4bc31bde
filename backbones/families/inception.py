"""Inception: modules of parallel branches, without and with residual connections.

Sources: GoogLeNet, Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, figure 2b (module), table 1 (layout) and
figure 3 (normalisation). BN-Inception, Ioffe, Szegedy, "Batch Normalization", ICML 2015, figure 5 of the appendix.
Inception-ResNet-v1, Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, figures 7, 10 to 15 and table 1. Auxiliary classifiers, which serve training alone,
are left out.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import timm
import torch
from timm.layers import ClassifierHead
from timm.models.inception_v3 import InceptionB, InceptionD
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.entry import Entry, Preprocessing, Published, channels_of, last_taps
from backbones.families.classics import init_for_relus
from backbones.timm_models import timm_entry

BN_EPS = 1e-3
Kernel = int | tuple[int, int]


class Conv(Protocol):
    """Builds a convolution with what belongs to it."""

    def __call__(self, in_channels: int, channels: int, kernel: Kernel, stride: int = 1, /) -> nn.Module:
        """Take the kernel's side, or (height, width)."""


# GoogLeNet: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection. A 3x3 max pooling follows 3b and 4e.
GOOGLENET = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
GOOGLENET_LEVELS = (("conv1", 64), ("conv3", 192), ("inception3b", 480), ("inception4e", 832), ("inception5b", 1024))
# BN-Inception: 1x1; 3x3 reduce, 3x3; double 3x3 reduce, double 3x3; pooling; its projection. A module without a
# 1x1 branch has stride 2 and hands its pooled input on.
BN_INCEPTION = {
    "3a": (64, (64, 64), (64, 96), "avg", 32),
    "3b": (64, (64, 96), (64, 96), "avg", 64),
    "3c": (None, (128, 160), (64, 96), "max", None),
    "4a": (224, (64, 96), (96, 128), "avg", 128),
    "4b": (192, (96, 128), (96, 128), "avg", 128),
    "4c": (160, (128, 160), (128, 160), "avg", 128),
    "4d": (96, (128, 192), (160, 192), "avg", 128),
    "4e": (None, (128, 192), (192, 256), "max", None),
    "5a": (352, (192, 320), (160, 224), "avg", 128),
    "5b": (352, (192, 320), (192, 224), "max", 128),
}
BN_INCEPTION_LEVELS = (("conv1", 64), ("conv3", 192), ("inception3b", 320), ("inception4d", 608), ("inception5b", 1024))
# Inception-ResNet-v1: (channels, kernel) of the convolutions of every branch; the number of blocks; the scale of what
# they add
BLOCK_A = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (32, 3), (32, 3)))
BLOCK_B = (((128, 1),), ((128, 1), (128, (1, 7)), (128, (7, 1))))
BLOCK_C = (((192, 1),), ((192, 1), (192, (1, 3)), (192, (3, 1))))
REDUCTION_A = (((384, 3),), ((192, 1), (192, 3), (256, 3)))
REDUCTION_B = (((256, 1), (384, 3)), ((256, 1), (256, 3)), ((256, 1), (256, 3), (256, 3)))
BLOCKS = (5, 10, 5)
SCALES = (0.17, 0.10, 0.20)
INCEPTION_RESNET_LEVELS = (("conv3", 64), ("conv5", 192), ("a", 256), ("b", 896), ("c", 1792))

# timm's Inception-v3, Inception-v4 and Inception-ResNet-v2
INCEPTION_V3_LEVELS = (
    ("Conv2d_2b_3x3", 64),
    ("Conv2d_4a_3x3", 192),
    ("Mixed_5d", 288),
    ("Mixed_6e", 768),
    ("Mixed_7c", 2048),
)
INCEPTION_V4_LEVELS = (
    ("features.2", 64),
    ("features.3", 160),
    ("features.9", 384),
    ("features.17", 1024),
    ("features.21", 1536),
)
INCEPTION_RESNET_V2_LEVELS = (
    ("conv2d_2b", 64),
    ("conv2d_4a", 192),
    ("repeat", 320),
    ("repeat_1", 1088),
    ("conv2d_7b", 1536),
)


def conv_relu(in_channels: int, channels: int, kernel: Kernel, stride: int = 1) -> nn.Sequential:
    """Build a padded convolution with bias and a ReLU, as GoogLeNet has it."""
    return nn.Sequential(nn.Conv2d(in_channels, channels, kernel, stride, _same(kernel)), nn.ReLU(inplace=True))


def conv_bn_relu(
    in_channels: int, channels: int, kernel: Kernel, stride: int = 1, padding: Kernel | None = None
) -> nn.Sequential:
    """Build a convolution without bias, batch normalisation and a ReLU; padded to keep the size unless told."""
    padding = _same(kernel) if padding is None else padding
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(channels, eps=BN_EPS),
        nn.ReLU(inplace=True),
    )


def _same(kernel: Kernel) -> Kernel:
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


class Branches(nn.ModuleList):
    """Branches that all see the input; their outputs stand one beside another."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, sum of the branches' channels, H / stride, W / stride)."""
        return torch.cat([branch(x) for branch in self], dim=1)


def _googlenet_module(in_channels: int, spec: Sequence, conv: Conv, large: int) -> tuple[Branches, int]:
    """Return a module, whose 5x5 convolution has the kernel ``large``, and the number of its channels."""
    single, (reduce3, three), (reduce5, five), projected = spec
    branches = Branches(
        [
            conv(in_channels, single, 1),
            nn.Sequential(conv(in_channels, reduce3, 1), conv(reduce3, three, 3)),
            nn.Sequential(conv(in_channels, reduce5, 1), conv(reduce5, five, large)),
            nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(in_channels, projected, 1)),
        ]
    )
    return branches, single + three + five + projected


def _bn_inception_module(in_channels: int, spec: Sequence) -> tuple[Branches, int]:
    single, (reduce3, three), (reduce33, double), pooling, projected = spec
    stride = 1 if single else 2
    pool = nn.MaxPool2d(3, stride, padding=1) if pooling == "max" else nn.AvgPool2d(3, stride, padding=1)
    branches = [
        nn.Sequential(conv_bn_relu(in_channels, reduce3, 1), conv_bn_relu(reduce3, three, 3, stride)),
        nn.Sequential(
            conv_bn_relu(in_channels, reduce33, 1),
            conv_bn_relu(reduce33, double, 3),
            conv_bn_relu(double, double, 3, stride),
        ),
        nn.Sequential(pool, conv_bn_relu(in_channels, projected, 1)) if projected else pool,
    ]
    if single:
        branches.insert(0, conv_bn_relu(in_channels, single, 1))
    return Branches(branches), (single or 0) + three + double + (projected or in_channels)


class InceptionNet(nn.Module):
    """A sequence of modules whose last output is pooled and classified.

    Args:
        features: the modules by name.
        levels: (module, channels) of C1..C5.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    def __init__(
        self, features: nn.Sequential, levels: Sequence[tuple[str, int]], num_classes: int, drop_rate: float
    ) -> None:
        super().__init__()
        self.features = features
        self.num_features = levels[-1][1]
        self.head = ClassifierHead(self.num_features, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": channels, "reduction": 2**level, "module": f"features.{module}"}
            for level, (module, channels) in enumerate(levels, start=1)
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, num_features, H / 32, W / 32)."""
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.forward_features(x))


def googlenet(batch_norm: bool = False, num_classes: int = 1000, drop_rate: float = 0.4) -> InceptionNet:
    """Build GoogLeNet.

    Args:
        batch_norm: build torchvision's network instead, whose weights are public: batch normalisation for local
            response normalisation, 3x3 convolutions where the paper has 5x5, and a 2x2 pooling before module 5a.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.
    """
    conv = conv_bn_relu if batch_norm else conv_relu
    features = nn.Sequential(_stem(conv, lrn=not batch_norm))
    channels = 192
    for name, spec in GOOGLENET.items():
        module, channels = _googlenet_module(channels, spec, conv, large=3 if batch_norm else 5)
        features.add_module(f"inception{name}", module)
        if name == "3b":
            features.add_module("pool3", _pool())
        if name == "4e":
            features.add_module("pool4", nn.MaxPool2d(2, 2, ceil_mode=True) if batch_norm else _pool())
    net = InceptionNet(features, GOOGLENET_LEVELS, num_classes, drop_rate)
    if not batch_norm:
        net.apply(init_for_relus)
    return net


def bn_inception(num_classes: int = 1000, drop_rate: float = 0.0) -> InceptionNet:
    """Build BN-Inception, often called Inception-v2."""
    features = nn.Sequential(_stem(conv_bn_relu, lrn=False))
    channels = 192
    for name, spec in BN_INCEPTION.items():
        module, channels = _bn_inception_module(channels, spec)
        features.add_module(f"inception{name}", module)
    return InceptionNet(features, BN_INCEPTION_LEVELS, num_classes, drop_rate)


def _pool() -> nn.Sequential:
    """Build the 3x3 max pooling with stride 2 whose first window begins at the border, also where a side is odd.

    What it pools comes from ReLUs, so zeros beyond the border never win.
    """
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2, ceil_mode=True))


def _stem(conv: Conv, lrn: bool) -> OrderedDict[str, nn.Module]:
    """Return what GoogLeNet and BN-Inception have before their modules: stride 8, 192 channels."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=conv(3, 64, 7, 2), pool1=_pool())
    if lrn:
        layers["norm1"] = nn.LocalResponseNorm(5)
    layers |= OrderedDict(conv2=conv(64, 64, 1), conv3=conv(64, 192, 3))
    if lrn:
        layers["norm2"] = nn.LocalResponseNorm(5)
    layers["pool2"] = _pool()
    return layers


class ResidualBranches(nn.Module):
    """Branches whose outputs a linear 1x1 convolution brings back to the input's channels, scaled and added to it.

    Args:
        channels: of the input and the output.
        branches: (channels, kernel) of the convolutions of every branch.
        scale: of what is added.
        act: whether a ReLU follows.
    """

    def __init__(self, channels: int, branches: Sequence, scale: float, act: bool = True) -> None:
        super().__init__()
        self.branches = Branches(_chain(channels, branch) for branch in branches)
        self.project = nn.Conv2d(sum(branch[-1][0] for branch in branches), channels, 1)
        self.scale = scale
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        return self.act(x + self.scale * self.project(self.branches(x)))


def _chain(in_channels: int, steps: Sequence, stride: int = 1, padding: int | None = None) -> nn.Sequential:
    """Return convolutions one after another; ``stride`` and ``padding`` are the last one's."""
    layers = []
    for index, (channels, kernel) in enumerate(steps, start=1):
        last = index == len(steps)
        layers.append(conv_bn_relu(in_channels, channels, kernel, stride if last else 1, padding if last else None))
        in_channels = channels
    return nn.Sequential(*layers)


def inception_resnet_v1(exact_strides: bool = False, num_classes: int = 1000, drop_rate: float = 0.2) -> InceptionNet:
    """Build Inception-ResNet-v1.

    Args:
        exact_strides: pad where the paper has convolutions and poolings without padding, so that maps are exactly at
            H / stride; without, a 299x299 image gives 35, 17 and 8 cells a side.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.
    """
    border = int(exact_strides)  # of all 3x3 convolutions and poolings that the paper marks V
    conv = partial(conv_bn_relu, padding=border)
    pool = partial(nn.MaxPool2d, 3, 2, padding=border)
    features = nn.Sequential(
        OrderedDict(
            conv1=conv(3, 32, 3, 2),
            conv2=conv(32, 32, 3),
            conv3=conv_bn_relu(32, 64, 3),
            pool1=pool(),
            conv4=conv_bn_relu(64, 80, 1),
            conv5=conv(80, 192, 3),
            conv6=conv(192, 256, 3, 2),
        )
    )
    channels = 256
    blocks = zip("abc", (BLOCK_A, BLOCK_B, BLOCK_C), (REDUCTION_A, REDUCTION_B, None), BLOCKS, SCALES, strict=True)
    for letter, branches, reduction, count, scale in blocks:
        features.add_module(letter, nn.Sequential(*(ResidualBranches(channels, branches, scale) for _ in range(count))))
        if reduction:
            reduce = [*(_chain(channels, branch, 2, border) for branch in reduction), pool()]
            features.add_module(f"reduction_{letter}", Branches(reduce))
            channels += sum(branch[-1][0] for branch in reduction)
    cast(nn.Sequential, features.get_submodule("c")).append(ResidualBranches(channels, BLOCK_C, scale=1.0, act=False))
    return InceptionNet(features, INCEPTION_RESNET_LEVELS, num_classes, drop_rate)


def _entry(build: Callable, paper: str, levels: Sequence[tuple[str, int]], **more: Any) -> Entry:
    channels = channels_of(chs for _, chs in levels)
    taps = last_taps((f"features.{module}", chs) for module, chs in levels)
    return Entry(build, paper, channels, taps, **more)


class _PaddedPooling:
    """A reduction of timm's Inception-v3, whose pooling, which is no module, gets padding."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        *convolved, _ = super()._forward(x)  # type: ignore[misc]
        return [*convolved, F.max_pool2d(x, 3, 2, padding=1)]


class PaddedInceptionB(_PaddedPooling, InceptionB):
    """(N, 288, H, W) to (N, 768, H / 2, W / 2)."""


class PaddedInceptionD(_PaddedPooling, InceptionD):
    """(N, 768, H, W) to (N, 1280, H / 2, W / 2)."""


_PADDED: dict[type[nn.Module], type[nn.Module]] = {
    InceptionB: PaddedInceptionB,
    InceptionD: PaddedInceptionD,
}


def padded_timm(model: str, **kwargs: Any) -> nn.Module:
    """Build a model of timm whose unpadded convolutions and max poolings get padding, for maps exactly at H / stride.

    Its tensors stay those of timm's model.
    """
    net = timm.create_model(model, **kwargs)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.padding == (0, 0):
            module.padding = tuple(kernel // 2 for kernel in module.kernel_size)
        elif isinstance(module, nn.MaxPool2d) and module.padding == 0:
            module.padding = 1
        elif type(module) in _PADDED:
            module.__class__ = _PADDED[type(module)]
    return net


def _borders(name: str, sides: str) -> str:
    """Return why a network with its paper's borders cannot feed a detector."""
    return (
        f"with its paper's borders a 320x320 image gives {sides} cells a side, not 80, 40, 20 and 10; "
        f"{name}_padded has other borders and can"
    )


def _padded(model: str, paper: str, levels: Sequence[tuple[str, int]]) -> Entry:
    channels = channels_of(chs for _, chs in levels)
    entry = timm_entry(model, paper, channels, last_taps(levels), resolution=299)
    return replace(entry, build=partial(padded_timm, model))


_GOOGLENET = "Szegedy et al., Going Deeper with Convolutions, CVPR 2015"
_BN_INCEPTION = "Ioffe and Szegedy, Batch Normalization, ICML 2015"
_INCEPTION_V3 = "Szegedy et al., Rethinking the Inception Architecture, CVPR 2016"
_INCEPTION_V4 = "Szegedy et al., Inception-v4, Inception-ResNet, AAAI 2017"
_OSMR = "osmr/imgclsmob, gluon/README.md"
ROWS = {
    "googlenet": _entry(
        googlenet,
        _GOOGLENET,
        GOOGLENET_LEVELS,
        published=Published(
            6.96,
            1.502,
            "sums of the columns of the paper's table 1, whose K are 1024",
            "its table's first row (2.7K weights, 34M) is not the full 7x7 convolution to 64 that text and figure say: "
            "it is what 8 filters of 7x7 a colour and a 1x1 convolution to 64 have, 2712 weights; the other rows agree",
        ),
    ),
    "googlenet_bn": _entry(
        partial(googlenet, True),
        f"{_GOOGLENET}, in torchvision's variant",
        GOOGLENET_LEVELS,
        preprocessing=Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear"),
        published=Published(6.625, 1.498, "torchvision's record of its weights"),
    ),
    "bn_inception": _entry(bn_inception, _BN_INCEPTION, BN_INCEPTION_LEVELS, published=Published(11.295, 2.048, _OSMR)),
    "inception_v3": timm_entry(
        "inception_v3",
        _INCEPTION_V3,
        None,
        None,
        why_not=_borders("inception_v3", "76, 37, 18 and 8"),
        resolution=299,
        published=Published(23.835, 5.743, _OSMR),
    ),
    "inception_v3_padded": _padded("inception_v3", _INCEPTION_V3, INCEPTION_V3_LEVELS),
    "inception_v4": timm_entry(
        "inception_v4",
        _INCEPTION_V4,
        None,
        None,
        why_not=_borders("inception_v4", "78, 37, 18 and 8"),
        resolution=299,
        published=Published(42.680, 12.305, _OSMR),
    ),
    "inception_v4_padded": _padded("inception_v4", _INCEPTION_V4, INCEPTION_V4_LEVELS),
    "inception_resnet_v2": timm_entry(
        "inception_resnet_v2",
        _INCEPTION_V4,
        None,
        None,
        why_not=_borders("inception_resnet_v2", "76, 37, 18 and 8"),
        resolution=299,
        published=Published(55.843, 13.189, _OSMR),
    ),
    "inception_resnet_v2_padded": _padded("inception_resnet_v2", _INCEPTION_V4, INCEPTION_RESNET_V2_LEVELS),
    "inception_resnet_v1": Entry(
        inception_resnet_v1,
        _INCEPTION_V4,
        None,
        None,
        _borders("inception_resnet_v1", "76, 37, 18 and 8"),
        resolution=299,
        published=Published(23.996, 6.330, f"{_OSMR}, with a layer of 512 units before the classifier"),
    ),
    "inception_resnet_v1_padded": _entry(
        partial(inception_resnet_v1, True), _INCEPTION_V4, INCEPTION_RESNET_LEVELS, resolution=299
    ),
}
