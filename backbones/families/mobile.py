"""Lightweight networks of 2019 to 2025 that timm has, a row each.

Where a stem goes to stride 4 at once there is no C1. A row without published figures has a paper whose figures were not
at hand to read.
"""

from typing import Any

from backbones.entry import Channels, Entry, Published, Taps
from backbones.timm_models import fuse_branches, timm_entry

_MOBILENET_V4 = "Qin et al., MobileNetV4, ECCV 2024"
_EFFICIENTNET_V2 = "Tan and Le, EfficientNetV2, ICML 2021"
_FASTVIT = "Vasu et al., FastViT, ICCV 2023"
_REPVIT = "Wang et al., RepViT, CVPR 2024"
_MOBILEONE = "Vasu et al., MobileOne, CVPR 2023"
_EDGENEXT = "Maaz et al., EdgeNeXt, ECCV Workshops 2022"
_STARNET = "Ma et al., Rewrite the Stars, CVPR 2024"
_GHOSTNET = "Han et al., GhostNet, CVPR 2020"
_GHOSTNET_V2 = "Tang et al., GhostNetV2, NeurIPS 2022"
_GHOSTNET_V3 = "Liu et al., GhostNetV3, arXiv 2024"
_REPGHOST = "Chen et al., RepGhost, arXiv 2022"
_LCNET = "Cui et al., PP-LCNet, arXiv 2021"
_PADDLE = "PaddlePaddle/PaddleClas, docs/zh_CN/models/ImageNet1k"
_HGNET = "PP-HGNetV2, PaddleClas 2023"
_TINYNET = "Han et al., Model Rubik's Cube, NeurIPS 2020"
_CONVNEXT = "Liu et al., ConvNeXt, CVPR 2022, in timm's sizes"
_CONVNEXT_V2 = "Woo et al., ConvNeXt V2, CVPR 2023"
_FASTERNET = "Chen et al., FasterNet, CVPR 2023"
_EFFICIENTVIT = "Cai et al., EfficientViT, ICCV 2023"
_MOBILEVIT_V2 = "Mehta and Rastegari, MobileViTv2, TMLR 2023"
_MOBILEVIT = "Mehta and Rastegari, MobileViT, ICLR 2022"
_EFFICIENTFORMER = "Li et al., EfficientFormer, NeurIPS 2022"
_EFFICIENTFORMER_V2 = "Li et al., EfficientFormerV2, ICCV 2023"
_REPVGG = "Ding et al., RepVGG, CVPR 2021"
_FBNET_V3 = "Dai et al., FBNetV3, CVPR 2021"
_MNASNET = "Tan et al., MnasNet, CVPR 2019"
_HARDCORENAS = "Nayman et al., HardCoRe-NAS, ICML 2021"
_INCEPTIONNEXT = "Yu et al., InceptionNeXt, CVPR 2024"
_IFORMER = "Zheng, iFormer, ICLR 2025"
_LOWFORMER = "Nottebaum et al., LowFormer, WACV 2025"
_RDNET = "Kim et al., DenseNets Reloaded, ECCV 2024"
_NEXTVIT = "Li et al., Next-ViT, arXiv 2022"
_CSPNET = "Wang et al., CSPNet, CVPR Workshops 2020"
_DLA = "Yu et al., Deep Layer Aggregation, CVPR 2018"
_EDGETPU = "Google's EfficientNet-EdgeTPU and MobileNet-EdgeTPU"
_SWIFTFORMER = "Shaker et al., SwiftFormer, ICCV 2023"


def _published(params: float, macs: float, source: str, note: str = "") -> dict[str, Any]:
    return {"published": Published(params, macs, source, note)}


def _row(model: str, paper: str, channels: Channels, taps: Taps, resolution: int = 224, **more: Any) -> Entry:
    return timm_entry(model, paper, channels, taps, resolution=resolution, **more)


def _stages(model: str, paper: str, channels: Channels, last: tuple[str, int] | None = None, **more: Any) -> Entry:
    """Return the entry of a network of four stages, which SSDLite taps at the third and at the fourth or ``last``."""
    taps = (("stages.2", channels[3]), last or ("stages.3", channels[4]))
    return _row(model, paper, channels, taps, **more)


def _four(c2: int) -> Channels:
    """Return channels that double with every stage, without C1."""
    return (0, c2, 2 * c2, 4 * c2, 8 * c2)


def _v4(model: str, resolution: int, stem: int, pyramid: tuple[int, int, int], expanded: int) -> Entry:
    """Return a MobileNetV4; its 1280 channels come after the pooling and are no map."""
    taps = (("blocks.3.0.pw_exp", expanded), ("blocks.4", 960))
    return _row(model, _MOBILENET_V4, (stem, *pyramid, 960), taps, resolution)


def _mbconv(
    model: str, paper: str, channels: Channels, ssdlite: tuple[int, int], resolution: int, **more: Any
) -> Entry:
    taps = (("blocks.5.0.bn1", ssdlite[0]), ("bn2", ssdlite[1]))
    return _row(model, paper, channels, taps, resolution, **more)


def _v2(model: str, channels: Channels, ssdlite: tuple[int, int], resolution: int, params: float, macs: float) -> Entry:
    """Return an EfficientNetV2 at its test resolution, which is larger than that of its training."""
    source = "the authors' code, google/automl, efficientnetv2/README.md"
    return _mbconv(model, _EFFICIENTNET_V2, channels, ssdlite, resolution, **_published(params, macs, source))


def _ghost(model: str, paper: str, channels: Channels, expanded: int, last: int, **more: Any) -> Entry:
    return _row(model, paper, channels, (("blocks.7.0.ghost1", expanded), ("blocks.9", last)), **more)


def _lcnet(model: str, c1: int, params: float, macs: float) -> Entry:
    channels = (c1, 2 * c1, 4 * c1, 8 * c1, 16 * c1)
    taps = (("blocks.4", channels[3]), ("blocks.5", channels[4]))
    note = "its figures are 3 to 5 % above ours at every width; its page does not say what it counts"
    return _row(model, _LCNET, channels, taps, **_published(params, macs, f"{_PADDLE}/PP-LCNet.md", note))


def _efficientvit(model: str, c2: int) -> Entry:
    channels = _four(c2)
    taps = (("stages.3.blocks.0.main.inverted_conv", 4 * channels[3]), ("stages.3", channels[4]))
    return _row(model, _EFFICIENTVIT, channels, taps)


def _mobilevit_v2(model: str) -> Entry:
    why_not = "it resizes its maps to even sides: at 416x608 its map at stride 32 is 14x20 and not 13x19"
    return timm_entry(model, _MOBILEVIT_V2, None, None, why_not=why_not, resolution=256)


def _bound(model: str, paper: str) -> Entry:
    """Return an EfficientFormer, which can classify alone."""
    why_not = "its attention is bound to images of 224x224 pixels"
    return timm_entry(model, paper, None, None, why_not=why_not)


def _mobilevit(model: str, channels: Channels, expanded: int) -> Entry:
    taps = (("stages.4.0.conv1_1x1", expanded), ("final_conv", channels[4]))
    return _row(model, _MOBILEVIT, channels, taps, 256)


_REPVIT_CODE = "the authors' code, THU-MIG/RepViT, README.md"
_EDGENEXT_CODE = "the authors' code, mmaaz60/EdgeNeXt, README.md"
_CONVNEXT_CODE = "the authors' code, facebookresearch/ConvNeXt-V2, README.md"
_SWIFTFORMER_CODE = "the authors' code, Amshaker/SwiftFormer, README.md"

# fmt: off
ROWS = {
    "mobilenet_v4_conv_small": _v4("mobilenetv4_conv_small", 224, 32, (32, 64, 96), 576),
    "mobilenet_v4_conv_medium": _v4("mobilenetv4_conv_medium", 256, 32, (48, 80, 160), 960),
    "mobilenet_v4_conv_large": _v4("mobilenetv4_conv_large", 384, 24, (48, 96, 192), 768),
    "mobilenet_v4_hybrid_medium": _v4("mobilenetv4_hybrid_medium", 256, 32, (48, 80, 160), 960),
    "mobilenet_v4_hybrid_large": _v4("mobilenetv4_hybrid_large", 384, 24, (48, 96, 192), 768),
    "efficientnet_v2_b0": _v2("tf_efficientnetv2_b0", (16, 32, 48, 112, 192), (672, 1280), 224, 7.1, 0.72),
    "efficientnet_v2_b1": _v2("tf_efficientnetv2_b1", (16, 32, 48, 112, 192), (672, 1280), 240, 8.1, 1.2),
    "efficientnet_v2_b2": _v2("tf_efficientnetv2_b2", (16, 32, 56, 120, 208), (720, 1408), 260, 10.1, 1.7),
    "efficientnet_v2_b3": _v2("tf_efficientnetv2_b3", (16, 40, 56, 136, 232), (816, 1536), 300, 14.4, 3.0),
    "efficientnet_v2_s": _v2("tf_efficientnetv2_s", (24, 48, 64, 160, 256), (960, 1280), 384, 21.5, 8.4),
    "efficientnet_v2_m": _v2("tf_efficientnetv2_m", (24, 48, 80, 176, 512), (1056, 1280), 480, 54.1, 24.7),
    "efficientnet_v2_l": _v2("tf_efficientnetv2_l", (32, 64, 96, 224, 640), (1344, 1280), 480, 119.5, 56.3),
    "fastvit_t8": _stages("fastvit_t8", _FASTVIT, _four(48), ("final_conv", 768), resolution=256, fuse=fuse_branches),
    "fastvit_t12": _stages("fastvit_t12", _FASTVIT, _four(64), ("final_conv", 1024), resolution=256, fuse=fuse_branches),
    "fastvit_s12": _stages("fastvit_s12", _FASTVIT, _four(64), ("final_conv", 1024), resolution=256, fuse=fuse_branches),
    "fastvit_sa12": _stages("fastvit_sa12", _FASTVIT, _four(64), ("final_conv", 1024), resolution=256, fuse=fuse_branches),
    "fastvit_sa24": _stages("fastvit_sa24", _FASTVIT, _four(64), ("final_conv", 1024), resolution=256, fuse=fuse_branches),
    "repvit_m0_9": _stages("repvit_m0_9", _REPVIT, _four(48), **_published(5.1, 0.8, _REPVIT_CODE), fuse=fuse_branches),
    "repvit_m1_0": _stages("repvit_m1_0", _REPVIT, _four(56), **_published(6.8, 1.1, _REPVIT_CODE), fuse=fuse_branches),
    "repvit_m1_1": _stages("repvit_m1_1", _REPVIT, _four(64), **_published(8.2, 1.3, _REPVIT_CODE), fuse=fuse_branches),
    "repvit_m1_5": _stages("repvit_m1_5", _REPVIT, _four(64), **_published(14.0, 2.3, _REPVIT_CODE), fuse=fuse_branches),
    "repvit_m2_3": _stages("repvit_m2_3", _REPVIT, _four(80), **_published(22.9, 4.5, _REPVIT_CODE), fuse=fuse_branches),
    "mobileone_s0": _stages("mobileone_s0", _MOBILEONE, (48, 48, 128, 256, 1024), fuse=fuse_branches),
    "mobileone_s1": _stages("mobileone_s1", _MOBILEONE, (64, 96, 192, 512, 1280), fuse=fuse_branches),
    "mobileone_s2": _stages("mobileone_s2", _MOBILEONE, (64, 96, 256, 640, 2048), fuse=fuse_branches),
    "mobileone_s3": _stages("mobileone_s3", _MOBILEONE, (64, 128, 320, 768, 2048), fuse=fuse_branches),
    "mobileone_s4": _stages("mobileone_s4", _MOBILEONE, (64, 192, 448, 896, 2048), fuse=fuse_branches),
    "efficientformer_l1": _bound("efficientformer_l1", _EFFICIENTFORMER),
    "efficientformer_l3": _bound("efficientformer_l3", _EFFICIENTFORMER),
    "efficientformer_l7": _bound("efficientformer_l7", _EFFICIENTFORMER),
    "efficientformer_v2_s0": _bound("efficientformerv2_s0", _EFFICIENTFORMER_V2),
    "efficientformer_v2_s1": _bound("efficientformerv2_s1", _EFFICIENTFORMER_V2),
    "efficientformer_v2_s2": _bound("efficientformerv2_s2", _EFFICIENTFORMER_V2),
    "efficientformer_v2_l": _bound("efficientformerv2_l", _EFFICIENTFORMER_V2),
    "edgenext_xx_small": _stages("edgenext_xx_small", _EDGENEXT, (0, 24, 48, 88, 168), resolution=256, **_published(1.33, 0.261, _EDGENEXT_CODE)),
    "edgenext_x_small": _stages("edgenext_x_small", _EDGENEXT, (0, 32, 64, 100, 192), resolution=256, **_published(2.34, 0.538, _EDGENEXT_CODE)),
    "edgenext_small": _stages("edgenext_small", _EDGENEXT, (0, 48, 96, 160, 304), resolution=256, **_published(5.59, 1.26, _EDGENEXT_CODE)),
    "edgenext_base": _stages("edgenext_base", _EDGENEXT, (0, 80, 160, 288, 584), resolution=256, **_published(18.51, 3.84, _EDGENEXT_CODE)),
    "starnet_s050": _stages("starnet_s050", _STARNET, _four(16)),
    "starnet_s100": _stages("starnet_s100", _STARNET, _four(20)),
    "starnet_s150": _stages("starnet_s150", _STARNET, _four(24)),
    "starnet_s1": _stages("starnet_s1", _STARNET, _four(24)),
    "starnet_s2": _stages("starnet_s2", _STARNET, _four(32)),
    "starnet_s3": _stages("starnet_s3", _STARNET, _four(32)),
    "starnet_s4": _stages("starnet_s4", _STARNET, _four(32)),
    "ghostnet_x0.5": _ghost("ghostnet_050", _GHOSTNET, (8, 12, 20, 40, 80), 336, 480),
    "ghostnet_x1.0": _ghost("ghostnet_100", _GHOSTNET, (16, 24, 40, 80, 160), 672, 960),
    "ghostnet_x1.3": _ghost("ghostnet_130", _GHOSTNET, (20, 32, 52, 104, 208), 872, 1248),
    "ghostnet_v2_x1.0": _ghost("ghostnetv2_100", _GHOSTNET_V2, (16, 24, 40, 80, 160), 672, 960),
    "ghostnet_v2_x1.3": _ghost("ghostnetv2_130", _GHOSTNET_V2, (20, 32, 52, 104, 208), 872, 1248),
    "ghostnet_v2_x1.6": _ghost("ghostnetv2_160", _GHOSTNET_V2, (24, 40, 64, 128, 256), 1076, 1536),
    "ghostnet_v3_x1.0": _ghost("ghostnetv3_100", _GHOSTNET_V3, (16, 24, 40, 80, 160), 672, 960, fuse=fuse_branches),
    "ghostnet_v3_x1.3": _ghost("ghostnetv3_130", _GHOSTNET_V3, (20, 32, 52, 104, 208), 872, 1248, fuse=fuse_branches),
    "ghostnet_v3_x1.6": _ghost("ghostnetv3_160", _GHOSTNET_V3, (24, 40, 64, 128, 256), 1076, 1536, fuse=fuse_branches),
    "repghostnet_x0.5": _ghost("repghostnet_050", _REPGHOST, (8, 12, 20, 40, 80), 168, 480, fuse=fuse_branches),
    "repghostnet_x1.0": _ghost("repghostnet_100", _REPGHOST, (16, 24, 40, 80, 160), 336, 960, fuse=fuse_branches),
    "repghostnet_x1.3": _ghost("repghostnet_130", _REPGHOST, (20, 32, 52, 104, 208), 436, 1248, fuse=fuse_branches),
    "repghostnet_x2.0": _ghost("repghostnet_200", _REPGHOST, (32, 48, 80, 160, 320), 672, 1920, fuse=fuse_branches),
    "lcnet_x0.35": _row("lcnet_035", _LCNET, (16, 24, 48, 88, 176), (("blocks.4", 88), ("blocks.5", 176))),
    "lcnet_x0.5": _lcnet("lcnet_050", 16, 1.9, 0.047),
    "lcnet_x0.75": _lcnet("lcnet_075", 24, 2.4, 0.099),
    "lcnet_x1.0": _lcnet("lcnet_100", 32, 3.0, 0.161),
    "lcnet_x1.5": _row("lcnet_150", _LCNET, (48, 96, 192, 384, 768), (("blocks.4", 384), ("blocks.5", 768))),
    "lcnet_v2_small": _stages("lcnetv2_small", _LCNET, _four(96), fuse=fuse_branches),
    "lcnet_v2_base": _stages("lcnetv2_base", _LCNET, _four(128), **_published(6.6, 0.604, f"{_PADDLE}/PP-LCNetV2.md"), fuse=fuse_branches),
    "lcnet_v2_large": _stages("lcnetv2_large", _LCNET, _four(160), fuse=fuse_branches),
    "hgnet_v2_b0": _stages("hgnetv2_b0", _HGNET, (0, 64, 256, 512, 1024)),
    "hgnet_v2_b1": _stages("hgnetv2_b1", _HGNET, (0, 64, 256, 512, 1024)),
    "hgnet_v2_b2": _stages("hgnetv2_b2", _HGNET, (0, 96, 384, 768, 1536)),
    "hgnet_v2_b3": _stages("hgnetv2_b3", _HGNET, (0, 128, 512, 1024, 2048)),
    "hgnet_v2_b4": _stages("hgnetv2_b4", _HGNET, (0, 128, 512, 1024, 2048)),
    "tinynet_a": _mbconv("tinynet_a", _TINYNET, (16, 24, 40, 112, 320), (672, 1280), 192),
    "tinynet_b": _mbconv("tinynet_b", _TINYNET, (16, 24, 32, 88, 240), (528, 1280), 188),
    "tinynet_c": _mbconv("tinynet_c", _TINYNET, (8, 16, 24, 64, 176), (384, 1280), 184),
    "tinynet_d": _mbconv("tinynet_d", _TINYNET, (8, 16, 24, 64, 176), (384, 1280), 152),
    "tinynet_e": _mbconv("tinynet_e", _TINYNET, (8, 16, 24, 56, 160), (336, 1280), 106),
    "convnext_zepto_rms": _stages("convnext_zepto_rms", _CONVNEXT, _four(32)),
    "convnext_atto": _stages("convnext_atto", _CONVNEXT, _four(40)),
    "convnext_femto": _stages("convnext_femto", _CONVNEXT, _four(48)),
    "convnext_pico": _stages("convnext_pico", _CONVNEXT, _four(64)),
    "convnext_nano": _stages("convnext_nano", _CONVNEXT, _four(80)),
    "convnext_tiny": _stages("convnext_tiny", _CONVNEXT, _four(96)),
    "convnext_v2_atto": _stages("convnextv2_atto", _CONVNEXT_V2, _four(40), **_published(3.7, 0.55, _CONVNEXT_CODE)),
    "convnext_v2_femto": _stages("convnextv2_femto", _CONVNEXT_V2, _four(48), **_published(5.2, 0.78, _CONVNEXT_CODE)),
    "convnext_v2_pico": _stages("convnextv2_pico", _CONVNEXT_V2, _four(64), **_published(9.1, 1.37, _CONVNEXT_CODE)),
    "convnext_v2_nano": _stages("convnextv2_nano", _CONVNEXT_V2, _four(80), **_published(15.6, 2.45, _CONVNEXT_CODE)),
    "convnext_v2_tiny": _stages("convnextv2_tiny", _CONVNEXT_V2, _four(96), **_published(28.6, 4.47, _CONVNEXT_CODE)),
    "fasternet_t0": _stages("fasternet_t0", _FASTERNET, _four(40)),
    "fasternet_t1": _stages("fasternet_t1", _FASTERNET, _four(64)),
    "fasternet_t2": _stages("fasternet_t2", _FASTERNET, _four(96)),
    "fasternet_s": _stages("fasternet_s", _FASTERNET, _four(128)),
    "efficientvit_b0": _efficientvit("efficientvit_b0", 16),
    "efficientvit_b1": _efficientvit("efficientvit_b1", 32),
    "efficientvit_b2": _efficientvit("efficientvit_b2", 48),
    "efficientvit_b3": _efficientvit("efficientvit_b3", 64),
    "mobilevit_xxs": _mobilevit("mobilevit_xxs", (16, 24, 48, 64, 320), 128),
    "mobilevit_xs": _mobilevit("mobilevit_xs", (32, 48, 64, 80, 384), 320),
    "mobilevit_s": _mobilevit("mobilevit_s", (32, 64, 96, 128, 640), 512),
    "mobilevit_v2_x0.5": _mobilevit_v2("mobilevitv2_050"),
    "mobilevit_v2_x0.75": _mobilevit_v2("mobilevitv2_075"),
    "mobilevit_v2_x1.0": _mobilevit_v2("mobilevitv2_100"),
    "swiftformer_xs": _stages("swiftformer_xs", _SWIFTFORMER, (0, 48, 56, 112, 220), **_published(3.5, 0.4, _SWIFTFORMER_CODE, "its README prints 0.4G of a network whose 0.6G the other two sizes bear out")),
    "swiftformer_s": _stages("swiftformer_s", _SWIFTFORMER, (0, 48, 64, 168, 224), **_published(6.1, 1.0, _SWIFTFORMER_CODE)),
    "swiftformer_l1": _stages("swiftformer_l1", _SWIFTFORMER, _four(48), **_published(12.1, 1.6, _SWIFTFORMER_CODE)),
    "repvgg_a0": _stages("repvgg_a0", _REPVGG, (48, 48, 96, 192, 1280), fuse=fuse_branches),
    "fbnet_v3_b": _row("fbnetv3_b", _FBNET_V3, (16, 24, 40, 120, 1344), (("blocks.5.0.bn1", 720), ("blocks.6", 1344))),
    "mnasnet_small": _mbconv("mnasnet_small", _MNASNET, (8, 16, 16, 32, 144), (192, 1280), 224),
    "hardcorenas_a": _row("hardcorenas_a", _HARDCORENAS, (16, 24, 40, 112, 960), (("blocks.5.0.bn1", 672), ("blocks.6", 960))),
    "inception_next_atto": _stages("inception_next_atto", _INCEPTIONNEXT, _four(40)),
    "iformer_t": _stages("iformer_t", _IFORMER, _four(32), fuse=fuse_branches),
    "lowformer_b0": _stages("lowformer_b0", _LOWFORMER, _four(32)),
    "rdnet_tiny": _row("rdnet_tiny", _RDNET, (0, 256, 440, 744, 1040), (("dense_stages.5", 744), ("dense_stages.6", 1040))),
    "nextvit_small": _stages("nextvit_small", _NEXTVIT, (0, 96, 256, 512, 1024), fuse=fuse_branches),
    "cspdarknet53": _row("cspdarknet53", _CSPNET, (64, 128, 256, 512, 1024), (("stages.3", 512), ("stages.4", 1024)), 256),
    "dla34": _row("dla34", _DLA, (32, 64, 128, 256, 512), (("level4", 256), ("level5", 512))),
    "mobilenet_edgetpu_v2_m": _row("mobilenet_edgetpu_v2_m", _EDGETPU, (32, 64, 80, 192, 320), (("blocks.5.0.bn1", 1536), ("bn2", 1344))),
    "efficientnet_es": _row("efficientnet_es", _EDGETPU, (24, 32, 48, 144, 192), (("blocks.5.0.bn1", 1152), ("bn2", 1280))),
}
# fmt: on
