"""The classics: LeNet, AlexNet, VGG. None of them normalises by batch statistics; all keep biases.

Sources: LeNet, LeCun et al., "Backpropagation Applied to Handwritten Zip Code Recognition", Neural Computation 1989,
sections 3 and 4. AlexNet, Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NeurIPS 2012, sections 3 and 5 and figure 2. VGG, Simonyan, Zisserman, "Very Deep Convolutional Networks for
Large-Scale Image Recognition", ICLR 2015, section 2 and table 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from timm.layers import ClassifierHead
from timm.models.vgg import ConvMlp
from torch import Tensor, nn
from torchvision.models import get_model_weights

from backbones.entry import Entry, Preprocessing, Published
from backbones.timm_models import timm_entry

LENET_SIDE = 16  # px
LENET_PLANES = 12  # of both convolutions
# The planes of H1 that each third of H2's planes sees, eight of twelve. The paper says no more than their number.
LENET_SEEN = (range(8), range(4, 12), (0, 1, 2, 3, 8, 9, 10, 11))
LENET_HIDDEN = 30

# AlexNet: (channels, kernel, groups) of the five convolutions; groups are the halves of the two GPUs
ALEXNET = ((96, 11, 1), (256, 5, 2), (384, 3, 1), (384, 3, 2), (256, 3, 2))
# likewise, of one GPU, by the same author: "One weird trick for parallelizing convolutional neural networks", 2014
ALEXNET_OWT = ((64, 11, 1), (192, 5, 1), (384, 3, 1), (256, 3, 1), (256, 3, 1))
ALEXNET_POOLED = (0, 1, 4)  # convolutions that a 3x3 max pooling with stride 2 follows
ALEXNET_NORMALISED = (0, 1)  # convolutions that local response normalisation follows
ALEXNET_GRID = 6  # cells a side of the map that the first fully connected layer sees
HIDDEN = 4096  # units of AlexNet's and VGG's two fully connected layers
# torch divides alpha by the size, the papers do not
LRN: dict[str, Any] = {"size": 5, "alpha": 1e-4 * 5, "beta": 0.75, "k": 2.0}

# VGG: the convolutions of the five blocks as (kernel, channels); a 2x2 max pooling ends each block
_VGG_PAIRS = (((3, 64),) * 2, ((3, 128),) * 2)
VGG: dict[str, Sequence[Sequence[tuple[int, int]]]] = {
    "a": (((3, 64),), ((3, 128),), ((3, 256),) * 2, ((3, 512),) * 2, ((3, 512),) * 2),
    "b": (*_VGG_PAIRS, ((3, 256),) * 2, ((3, 512),) * 2, ((3, 512),) * 2),
    "c": (*_VGG_PAIRS, *(((3, c), (3, c), (1, c)) for c in (256, 512, 512))),
    "d": (*_VGG_PAIRS, ((3, 256),) * 3, ((3, 512),) * 3, ((3, 512),) * 3),
    "e": (*_VGG_PAIRS, ((3, 256),) * 4, ((3, 512),) * 4, ((3, 512),) * 4),
}


class UnitBias(nn.Module):
    """A bias for every unit of a feature map, where others have one for every plane (LeNet, section 3.2)."""

    def __init__(self, planes: int, side: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(planes, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """Add to (N, planes, side, side)."""
        return x + self.bias


class LeNet(nn.Module):
    """LeNet of 1989, for digits of 16x16 pixels in -1..1: two convolutions with stride 2, two fully connected layers.

    Beyond the image lies the background, -1. The logits are the outputs before the last tanh.
    """

    def __init__(self, num_classes: int = 10, drop_rate: float = 0.0) -> None:
        super().__init__()
        third = LENET_PLANES // len(LENET_SEEN)
        self.border = nn.ConstantPad2d(2, -1.0)
        self.h1 = nn.Conv2d(1, LENET_PLANES, 5, 2, bias=False)
        self.h1_bias = UnitBias(LENET_PLANES, LENET_SIDE // 2)
        self.h2 = nn.ModuleList(nn.Conv2d(len(seen), third, 5, 2, bias=False) for seen in LENET_SEEN)
        self.h2_bias = UnitBias(LENET_PLANES, LENET_SIDE // 4)
        self.h3 = nn.Conv2d(LENET_PLANES, LENET_HIDDEN, LENET_SIDE // 4)  # fully connected
        self.head = ClassifierHead(LENET_HIDDEN, num_classes, drop_rate=drop_rate)
        self.apply(_init_lenet)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, C, 16, 16), whose colours are averaged to grey, to H2 (N, 12, 4, 4)."""
        grey = x.mean(1, keepdim=True)
        h1 = self.h1_bias(self.h1(self.border(grey))).tanh()  # (N, 12, 8, 8)
        bordered = self.border(h1)
        thirds = [conv(bordered[:, seen]) for conv, seen in zip(self.h2, LENET_SEEN, strict=True)]
        return self.h2_bias(torch.cat(thirds, dim=1)).tanh()

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, 16, 16) to logits (N, num_classes)."""
        return self.head(self.h3(self.forward_features(x)).tanh())


def _init_lenet(module: nn.Module) -> None:
    """Uniform in 2.4 / inputs of a unit (section 4)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        bound = 2.4 / module.weight[0].numel()
        nn.init.uniform_(module.weight, -bound, bound)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class AlexNet(nn.Module):
    """AlexNet as trained on two GPUs: the second, fourth and fifth convolution see the half of their own GPU alone.

    Args:
        convolutions: (channels, kernel, groups) of each.
        lrn: local response normalisation, which the variant of one GPU does without.
        exact_strides: pad the first convolution and the poolings so that maps are exactly at H / stride; without, the
            borders are the paper's and a 224x224 image gives 55, 27, 13 and 6 cells a side.

    Attributes:
        feature_info: as timm's models have it; there is no map at stride 2.
    """

    def __init__(
        self,
        convolutions: Sequence[tuple[int, int, int]] = ALEXNET,
        lrn: bool = True,
        exact_strides: bool = False,
        num_classes: int = 1000,
        drop_rate: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        in_channels = 3
        for index, (channels, kernel, groups) in enumerate(convolutions):
            stride = 4 if index == 0 else 1
            padding = 2 if index == 0 and not exact_strides else kernel // 2
            number = index + 1
            self.features.add_module(
                f"conv{number}", nn.Conv2d(in_channels, channels, kernel, stride, padding, groups=groups)
            )
            self.features.add_module(f"relu{number}", nn.ReLU(inplace=True))
            if lrn and index in ALEXNET_NORMALISED:
                self.features.add_module(f"norm{number}", nn.LocalResponseNorm(**LRN))
            if index in ALEXNET_POOLED:
                self.features.add_module(f"pool{number}", nn.MaxPool2d(3, 2, padding=int(exact_strides)))
            in_channels = channels
        self.pool = nn.AdaptiveAvgPool2d(ALEXNET_GRID)  # nothing to do at the paper's 224x224 with its borders
        self.pre_logits = ConvMlp(in_channels, HIDDEN, ALEXNET_GRID, drop_rate=drop_rate)
        self.head = ClassifierHead(HIDDEN, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": chs, "reduction": 2**level, "module": module}
            for level, (module, chs) in enumerate(alexnet_levels(convolutions, lrn), start=2)
        ]
        self.apply(_init_alexnet)
        # Section 5: these begin with positive inputs to their ReLU.
        for number in (2, 4, 5):
            nn.init.ones_(cast(Tensor, self.features.get_submodule(f"conv{number}").bias))
        for layer in (self.pre_logits.fc1, self.pre_logits.fc2):
            nn.init.ones_(cast(Tensor, layer.bias))

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to the last pooling's output (N, 256, H / 32, W / 32)."""
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.pre_logits(self.pool(self.forward_features(x))))


def alexnet_levels(convolutions: Sequence[tuple[int, int, int]], lrn: bool) -> list[tuple[str, int]]:
    """Return (module, channels) of C2..C5: what the poolings see, and the last pooling."""
    before = "norm" if lrn else "relu"
    numbered = ((f"{before}1", 1), (f"{before}2", 2), ("relu5", 5), ("pool5", 5))
    return [(f"features.{module}", convolutions[number - 1][0]) for module, number in numbered]


def _init_alexnet(module: nn.Module) -> None:
    """Normal with deviation 0.01 (section 5)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def vgg_levels(column: str, lrn: bool = False) -> list[tuple[str, int]]:
    """Return (module, channels) of C1..C5: the last ReLU of blocks 2 to 5, and the last pooling."""
    index, levels = int(lrn) - 1, []
    for block in VGG[column]:
        index += 2 * len(block)  # a convolution and its ReLU
        levels.append((f"features.{index}", block[-1][1]))
        index += 1  # the pooling
    return [*levels[1:], (f"features.{index}", levels[-1][1])]


class VGGNet(nn.Module):
    """VGG of a column of its table 1.

    Modules carry the names that timm's ``VGG`` gives them, so a state dict of one loads into the other.

    Args:
        column: ``a`` to ``e``.
        lrn: local response normalisation after the first convolution (column A-LRN).

    Attributes:
        feature_info: one dict a level C1..C5 (``vgg_levels``), as timm's models have it.
    """

    def __init__(self, column: str, lrn: bool = False, num_classes: int = 1000, drop_rate: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for block in VGG[column]:
            for kernel, channels in block:
                layers += [nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
                if lrn and in_channels == 3:
                    layers.append(nn.LocalResponseNorm(**LRN))
                in_channels = channels
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))  # so also odd sides give ceil(side / 2)
        self.features = nn.Sequential(*layers)
        self.pre_logits = ConvMlp(in_channels, HIDDEN, kernel_size=7, drop_rate=drop_rate)
        self.head = ClassifierHead(HIDDEN, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": chs, "reduction": 2**level, "module": module}
            for level, (module, chs) in enumerate(vgg_levels(column, lrn), start=1)
        ]
        self.apply(init_for_relus)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to the last pooling's output (N, 512, H / 32, W / 32)."""
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.pre_logits(self.forward_features(x)))


def init_for_relus(module: nn.Module) -> None:
    """Keep the variance through ReLUs (He et al., 2015): deep networks without BN do not begin to learn otherwise."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


_LENET = "LeCun et al., Handwritten Zip Code Recognition, Neural Computation 1989"
_ALEXNET = "Krizhevsky et al., AlexNet, NeurIPS 2012"
_VGG = "Simonyan and Zisserman, VGG, ICLR 2015"
_ALEXNET_OWT = "Krizhevsky, One Weird Trick, arXiv 2014"
_OSMR = "osmr/imgclsmob, gluon/README.md, with multiply-adds of biases"


def _alexnet(
    name: str, paper: str, convolutions: Sequence[tuple[int, int, int]], lrn: bool, published: Published, **more: Any
) -> dict[str, Entry]:
    """Return the rows of a variant: with its paper's borders, and with those that give exact strides."""
    levels = alexnet_levels(convolutions, lrn)
    (_, c2), (_, c3), c4, c5 = levels
    why_not = (
        "with its paper's borders a 320x320 image gives 79, 39, 19 and 9 cells a side, not 80, 40, 20 and 10; "
        f"{name}_padded has other borders and can"
    )
    build = partial(AlexNet, convolutions, lrn)
    return {
        name: Entry(build, paper, None, None, why_not, published=published, **more),
        f"{name}_padded": Entry(
            partial(AlexNet, convolutions, lrn, True), paper, (0, c2, c3, c4[1], c5[1]), (c4, c5), **more
        ),
    }


def _vgg(column: str, timm: str | None, published: Published | None, lrn: bool = False) -> Entry:
    (_, c1), (_, c2), (_, c3), c4, c5 = vgg_levels(column, lrn)
    channels, taps = (c1, c2, c3, c4[1], c5[1]), (c4, c5)
    build = partial(VGGNet, column, lrn)
    if timm is None:
        return Entry(build, _VGG, channels, taps, published=published)
    return replace(timm_entry(timm, _VGG, channels, taps, published=published), build=build)


ROWS = {
    "lenet": Entry(
        LeNet, _LENET, None, None, "it takes images of 16x16 pixels and ends at stride 4", resolution=LENET_SIDE
    ),
    **_alexnet("alexnet", _ALEXNET, ALEXNET, True, Published(60, None, "paper, abstract")),
    **_alexnet(
        "alexnet_owt",
        _ALEXNET_OWT,
        ALEXNET_OWT,
        False,
        Published(61.101, 0.715, _OSMR),
        preprocessing=Preprocessing(interpolation="bilinear"),
        url=get_model_weights("alexnet").DEFAULT.url,
        licence="bsd-3-clause",
    ),
    "vgg11": _vgg("a", "vgg11", Published(132.863, 7.616, _OSMR)),
    "vgg11_lrn": _vgg("a", None, None, lrn=True),
    "vgg13": _vgg("b", "vgg13", Published(133.048, 11.318, _OSMR)),
    "vgg16_c": _vgg("c", None, None),
    "vgg16": _vgg("d", "vgg16", Published(138.358, 15.48, _OSMR)),
    "vgg19": _vgg("e", "vgg19", Published(143.667, 19.643, _OSMR)),
}
