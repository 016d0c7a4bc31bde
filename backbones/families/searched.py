"""Searched networks of mobile inverted bottlenecks: FBNet-B, ProxylessNAS, FairNAS, AtomNAS.

Sources: FBNet, Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search",
CVPR 2019. ProxylessNAS, Cai, Zhu, Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware",
ICLR 2019. FairNAS, Chu, Zhang, Xu, "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
Search", ICCV 2021. AtomNAS, Mei et al., "AtomNAS: Fine-Grained End-to-End Neural Architecture Search", ICLR 2020. The
blocks of FBNet-B and Proxyless-R are those of Table A in the appendix of Han et al., CVPR 2021; those of FairNAS-A and
AtomNAS-C are in their authors' code (xiaomi-automl/FairNAS, meijieru/AtomNAS).
"""

from collections.abc import Sequence
from functools import partial

import torch
from timm.layers import ClassifierHead, ConvNormAct, SEModule
from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def, efficientnet_init_weights
from torch import Tensor, nn

from backbones.entry import Channels, Entry, Published, channels_of

# Block by block, in timm's notation: ds depthwise-separable, ir inverted residual; k kernel, s stride, e expansion,
# c output channels. Three of these stages stride twice.
FBNET_B = (
    ("ir_r1_k3_s1_e1_c16",),
    ("ir_r1_k3_s2_e6_c24", "ir_r1_k5_s1_e1_c24", "ir_r2_k3_s1_e1_c24"),
    ("ir_r1_k5_s2_e6_c32", "ir_r1_k5_s1_e3_c32", "ir_r1_k3_s1_e6_c32", "ir_r1_k5_s1_e6_c32"),
    ("ir_r1_k5_s2_e6_c64", "ir_r1_k5_s1_e1_c64", "ir_r1_k5_s1_e3_c64"),
    ("ir_r1_k5_s1_e6_c112", "ir_r1_k3_s1_e1_c112", "ir_r1_k5_s1_e1_c112", "ir_r1_k5_s1_e3_c112"),
    ("ir_r1_k5_s2_e6_c184", "ir_r1_k5_s1_e1_c184", "ir_r2_k5_s1_e6_c184"),
    ("ir_r1_k3_s1_e6_c352",),
)
PROXYLESS_R = (
    ("ds_r1_k3_s1_e1_c16",),
    ("ir_r1_k5_s2_e3_c32", "ir_r1_k3_s1_e3_c32"),
    ("ir_r1_k7_s2_e3_c40", "ir_r1_k3_s1_e3_c40", "ir_r2_k5_s1_e3_c40"),
    ("ir_r1_k7_s2_e6_c80", "ir_r3_k5_s1_e3_c80"),
    ("ir_r1_k5_s1_e6_c96", "ir_r3_k5_s1_e3_c96"),
    ("ir_r1_k7_s2_e6_c192", "ir_r1_k7_s1_e6_c192", "ir_r2_k7_s1_e3_c192"),
    ("ir_r1_k7_s1_e6_c320",),
)
FAIRNAS_A = (
    ("ds_r1_k3_s1_e1_c16",),
    ("ir_r1_k7_s2_e3_c32", "ir_r1_k3_s1_e3_c32"),
    ("ir_r1_k7_s2_e3_c40", "ir_r1_k3_s1_e6_c40", "ir_r1_k7_s1_e6_c40", "ir_r1_k3_s1_e3_c40"),
    ("ir_r1_k3_s2_e3_c80", "ir_r2_k7_s1_e6_c80", "ir_r1_k5_s1_e3_c80"),
    ("ir_r1_k3_s1_e6_c96", "ir_r2_k5_s1_e3_c96", "ir_r1_k3_s1_e6_c96"),
    ("ir_r1_k3_s2_e6_c192", "ir_r1_k7_s1_e6_c192", "ir_r1_k3_s1_e6_c192", "ir_r1_k7_s1_e6_c192"),
    ("ir_r1_k5_s1_e6_c320",),
)
# AtomNAS-C, stage by stage: output channels, stride of the first block, and the depthwise channels of each block with
# kernels 3, 5 and 7. The first block does not expand.
ATOMNAS_C = (
    (16, 1, ((32,),)),
    (24, 2, ((15, 23, 13), (20, 3, 2), (21, 8, 1), (21, 4))),
    (40, 2, ((64, 65, 70), (40, 23, 28), (36, 21, 9), (40, 22, 7))),
    (80, 2, ((169, 170, 157), (45, 55, 74), (58, 21, 37), (77, 18, 39))),
    (96, 1, ((393, 263, 247), (57, 40, 36), (61, 34, 26), (87, 38, 33))),
    (192, 2, ((454, 468, 468), (188, 137, 306), (253, 187, 314), (345, 202, 233))),
    (320, 1, ((823, 738, 749),)),
)
ATOMNAS_KERNELS = (3, 5, 7)
ATOMNAS_STEM, ATOMNAS_LAST = 32, 1280


def mbconv_net(
    stages: Sequence[Sequence[str]],
    stem_size: int,
    num_features: int,
    act_layer: type[nn.Module],
    num_classes: int = 1000,
    drop_rate: float = 0.2,
) -> EfficientNet:
    """Build a network of inverted residuals with timm's class, whose module names it has.

    Args:
        stages: the blocks in timm's notation.
        stem_size: channels of the first convolution.
        num_features: channels of the last 1x1 convolution.
        act_layer: activation where a block does not name one.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.
    """
    return EfficientNet(
        decode_arch_def([list(stage) for stage in stages]),
        stem_size=stem_size,
        fix_stem=True,
        num_features=num_features,
        act_layer=act_layer,
        num_classes=num_classes,
        drop_rate=drop_rate,
    )


def with_squeeze_excitation(stages: Sequence[Sequence[str]], ratio: float) -> list[list[str]]:
    """Return FairNAS's variant: squeeze-and-excitation (share of the block's input) and swish in all inverted blocks."""
    return [[f"{block}_se{ratio}_nsw" if block.startswith("ir") else block for block in stage] for stage in stages]


class MixedDepthwise(nn.Module):
    """Depthwise convolutions of several kernels, each on channels of its own.

    Args:
        splits: the channels of each.
        kernels: likewise.
        stride: of all.
    """

    def __init__(self, splits: Sequence[int], kernels: Sequence[int], stride: int) -> None:
        super().__init__()
        self.splits = tuple(splits)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            for channels, kernel in zip(splits, kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, sum of splits, H, W) to (N, sum of splits, H / stride, W / stride)."""
        parts = x.split(self.splits, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1)


class AtomBlock(nn.Module):
    """AtomNAS's inverted residual: 1x1 expansion, mixed depthwise convolution, projection (paper, section 3.1).

    Args:
        in_channels: of the input.
        channels: of the output.
        stride: of the depthwise convolutions.
        splits: depthwise channels by kernel.
        expand: whether there is an expansion.
        act: activation layer.
        se_ratio: of squeeze-and-excitation, whose hidden units are this share of the input's channels; 0 without.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        splits: Sequence[int],
        expand: bool,
        act: type[nn.Module],
        se_ratio: float,
    ) -> None:
        super().__init__()
        hidden = sum(splits)
        self.use_shortcut = stride == 1 and in_channels == channels
        self.expand = ConvNormAct(in_channels, hidden, 1, act_layer=act) if expand else nn.Identity()
        self.depthwise = MixedDepthwise(splits, ATOMNAS_KERNELS[: len(splits)], stride)
        self.bn = nn.BatchNorm2d(hidden)
        self.act = act()
        self.se = (
            SEModule(hidden, rd_channels=round(in_channels * se_ratio), act_layer=act) if se_ratio else nn.Identity()
        )
        self.project = ConvNormAct(hidden, channels, 1, apply_act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.act(self.bn(self.depthwise(self.expand(x))))
        out = self.project(self.se(out))
        return out + x if self.use_shortcut else out


class AtomNAS(nn.Module):
    """AtomNAS-C, or AtomNAS-C+ with squeeze-and-excitation and swish.

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    def __init__(self, plus: bool = False, num_classes: int = 1000, drop_rate: float = 0.28) -> None:
        super().__init__()
        act, se_ratio = (nn.SiLU, 0.5) if plus else (nn.ReLU, 0.0)
        self.stem = ConvNormAct(3, ATOMNAS_STEM, 3, stride=2, act_layer=act)
        self.blocks = nn.Sequential()
        in_channels = ATOMNAS_STEM
        for channels, stage_stride, blocks in ATOMNAS_C:
            stage = nn.Sequential()
            for index, splits in enumerate(blocks):
                stride = stage_stride if index == 0 else 1
                expand = len(self.blocks) > 0
                stage.append(AtomBlock(in_channels, channels, stride, splits, expand, act, se_ratio))
                in_channels = channels
            self.blocks.append(stage)
        self.last = ConvNormAct(in_channels, ATOMNAS_LAST, 1, act_layer=act)
        self.num_features = ATOMNAS_LAST
        self.head = ClassifierHead(ATOMNAS_LAST, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": ATOMNAS_C[stage][0], "reduction": 2**level, "module": f"blocks.{stage}"}
            for level, stage in enumerate(LAST_STAGES, start=1)
        ]
        efficientnet_init_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, 1280, H / 32, W / 32)."""
        return self.last(self.blocks(self.stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.forward_features(x))


LAST_STAGES = (0, 1, 2, 4, 6)  # of the seven, those that give C1..C5, in all networks here

_FBNET = "Wu et al., FBNet, CVPR 2019"
_PROXYLESS = "Cai et al., ProxylessNAS, ICLR 2019"
_FAIRNAS = "Chu et al., FairNAS, ICCV 2021"
_ATOMNAS = "Mei et al., AtomNAS, ICLR 2020"
_ATOMNAS_CODE = "the authors' code, meijieru/yet_another_mobilenet_series, README.md"


def _mbconv(
    stages: Sequence[Sequence[str]],
    paper: str,
    channels: Channels,
    published: Published | None,
    stem: int = 32,
    last: int = 1280,
    act: type[nn.Module] = nn.ReLU6,
) -> Entry:
    """Return an entry; SSDLite taps the expansion, six times C4, of the first block at stride 32."""
    taps = (("blocks.5.0.bn1", 6 * channels[3]), ("bn2", last))
    return Entry(partial(mbconv_net, stages, stem, last, act), paper, channels, taps, published=published)


def _atomnas(plus: bool, published: Published) -> Entry:
    channels = channels_of(ATOMNAS_C[stage][0] for stage in LAST_STAGES)
    taps = (("blocks.5.0.expand", sum(ATOMNAS_C[5][2][0])), ("last", ATOMNAS_LAST))
    return Entry(partial(AtomNAS, plus), _ATOMNAS, channels, taps, published=published)


_FAIRNAS_CHANNELS = (16, 32, 40, 96, 320)
ROWS = {
    "fbnet_b": _mbconv(
        FBNET_B,
        _FBNET,
        (16, 24, 32, 112, 352),
        Published(None, 0.295, "paper, abstract"),
        16,
        1984,
        nn.ReLU,
    ),
    "proxyless_r": _mbconv(
        PROXYLESS_R,
        _PROXYLESS,
        (16, 32, 40, 96, 320),
        Published(4.1, 0.32, "Han et al., CVPR 2021, tables 1 and 4"),
    ),
    "fairnas_a": _mbconv(
        FAIRNAS_A,
        _FAIRNAS,
        _FAIRNAS_CHANNELS,
        Published(4.6, 0.388, "the paper, as Termritthikun et al., EEEA-Net, 2021, Table 5, quotes it"),
    ),
    "fairnas_a_se": _mbconv(with_squeeze_excitation(FAIRNAS_A, 1.0), _FAIRNAS, _FAIRNAS_CHANNELS, None),
    "fairnas_a_se_half": _mbconv(
        with_squeeze_excitation(FAIRNAS_A, 0.5),
        _FAIRNAS,
        _FAIRNAS_CHANNELS,
        Published(5.9, 0.39, "Han et al., CVPR 2021, table 1"),
    ),
    "atomnas_c": _atomnas(False, Published(4.7, 0.360, _ATOMNAS_CODE)),
    "atomnas_c_plus": _atomnas(True, Published(5.9, 0.363, _ATOMNAS_CODE)),
}
