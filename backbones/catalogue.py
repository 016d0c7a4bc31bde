"""The catalogue: one row a backbone, its source and its feature maps.

The contract of a backbone: it takes (N, 3, H, W) float images and gives a tuple of feature maps, finest first.
C1..C5 lie at strides 2, 4, 8, 16 and 32. Channels stand here once; tests hold them against real outputs.

SSDLite taps two maps (paper, section 5.2): the expansion output, before the depthwise convolution, of the first
stride-32 block (so at stride 16), and the last 1x1 convolution (stride 32). A network without an expansion there gives
the outputs of its last two stages.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backbones.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

TIMM_PREFIX = "timm:"
_PYRAMID = (4, 8, 16, 32)
_DRY_RUN_SIDE = 320  # px


@dataclass(frozen=True)
class Entry:
    """A backbone: where it comes from and what it gives.

    Attributes:
        timm: timm's name of the model; for ReXNet of the record of its ImageNet weights, None where timm has none.
        channels: channels of C1..C5.
        ssdlite: (module, channels) of SSDLite's taps at stride 16 and 32.
        paper: who proposed it.
        resolution: side in pixels of the square images it classifies in its paper.
        rexnet_width: width multiplier of the first-party ReXNet, None for timm's models.
    """

    timm: str | None
    channels: tuple[int, int, int, int, int]
    ssdlite: tuple[tuple[str, int], tuple[str, int]]
    paper: str
    resolution: int = 224
    rexnet_width: float | None = None


_REXNET = "Han et al., Rethinking Channel Dimensions for Efficient Model Design, CVPR 2021"
_EFFICIENTNET = "Tan and Le, EfficientNet, ICML 2019"
_MOBILENET_V1 = "Howard et al., MobileNets, arXiv 2017"
_MOBILENET_V2 = "Sandler et al., MobileNetV2, CVPR 2018"
_MOBILENET_V3 = "Howard et al., Searching for MobileNetV3, ICCV 2019"
_MNASNET = "Tan et al., MnasNet, CVPR 2019"


def _rexnet(
    width: float, timm: str | None, channels: tuple[int, int, int, int, int], ssdlite: tuple[int, int]
) -> Entry:
    taps = (("features.11.conv_exp", ssdlite[0]), ("features.16", ssdlite[1]))
    return Entry(timm, channels, taps, _REXNET, rexnet_width=width)


def _mbconv(
    timm: str, channels: tuple[int, int, int, int, int], ssdlite: tuple[int, int], paper: str, resolution: int = 224
) -> Entry:
    taps = (("blocks.5.0.bn1", ssdlite[0]), ("bn2", ssdlite[1]))
    return Entry(timm, channels, taps, paper, resolution)


# fmt: off
CATALOGUE: dict[str, Entry] = {
    "rexnet_x0.9": _rexnet(0.9, None, (16, 36, 56, 117, 168), (702, 1152)),
    "rexnet_x1.0": _rexnet(1.0, "rexnet_100", (16, 38, 61, 128, 185), (768, 1280)),
    "rexnet_x1.3": _rexnet(1.3, "rexnet_130", (21, 50, 79, 167, 240), (1002, 1664)),
    "rexnet_x1.5": _rexnet(1.5, "rexnet_150", (24, 58, 92, 193, 277), (1158, 1920)),
    "rexnet_x2.0": _rexnet(2.0, "rexnet_200", (32, 77, 122, 257, 370), (1542, 2560)),
    "rexnet_x2.2": _rexnet(2.2, None, (35, 85, 134, 283, 406), (1698, 2816)),
    "rexnet_x3.0": _rexnet(3.0, "rexnet_300", (48, 116, 183, 386, 554), (2316, 3840)),
    "efficientnet_b0": _mbconv("efficientnet_b0", (16, 24, 40, 112, 320), (672, 1280), _EFFICIENTNET, 224),
    "efficientnet_b1": _mbconv("efficientnet_b1", (16, 24, 40, 112, 320), (672, 1280), _EFFICIENTNET, 240),
    "efficientnet_b2": _mbconv("efficientnet_b2", (16, 24, 48, 120, 352), (720, 1408), _EFFICIENTNET, 260),
    "efficientnet_b3": _mbconv("efficientnet_b3", (24, 32, 48, 136, 384), (816, 1536), _EFFICIENTNET, 300),
    "efficientnet_b4": _mbconv("efficientnet_b4", (24, 32, 56, 160, 448), (960, 1792), _EFFICIENTNET, 380),
    "efficientnet_b5": _mbconv("efficientnet_b5", (24, 40, 64, 176, 512), (1056, 2048), _EFFICIENTNET, 456),
    "efficientnet_b6": _mbconv("efficientnet_b6", (32, 40, 72, 200, 576), (1200, 2304), _EFFICIENTNET, 528),
    "efficientnet_b7": _mbconv("efficientnet_b7", (32, 48, 80, 224, 640), (1344, 2560), _EFFICIENTNET, 600),
    "efficientnet_lite0": _mbconv("tf_efficientnet_lite0", (16, 24, 40, 112, 320), (672, 1280), _EFFICIENTNET, 224),
    "mobilenet_v1": Entry("mobilenetv1_100", (64, 128, 256, 512, 1024), (("blocks.3", 512), ("blocks.4", 1024)), _MOBILENET_V1),
    "mobilenet_v2": _mbconv("mobilenetv2_100", (16, 24, 32, 96, 320), (576, 1280), _MOBILENET_V2),
    "mobilenet_v2_x1.4": _mbconv("mobilenetv2_140", (24, 32, 48, 136, 448), (816, 1792), _MOBILENET_V2),
    "mobilenet_v3_large": Entry("mobilenetv3_large_100", (16, 24, 40, 112, 960), (("blocks.5.0.bn1", 672), ("blocks.6", 960)), _MOBILENET_V3),
    "mobilenet_v3_small": Entry("mobilenetv3_small_100", (16, 16, 24, 48, 576), (("blocks.4.0.bn1", 288), ("blocks.5", 576)), _MOBILENET_V3),
    "mnasnet_a1": _mbconv("semnasnet_100", (16, 24, 40, 112, 320), (672, 1280), _MNASNET),
    "mnasnet_b1": _mbconv("mnasnet_100", (16, 24, 40, 96, 320), (576, 1280), _MNASNET),
    "fbnet_c": _mbconv("fbnetc_100", (16, 24, 32, 112, 352), (672, 1984), "Wu et al., FBNet, CVPR 2019"),
    "mixnet_m": _mbconv("mixnet_m", (24, 32, 40, 120, 200), (720, 1536), "Tan and Le, MixConv, BMVC 2019"),
    "single_path_nas": _mbconv("spnasnet_100", (16, 24, 40, 96, 320), (576, 1280), "Stamoulis et al., Single-Path NAS, ECML PKDD 2019"),
    "resnet50": Entry("resnet50", (64, 256, 512, 1024, 2048), (("layer3", 1024), ("layer4", 2048)), "He et al., ResNet, CVPR 2016"),
}
# fmt: on


def list_backbones() -> list[str]:
    """Return the names of the catalogue; ``timm:<model>`` reaches timm's others."""
    return list(CATALOGUE)


def find_entry(name: str) -> Entry:
    """Return the entry of a backbone, for ``timm:<model>`` one made from timm's own record of its feature maps.

    Raises:
        UserError: unknown name, or a timm model without feature maps at strides 4 to 32.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if name.startswith(TIMM_PREFIX):
        return _timm_entry(timm_name(name))
    raise UserError(
        f"Unknown backbone {name!r}.{did_you_mean(name, CATALOGUE)} "
        f"Known: {', '.join(CATALOGUE)}; {TIMM_PREFIX}<model> reaches timm's others."
    )


def timm_name(name: str) -> str | None:
    """Return timm's name of a backbone, for ReXNet of the record of its weights; None where timm has none.

    A ``timm:<model>`` need not have feature maps here: any can classify.

    Raises:
        UserError: unknown name.
    """
    if not name.startswith(TIMM_PREFIX):
        return find_entry(name).timm
    import timm

    model = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(model):
        raise UserError(f"timm {timm.__version__} has no model {model!r}.{did_you_mean(model, timm.list_models())}")
    return model


@functools.cache
def _timm_entry(model: str) -> Entry:
    import timm
    import torch

    try:
        with torch.device("meta"):
            net = timm.create_model(model).eval()
    except RuntimeError as error:
        raise UserError(f"timm {timm.__version__} cannot build {model!r}: {error}") from error
    info = getattr(net, "feature_info", None)
    dicts = info if isinstance(info, list) else info.get_dicts() if info else []
    levels = {level["reduction"]: level for level in dicts}
    missing = [stride for stride in _PYRAMID if stride not in levels]
    if missing:
        found = ", ".join(str(stride) for stride in levels) or "none"
        raise UserError(
            f"timm:{model} has no feature map at stride {missing[0]} (it has: {found}): it cannot feed a detector."
        )
    _dry_run(model, net, [levels[stride] for stride in _PYRAMID])
    channels = tuple(levels[stride]["num_chs"] if stride in levels else 0 for stride in (2, *_PYRAMID))
    c4, c5 = levels[16], levels[32]
    taps = ((c4["module"], c4["num_chs"]), (c5["module"], c5["num_chs"]))
    return Entry(model, channels, taps, f"timm's {model}")


def _dry_run(model: str, net: "nn.Module", levels: list[dict]) -> None:
    """Run a network on the meta device, since not every model of timm gives the maps of its own record.

    Raises:
        UserError: modules of the record are missing, the network does not take this size, or maps have another shape.
    """
    import torch

    shapes: dict[int, tuple[int, ...]] = {}
    try:
        for level in levels:
            net.get_submodule(level["module"]).register_forward_hook(
                lambda module, args, output, stride=level["reduction"]: shapes.update({stride: tuple(output.shape)})
            )
        with torch.no_grad():
            net.forward_features(torch.zeros(1, 3, _DRY_RUN_SIDE, _DRY_RUN_SIDE, device="meta"))
    except Exception as error:  # every model has its own for an input it does not take
        reason = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")
        raise UserError(
            f"timm:{model} cannot feed a detector: on a {_DRY_RUN_SIDE}x{_DRY_RUN_SIDE} image it fails ({reason})."
        ) from error
    for level in levels:
        side = _DRY_RUN_SIDE // level["reduction"]
        expected, found = (1, level["num_chs"], side, side), shapes.get(level["reduction"])
        if found != expected:
            raise UserError(
                f"timm:{model} cannot feed a detector: on a {_DRY_RUN_SIDE}x{_DRY_RUN_SIDE} image its map at stride "
                f"{level['reduction']} is {found}, expected {expected} (N, C, H, W)."
            )
