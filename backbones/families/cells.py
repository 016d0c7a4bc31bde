"""Networks of searched cells: NASNet-A, AmoebaNet-A, PNASNet-5, DARTS, P-DARTS.

A cell sees the outputs of the last two cells, adds up pairs of operations on them and on earlier sums, and puts the
sums that it names one beside another. Sources: NASNet-A, Zoph, Vasudevan, Shlens, Le, "Learning Transferable
Architectures for Scalable Image Recognition", CVPR 2018, figures 2 to 4. AmoebaNet-A, Real, Aggarwal, Huang, Le,
"Regularized Evolution for Image Classifier Architecture Search", AAAI 2019, figure 5. PNASNet-5, Liu et al.,
"Progressive Neural Architecture Search", ECCV 2018, figure 1. DARTS, Liu, Simonyan, Yang, "DARTS: Differentiable
Architecture Search", ICLR 2019, figures 4 and 5 and section 3.3. P-DARTS, Chen, Xie, Wu, Tian, "Progressive
Differentiable Architecture Search", ICCV 2019, figure 3. What figures leave open, the number of unused states that are
concatenated and the operations on states of other sizes, is as in the authors' code: tensorflow/models
(research/slim/nets/nasnet), tensorflow/tpu (models/official/amoeba_net), quark0/darts and chenxin061/pdarts.
Auxiliary classifiers, which serve training alone, are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from timm.layers import ClassifierHead
from torch import Tensor, nn

from backbones.entry import Entry, Published, channels_of, last_taps
from backbones.timm_models import timm_entry

Step = tuple[str, int]  # an operation, and the state that it works on


@dataclass(frozen=True)
class Genotype:
    """A cell's plan. State 0 is the output of the cell before the last one, 1 that of the last, 2 the first pair's sum.

    Attributes:
        pairs: the operations whose results are added.
        concat: the states that make the output.
    """

    pairs: tuple[tuple[Step, Step], ...]
    concat: tuple[int, ...]


NASNET_A_NORMAL = Genotype(
    (
        (("sep5", 1), ("sep3", 0)),
        (("sep5", 0), ("sep3", 0)),
        (("avg3", 1), ("same", 0)),
        (("avg3", 0), ("avg3", 0)),
        (("sep3", 1), ("same", 1)),
    ),
    (0, 2, 3, 4, 5, 6),
)
NASNET_A_REDUCTION = Genotype(
    (
        (("sep5", 1), ("sep7", 0)),
        (("max3", 1), ("sep7", 0)),
        (("avg3", 1), ("sep5", 0)),
        (("same", 3), ("avg3", 2)),
        (("sep3", 2), ("max3", 1)),
    ),
    (3, 4, 5, 6),
)
AMOEBANET_A_NORMAL = Genotype(
    (
        (("avg3", 1), ("max3", 1)),
        (("sep3", 0), ("same", 0)),
        (("same", 1), ("avg3", 0)),
        (("sep3", 1), ("sep5", 2)),
        (("avg3", 5), ("sep3", 1)),
    ),
    (0, 3, 4, 6),
)
AMOEBANET_A_REDUCTION = Genotype(
    (
        (("sep3", 0), ("avg3", 1)),
        (("max3", 1), ("sep7", 2)),
        (("max3", 0), ("max3", 1)),
        (("sep3", 4), ("1x7_7x1", 1)),
        (("avg3", 0), ("sep7", 1)),
    ),
    (2, 3, 4, 5, 6),
)
PNASNET_5 = Genotype(
    (
        (("sep5", 0), ("max3", 0)),
        (("sep7", 1), ("max3", 1)),
        (("sep5", 1), ("sep3", 1)),
        (("sep3", 4), ("max3", 1)),
        (("sep3", 0), ("same", 1)),
    ),
    (2, 3, 4, 5, 6),
)
# Its code's first version of DARTS, before the paper's last one
DARTS_V1_NORMAL = Genotype(
    (
        (("sep3", 1), ("sep3", 0)),
        (("skip", 0), ("sep3", 1)),
        (("skip", 0), ("sep3", 1)),
        (("sep3", 0), ("skip", 2)),
    ),
    (2, 3, 4, 5),
)
DARTS_V1_REDUCTION = Genotype(
    (
        (("max3", 0), ("max3", 1)),
        (("skip", 2), ("max3", 0)),
        (("max3", 0), ("skip", 2)),
        (("skip", 2), ("avg3", 0)),
    ),
    (2, 3, 4, 5),
)
DARTS_NORMAL = Genotype(
    (
        (("sep3", 0), ("sep3", 1)),
        (("sep3", 0), ("sep3", 1)),
        (("sep3", 1), ("skip", 0)),
        (("skip", 0), ("dil3", 2)),
    ),
    (2, 3, 4, 5),
)
DARTS_REDUCTION = Genotype(
    (
        (("max3", 0), ("max3", 1)),
        (("skip", 2), ("max3", 1)),
        (("max3", 0), ("skip", 2)),
        (("skip", 2), ("max3", 1)),
    ),
    (2, 3, 4, 5),
)
P_DARTS_NORMAL = Genotype(
    (
        (("skip", 0), ("dil3", 1)),
        (("skip", 0), ("sep3", 1)),
        (("sep3", 1), ("sep3", 3)),
        (("sep3", 0), ("dil5", 4)),
    ),
    (2, 3, 4, 5),
)
P_DARTS_REDUCTION = Genotype(
    (
        (("avg3", 0), ("sep5", 1)),
        (("sep3", 0), ("dil5", 2)),
        (("max3", 0), ("dil3", 1)),
        (("dil3", 1), ("dil5", 3)),
    ),
    (2, 3, 4, 5),
)
STEM_CHANNELS = 32  # of NASNet's, AmoebaNet's and PNASNet's
BN_EPS = 1e-3  # likewise


class FactorizedReduction(nn.Module):
    """ReLU, two 1x1 convolutions with stride 2 of which one sees the image moved by a pixel, and BN."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.even = nn.Conv2d(in_channels, half, 1, 2, bias=False)
        self.odd = nn.Conv2d(in_channels, channels - half, 1, 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / 2, W / 2), rounded up."""
        x = x.relu()
        moved = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]  # (N, in_channels, H, W)
        return self.bn(torch.cat([self.even(x), self.odd(moved)], dim=1))


def _relu_conv_bn(
    in_channels: int, channels: int, kernel: tuple[int, int] = (1, 1), stride: int | tuple[int, int] = 1
) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(channels),
    )


def _depthwise_separable(in_channels: int, channels: int, stride: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """ReLU, depthwise convolution, 1x1 convolution, BN."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, in_channels, kernel, stride, padding, dilation=dilation, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


def _separable(in_channels: int, channels: int, stride: int, kernel: int) -> nn.Sequential:
    """A depthwise-separable convolution applied twice, the stride in the first."""
    return nn.Sequential(
        _depthwise_separable(in_channels, channels, stride, kernel), _depthwise_separable(channels, channels, 1, kernel)
    )


def _factorised_7x7(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """1x7 and 7x1 at a quarter of the channels, between two 1x1 convolutions."""
    inner = channels // 4
    return nn.Sequential(
        _relu_conv_bn(in_channels, inner),
        _relu_conv_bn(inner, inner, (1, 7), (1, stride)),
        _relu_conv_bn(inner, inner, (7, 1), (stride, 1)),
        _relu_conv_bn(inner, channels),
    )


def _pool(in_channels: int, channels: int, stride: int, layer: Callable[..., nn.Module]) -> nn.Module:
    pool = layer(3, stride, padding=1)
    if in_channels == channels:
        return pool
    return nn.Sequential(pool, nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))


def _same(in_channels: int, channels: int, stride: int) -> nn.Module:
    """Hand the state on, by a 1x1 convolution where its shape does not fit (NASNet, AmoebaNet, PNASNet)."""
    fits = in_channels == channels and stride == 1
    return nn.Identity() if fits else _relu_conv_bn(in_channels, channels, stride=stride)


def _skip(in_channels: int, channels: int, stride: int) -> nn.Module:
    """Hand the state on, by a factorised reduction at stride 2 (DARTS)."""
    return nn.Identity() if stride == 1 else FactorizedReduction(in_channels, channels)


# Each is built from (input channels, channels, stride).
OPERATIONS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "same": _same,
    "skip": _skip,
    "avg3": partial(_pool, layer=partial(nn.AvgPool2d, count_include_pad=False)),
    "max3": partial(_pool, layer=nn.MaxPool2d),
    "sep3": partial(_separable, kernel=3),
    "sep5": partial(_separable, kernel=5),
    "sep7": partial(_separable, kernel=7),
    "dil3": partial(_depthwise_separable, kernel=3, dilation=2),
    "dil5": partial(_depthwise_separable, kernel=5, dilation=2),
    "1x7_7x1": _factorised_7x7,
}


class Map(NamedTuple):
    """Channels and stride of a cell's output."""

    channels: int
    stride: int


class Cell(nn.Module):
    """A cell by its genotype.

    Args:
        genotype: its plan.
        previous: what the cell before the last one gives, None where there is none: state 0 is then the last one's
            output as it is.
        last: what the last cell gives.
        filters: channels of every state.
        stride: of the operations on states 0 and 1.

    Attributes:
        output: what it gives.
    """

    def __init__(self, genotype: Genotype, previous: Map | None, last: Map, filters: int, stride: int) -> None:
        super().__init__()
        if previous is None:
            self.adapt0: nn.Module = nn.Identity()
        elif previous.stride < last.stride:
            self.adapt0 = FactorizedReduction(previous.channels, filters)
        else:
            self.adapt0 = _relu_conv_bn(previous.channels, filters)
        self.adapt1 = _relu_conv_bn(last.channels, filters)
        channels = [filters if previous else last.channels] + [filters] * (1 + len(genotype.pairs))
        self.pairs = nn.ModuleList()
        for pair in genotype.pairs:
            operations = [
                OPERATIONS[name](channels[state], filters, stride if state < 2 else 1) for name, state in pair
            ]
            self.pairs.append(nn.ModuleList(operations))
        self.genotype = genotype
        self.output = Map(filters * len(genotype.concat), last.stride * stride)

    def forward(self, previous: Tensor, last: Tensor) -> Tensor:
        """Map the last two cells' outputs (N, C, H, W) to (N, output.channels, H / stride, W / stride)."""
        states = [self.adapt0(previous), self.adapt1(last)]
        for operations, ((_, left), (_, right)) in zip(self.pairs, self.genotype.pairs, strict=True):
            first, second = cast(nn.ModuleList, operations)
            states.append(first(states[left]) + second(states[right]))
        return torch.cat([states[index] for index in self.genotype.concat], dim=1)


@dataclass(frozen=True)
class Plan:
    """A network of cells.

    Attributes:
        stem: (module, what it gives) of the stem's maps, finest first. The cells see the last two; where there is one,
            the first cell has no other input.
        cells: (genotype, filters, stride) of every cell.
    """

    stem: tuple[tuple[str, Map], ...]
    cells: tuple[tuple[Genotype, int, int], ...]

    def levels(self) -> list[tuple[str, Map]]:
        """Return C1..C5, each the last map at its stride, with the module that gives it."""
        maps = list(self.stem)
        stride = maps[-1][1].stride
        for index, (genotype, filters, step) in enumerate(self.cells):
            stride *= step
            maps.append((f"cells.{index}", Map(filters * len(genotype.concat), stride)))
        return list({level.stride: (module, level) for module, level in maps}.values())


def google_plan(
    normal: Genotype,
    reduction: Genotype,
    filters: int,
    repeats: tuple[int, int, int],
    stem_channels: int = STEM_CHANNELS,
) -> Plan:
    """Return the plan of NASNet, AmoebaNet and PNASNet: a convolution, two reductions, three stages of cells."""
    stem_cells = ((reduction, filters // 4, 2), (reduction, filters // 2, 2))
    return Plan((("stem0", Map(stem_channels, 2)),), stem_cells + _stages(normal, reduction, filters, repeats))


def darts_plan(
    normal: Genotype, reduction: Genotype, filters: int = 48, repeats: tuple[int, int, int] = (4, 4, 4)
) -> Plan:
    """Return the plan of DARTS and P-DARTS: three convolutions with stride 2, three stages of cells."""
    stem = (("stem0.2", Map(filters // 2, 2)), ("stem0", Map(filters, 4)), ("stem1", Map(filters, 8)))
    return Plan(stem, _stages(normal, reduction, filters, repeats))


def _stages(
    normal: Genotype, reduction: Genotype, filters: int, repeats: tuple[int, int, int]
) -> tuple[tuple[Genotype, int, int], ...]:
    """Return cells of which so many normal ones make a stage; a reduction that doubles the filters begins the others."""
    cells: list[tuple[Genotype, int, int]] = []
    for stage, count in enumerate(repeats):
        width = filters * 2**stage
        if stage:
            cells.append((reduction, width, 2))
        cells += [(normal, width, 1)] * count
    return tuple(cells)


class CellNet(nn.Module):
    """A stem, cells, a pooled classifier.

    Args:
        plan: its cells.
        stem0: gives the stem's last map but one, or its only one.
        stem1: gives the last from that.
        act: of the last cell's output.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    def __init__(
        self, plan: Plan, stem0: nn.Sequential, stem1: nn.Module, act: nn.Module, num_classes: int, drop_rate: float
    ) -> None:
        super().__init__()
        self.stem0 = stem0
        self.stem1 = stem1
        self.cells = nn.ModuleList()
        last = plan.stem[-1][1]
        previous = plan.stem[-2][1] if len(plan.stem) > 1 else None
        for genotype, filters, stride in plan.cells:
            cell = Cell(genotype, previous, last, filters, stride)
            self.cells.append(cell)
            previous, last = last, cell.output
        self.act = act
        self.num_features = last.channels
        self.head = ClassifierHead(self.num_features, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": level.channels, "reduction": level.stride, "module": module} for module, level in plan.levels()
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, num_features, H / 32, W / 32)."""
        previous = self.stem0(x)
        last = self.stem1(previous)
        for cell in self.cells:
            previous, last = last, cell(previous, last)
        return self.act(last)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.forward_features(x))


def google_net(plan: Plan, num_classes: int = 1000, drop_rate: float = 0.5) -> CellNet:
    """Build NASNet, AmoebaNet or PNASNet. All convolutions are padded by half their kernel."""
    channels = plan.stem[0][1].channels
    stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels))
    net = CellNet(plan, stem, nn.Identity(), nn.ReLU(), num_classes, drop_rate)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = BN_EPS
    return net


def darts_net(plan: Plan, num_classes: int = 1000, drop_rate: float = 0.0) -> CellNet:
    """Build DARTS or P-DARTS."""
    half, channels = plan.stem[0][1].channels, plan.stem[1][1].channels
    stem0 = nn.Sequential(
        nn.Conv2d(3, half, 3, 2, 1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, channels, 3, 2, 1, bias=False),
        nn.BatchNorm2d(channels),
    )
    stem1 = _relu_conv_bn(channels, channels, (3, 3), 2)
    return CellNet(plan, stem0, stem1, nn.Identity(), num_classes, drop_rate)


def _entry(build: Callable, plan: Plan, paper: str, published: Published | None, resolution: int = 224) -> Entry:
    levels = plan.levels()
    taps = last_taps((module, level.channels) for module, level in levels)
    channels = channels_of(level.channels for _, level in levels)
    return Entry(partial(build, plan), paper, channels, taps, published=published, resolution=resolution)


_NASNET = "Zoph et al., NASNet, CVPR 2018"
_AMOEBANET = "Real et al., AmoebaNet, AAAI 2019"
_PNASNET = "Liu et al., PNASNet, ECCV 2018"
_DARTS = "Liu et al., DARTS, ICLR 2019"
_QUOTED = "the paper, as Huang et al., Combinatorial Multi-Armed Bandit NAS, IJCNN 2021, Table IV, quotes it"
_OSMR = "osmr/imgclsmob, gluon/README.md, with BN and biases"
ROWS = {
    "nasnet_a_mobile": _entry(
        google_net,
        google_plan(NASNET_A_NORMAL, NASNET_A_REDUCTION, 44, (4, 4, 4)),
        _NASNET,
        Published(5.3, 0.564, "the authors' code, tensorflow/models, research/slim/nets/nasnet/README.md"),
    ),
    "nasnet_a_large": timm_entry(
        "nasnetalarge",
        _NASNET,
        (96, 168, 1008, 2016, 4032),
        (("reduction_cell_1.conv_1x1.act", 2016), ("act", 4032)),
        resolution=331,
        published=Published(88.753, 23.976, _OSMR),
    ),
    "amoebanet_a_mobile": _entry(
        google_net,
        google_plan(AMOEBANET_A_NORMAL, AMOEBANET_A_REDUCTION, 50, (4, 4, 4)),
        _AMOEBANET,
        Published(5.1, 0.555, _QUOTED),
    ),
    "amoebanet_a_large": _entry(
        google_net,
        google_plan(AMOEBANET_A_NORMAL, AMOEBANET_A_REDUCTION, 190, (6, 6, 6)),
        _AMOEBANET,
        Published(87, 23, "Tan and Le, EfficientNet, ICML 2019, Table 2"),
        resolution=331,
    ),
    "pnasnet_5_mobile": _entry(
        google_net, google_plan(PNASNET_5, PNASNET_5, 54, (3, 2, 2)), _PNASNET, Published(5.1, 0.588, _QUOTED)
    ),
    "pnasnet_5_large": timm_entry(
        "pnasnet5large",
        _PNASNET,
        (96, 270, 1080, 2160, 4320),
        (("cell_8.conv_1x1.act", 2160), ("act", 4320)),
        resolution=331,
        published=Published(86.058, 25.141, _OSMR),
    ),
    "darts_v1": _entry(darts_net, darts_plan(DARTS_V1_NORMAL, DARTS_V1_REDUCTION), _DARTS, None),
    "darts": _entry(
        darts_net,
        darts_plan(DARTS_NORMAL, DARTS_REDUCTION),
        _DARTS,
        Published(
            4.7,
            0.574,
            _QUOTED,
            "the cell of its own code has these params, which its README prints too; no text says how 574M were counted",
        ),
    ),
    "p_darts": _entry(
        darts_net,
        darts_plan(P_DARTS_NORMAL, P_DARTS_REDUCTION),
        "Chen et al., P-DARTS, ICCV 2019",
        Published(
            4.9,
            0.557,
            _QUOTED,
            "its code's cell is of another run than the paper's, as its README says",
        ),
    ),
}
