"""Residual networks and their kin, timm's: ResNet, ResNeXt, SE-ResNet, SE-ResNeXt, DenseNet, RegNet.

Sources: He et al., CVPR 2016; Xie et al., CVPR 2017; Hu, Shen, Sun, CVPR 2018; Huang et al., CVPR 2017; Radosavovic et
al., CVPR 2020. In timm's ResNets the 3x3 convolution of a bottleneck has the stride, which the paper's 1x1 has; that is
0.2B multiply-adds more in ResNet-50 and deeper.
"""

from functools import partial

import timm

from backbones.entry import Channels, Entry, Published, Taps
from backbones.timm_models import timm_entry

_RESNET = "He et al., ResNet, CVPR 2016"
_RESNEXT = "Xie et al., ResNeXt, CVPR 2017"
_SENET = "Hu et al., SENet, CVPR 2018"
_DENSENET = "Huang et al., DenseNet, CVPR 2017"
_REGNET = "Radosavovic et al., RegNet, CVPR 2020"
_OSMR = "osmr/imgclsmob, gluon/README.md, with BN and biases"
_RESNET_SOURCE = "multiply-adds: paper, table 1; params: osmr/imgclsmob, gluon/README.md"
_V1_5 = "timm's has the stride in the 3x3 convolution (v1.5), which costs 0.2B more"
_PYCLS = "facebookresearch/pycls, MODEL_ZOO.md"
_BASIC, _BOTTLENECK = (64, 64, 128, 256, 512), (64, 256, 512, 1024, 2048)


def _resnet(model: str, paper: str, channels: Channels, params: float, macs: float) -> Entry:
    taps = (("layer3", channels[3]), ("layer4", channels[4]))
    return timm_entry(model, paper, channels, taps, published=Published(params, macs, _OSMR))


def _original(model: str, channels: Channels, params: float, macs: float, note: str = "") -> Entry:
    """Return a ResNet with the multiply-adds of its own paper."""
    taps = (("layer3", channels[3]), ("layer4", channels[4]))
    return timm_entry(model, _RESNET, channels, taps, published=Published(params, macs, _RESNET_SOURCE, note))


def _unpublished(model: str, paper: str, channels: Channels) -> Entry:
    """Return a row for which no source at hand prints params or multiply-adds."""
    return timm_entry(model, paper, channels, (("layer3", channels[3]), ("layer4", channels[4])))


def _densenet_taps(channels: Channels) -> Taps:
    return (("features.denseblock3", channels[3]), ("features.norm5", channels[4]))


def _densenet(model: str, c4: int, c5: int, params: float, macs: float) -> Entry:
    channels = (64, 256, 512, c4, c5)
    return timm_entry(model, _DENSENET, channels, _densenet_taps(channels), published=Published(params, macs, _OSMR))


def _densenet264() -> Entry:
    """Return the entry of growth rate 32, for which timm has the class and no name; timm's densenet264d is another."""
    channels = (64, 256, 512, 2304, 2688)
    build = partial(timm.create_model, "densenet121", block_config=(6, 12, 64, 48))
    return Entry(build, _DENSENET, channels, _densenet_taps(channels))


def _regnet(model: str, pyramid: tuple[int, int, int, int], params: float, macs: float) -> Entry:
    taps = (("s3", pyramid[2]), ("s4", pyramid[3]))
    return timm_entry(model, _REGNET, (32, *pyramid), taps, published=Published(params, macs, _PYCLS))


# RegNets by name: C2..C5, params in M, multiply-adds in B
_REGNETS = {
    "x_002": ((24, 56, 152, 368), 2.7, 0.2),
    "x_004": ((32, 64, 160, 384), 5.2, 0.4),
    "x_006": ((48, 96, 240, 528), 6.2, 0.6),
    "x_008": ((64, 128, 288, 672), 7.3, 0.8),
    "x_016": ((72, 168, 408, 912), 9.2, 1.6),
    "x_032": ((96, 192, 432, 1008), 15.3, 3.2),
    "x_040": ((80, 240, 560, 1360), 22.1, 4.0),
    "x_064": ((168, 392, 784, 1624), 26.2, 6.5),
    "x_080": ((80, 240, 720, 1920), 39.6, 8.0),
    "x_120": ((224, 448, 896, 2240), 46.1, 12.1),
    "x_160": ((256, 512, 896, 2048), 54.3, 15.9),
    "x_320": ((336, 672, 1344, 2520), 107.8, 31.7),
    "y_002": ((24, 56, 152, 368), 3.2, 0.2),
    "y_004": ((48, 104, 208, 440), 4.3, 0.4),
    "y_006": ((48, 112, 256, 608), 6.1, 0.6),
    "y_008": ((64, 128, 320, 768), 6.3, 0.8),
    "y_016": ((48, 120, 336, 888), 11.2, 1.6),
    "y_032": ((72, 216, 576, 1512), 19.4, 3.2),
    "y_040": ((128, 192, 512, 1088), 20.6, 4.0),
    "y_064": ((144, 288, 576, 1296), 30.6, 6.4),
    "y_080": ((168, 448, 896, 2016), 39.2, 8.0),
    "y_120": ((224, 448, 896, 2240), 51.8, 12.1),
    "y_160": ((224, 448, 1232, 3024), 83.6, 15.9),
    "y_320": ((232, 696, 1392, 3712), 145.0, 32.3),
}

ROWS = {
    "resnet18": _original("resnet18", _BASIC, 11.690, 1.8),
    "resnet34": _original("resnet34", _BASIC, 21.798, 3.6),
    "resnet50": _original("resnet50", _BOTTLENECK, 25.557, 3.8, _V1_5),
    "resnet101": _original("resnet101", _BOTTLENECK, 44.549, 7.6, _V1_5),
    "resnet152": _original("resnet152", _BOTTLENECK, 60.193, 11.3),
    "resnext50_32x4d": _resnet("resnext50_32x4d", _RESNEXT, _BOTTLENECK, 25.029, 4.256),
    "resnext101_32x4d": _resnet("resnext101_32x4d", _RESNEXT, _BOTTLENECK, 44.178, 8.003),
    "resnext101_32x8d": _unpublished("resnext101_32x8d", _RESNEXT, _BOTTLENECK),
    "resnext101_64x4d": _resnet("resnext101_64x4d", _RESNEXT, _BOTTLENECK, 83.455, 15.500),
    "seresnet18": _resnet("seresnet18", _SENET, _BASIC, 11.779, 1.821),
    "seresnet34": _unpublished("seresnet34", _SENET, _BASIC),
    "seresnet50": _resnet("seresnet50", _SENET, _BOTTLENECK, 28.088, 4.113),
    "seresnet152": _unpublished("seresnet152", _SENET, _BOTTLENECK),
    "seresnet101": _resnet("seresnet101", _SENET, _BOTTLENECK, 49.327, 7.835),
    "seresnext50_32x4d": _resnet("seresnext50_32x4d", _SENET, _BOTTLENECK, 27.560, 4.258),
    "seresnext101_32x4d": _resnet("seresnext101_32x4d", _SENET, _BOTTLENECK, 48.955, 8.008),
    # SENet's own, with the stride in the first 1x1 convolution
    "seresnet18_legacy": _unpublished("legacy_seresnet18", _SENET, _BASIC),
    "seresnet34_legacy": _unpublished("legacy_seresnet34", _SENET, _BASIC),
    "seresnet50_legacy": _resnet("legacy_seresnet50", _SENET, _BOTTLENECK, 28.088, 3.880),
    "seresnet101_legacy": _resnet("legacy_seresnet101", _SENET, _BOTTLENECK, 49.327, 7.603),
    "seresnet152_legacy": _resnet("legacy_seresnet152", _SENET, _BOTTLENECK, 66.822, 11.329),
    "densenet121": _densenet("densenet121", 1024, 1024, 7.979, 2.872),
    "densenet169": _densenet("densenet169", 1280, 1664, 14.149, 3.404),
    "densenet201": _densenet("densenet201", 1792, 1920, 20.014, 4.347),
    "densenet264": _densenet264(),
    **{f"regnet{name}": _regnet(f"regnet{name}", *figures) for name, figures in _REGNETS.items()},
}
