"""Inception: modules of parallel branches, without and with residual connections.

Sources: GoogLeNet, Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, figure 2b (module), table 1 (layout) and
figure 3 (normalisation). BN-Inception, Ioffe, Szegedy, "Batch Normalization", ICML 2015, figure 5 of the appendix.
Inception-ResNet-v1, Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, figures 7, 10 to 15 and table 1. Auxiliary classifiers, which serve training alone,
are left out.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from timm.layers import ClassifierHead
from torch import Tensor, nn

from backbones.families.classics import init_for_relus

BN_EPS = 1e-3
Kernel = int | tuple[int, int]
Conv = Callable[[int, int, Kernel], nn.Module]  # builds (input channels, channels, kernel[, stride])

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
# Inception-ResNet-v1: (channels, kernel) of the convolutions of every branch; the number of blocks; the scale of what
# they add
BLOCK_A = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (32, 3), (32, 3)))
BLOCK_B = (((128, 1),), ((128, 1), (128, (1, 7)), (128, (7, 1))))
BLOCK_C = (((192, 1),), ((192, 1), (192, (1, 3)), (192, (3, 1))))
REDUCTION_A = (((384, 3),), ((192, 1), (192, 3), (256, 3)))
REDUCTION_B = (((256, 1), (384, 3)), ((256, 1), (256, 3)), ((256, 1), (256, 3), (256, 3)))
BLOCKS = (5, 10, 5)
SCALES = (0.17, 0.10, 0.20)


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


def _levels(channels: Sequence[int], modules: Sequence[str]) -> list[dict]:
    return [
        {"num_chs": chs, "reduction": 2**level, "module": module}
        for level, (chs, module) in enumerate(zip(channels, modules, strict=True), start=1)
    ]


class Sequence2d(nn.Module):
    """A network whose features are a sequence of modules, pooled and classified.

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    def __init__(
        self, features: nn.Sequential, feature_info: list[dict], channels: int, num_classes: int, drop_rate: float
    ) -> None:
        super().__init__()
        self.features = features
        self.head = ClassifierHead(channels, num_classes, drop_rate=drop_rate)
        self.feature_info = feature_info

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, channels, H / 32, W / 32)."""
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.forward_features(x))


def googlenet(batch_norm: bool = False, num_classes: int = 1000, drop_rate: float = 0.4) -> Sequence2d:
    """Build GoogLeNet.

    Args:
        batch_norm: build torchvision's network instead, whose weights are public: batch normalisation for local
            response normalisation, 3x3 convolutions where the paper has 5x5, and a 2x2 pooling before module 5a.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.
    """
    conv = conv_bn_relu if batch_norm else conv_relu
    pool = partial(nn.MaxPool2d, stride=2, ceil_mode=True)
    features = nn.Sequential()
    features.conv1 = conv(3, 64, 7, 2)
    features.pool1 = pool(3)
    if not batch_norm:
        features.norm1 = nn.LocalResponseNorm(5)
    features.conv2 = conv(64, 64, 1)
    features.conv3 = conv(64, 192, 3)
    if not batch_norm:
        features.norm2 = nn.LocalResponseNorm(5)
    features.pool2 = pool(3)
    channels = {"3b": 0, "4e": 0, "5b": 0}
    width = 192
    for name, spec in GOOGLENET.items():
        module, width = _googlenet_module(width, spec, conv, large=3 if batch_norm else 5)
        features.add_module(f"inception{name}", module)
        if name == "3b":
            features.pool3 = pool(3)
        if name == "4e":
            features.pool4 = pool(2 if batch_norm else 3)
        channels[name] = width
    return features, channels
