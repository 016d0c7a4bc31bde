"""Laws of cost (documents 001 and 004): measured on the machine at hand, each relative to its own baseline.

Networks are stacks of layers without normalisation, as ShuffleNet V2's are (ECCV 2018, section 2), at batch 1 with one
thread, in fp32. They are timed in interleaved rounds, so that a ratio is of neighbours in time. Where a document keeps
the multiply-adds equal only up to rounding of channels, time is taken per multiply-add.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import comb, factorial, log, prod, sqrt
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.experiments.statistics import bootstrap_interval
from benchmark.experiments.units import Values
from benchmark.measuring.complexity import classifier_complexity, count_macs
from benchmark.measuring.latency import time_rounds
from benchmark.records.tolerances import TOLERANCES
from benchmark.records.verdicts import Verdict, judge, judge_all

_MARGIN = 0.02  # of a ratio of times: less is no difference
_LAW = TOLERANCES["cost law"]
Ratio = tuple[float, tuple[float, float]]  # and its interval

CONFIG: dict[str, Any] = {
    "rounds": 60,
    "threads": 1,
    "repeats": 10,
    "side": 56,
    "scales": [1, 2, 4],
    "separable_channels": [32, 64, 128, 256],
    "separable_kernels": [3, 5],
    "separable_side": 28,
    "separable_repeats": 4,
    "seed": 0,
}
QUICK: dict[str, Any] = {"rounds": 12, "scales": [1, 2], "separable_channels": [32, 128]}


@dataclass(frozen=True)
class Subject:
    """What is timed: a label, a network, and the shape (N, C, H, W) of its input."""

    label: str
    build: Callable[[], nn.Module]
    shape: tuple[int, int, int, int]


class Unit(nn.Module):
    """Branches of one input, added: parallel fragments, or a bottleneck and its shortcut."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        first, *others = [branch(x) for branch in self.branches]
        return sum(others, first)


def _conv(inputs: int, outputs: int, kernel: int = 1, groups: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def _stack(unit: Callable[[], nn.Module], repeats: int) -> nn.Module:
    return nn.Sequential(*(unit() for _ in range(repeats)))


# Tables 1 to 4 of ShuffleNet V2 as document 001 has them: rows by label, with the widths of the ARM (CPU) columns at x1
# and both devices' speeds at three widths, GPU in batches and ARM in images a second.
G1_ROWS = {"1:1": (32, 32), "1:2": (22, 44), "1:6": (13, 78), "1:12": (9, 108)}
# The widths above leave most of a CPU's vectors of 8 or 16 partly empty; these, of exactly equal cost, do not.
ALIGNED_ROWS = {"1:1": (64, 64), "1:4": (32, 128), "1:16": (16, 256)}
G2_ROWS = {"1": 64, "2": 90, "4": 128, "8": 180}
G3_ROWS = {
    "1 fragment": (1, False),
    "2, series": (2, False),
    "4, series": (4, False),
    "2, parallel": (2, True),
    "4, parallel": (4, True),
}
G4_ROWS = {
    "neither": (False, False),
    "shortcut": (False, True),
    "ReLU": (True, False),
    "both": (True, True),
}  # ReLU, shortcut
PRINTED: dict[str, dict[str, list[tuple[float, float, float]]]] = {
    "G1": {
        "GPU": [(1480, 723, 232), (1296, 586, 206), (876, 489, 189), (748, 392, 163)],
        "ARM": [(76.2, 21.7, 5.3), (72.9, 20.5, 5.1), (69.1, 17.9, 4.6), (57.6, 15.1, 4.4)],
    },
    "G2": {
        "GPU": [(2451, 1289, 437), (1725, 873, 341), (1026, 644, 338), (634, 445, 230)],
        "ARM": [(40.0, 10.2, 2.3), (35.0, 9.5, 2.2), (32.9, 8.7, 2.1), (27.8, 7.5, 1.8)],
    },
    "G3": {
        "GPU": [(2446, 1274, 434), (1790, 909, 336), (752, 745, 349), (1537, 803, 320), (691, 572, 292)],
        "ARM": [(40.2, 10.1, 2.3), (38.6, 10.1, 2.2), (38.4, 10.1, 2.3), (33.4, 9.1, 2.2), (35.0, 8.4, 2.1)],
    },
    "G4": {
        "GPU": [(2842, 2376, 1782), (2672, 2121, 1458), (2647, 2256, 1735), (2427, 2066, 1436)],
        "ARM": [(66.3, 20.2, 5.4), (57.3, 18.2, 5.1), (61.9, 18.8, 5.2), (56.7, 16.9, 5.0)],
    },
}
ALIGNED = "G1_aligned"
ROWS: dict[str, Sequence[str]] = {
    "G1": [*G1_ROWS],
    ALIGNED: [*ALIGNED_ROWS],
    "G2": [*G2_ROWS],
    "G3": [*G3_ROWS],
    "G4": [*G4_ROWS],
}
# Those that the document prints, with what their rows differ in.
GUIDELINES = {
    "G1": "input : output channels",
    "G2": "groups",
    "G3": "fragments",
    "G4": "element-wise operations",
}
_PRINTED_SCALES = (1, 2, 4)

WIDTHS, SIDES = (1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128)
# MobileNet's body (document 001, table 1): output channels and stride of its separable convolutions.
_BODY = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
_STEM, _CLASSES = 32, 1000

# EfficientNet (Tan and Le, ICML 2019): alpha, beta, gamma of its section 3.3, and depth, width, resolution as built.
DEPTH, WIDTH, RESOLUTION = 1.2, 1.1, 1.15
SCALED = {
    "b0": (1.0, 1.0, 224), "b1": (1.1, 1.0, 240), "b2": (1.2, 1.1, 260), "b3": (1.4, 1.2, 300),
    "b4": (1.8, 1.4, 380), "b5": (2.2, 1.6, 456), "b6": (2.6, 1.8, 528), "b7": (3.1, 2.0, 600),
}  # fmt: skip

# RegNet's design spaces (document 004, figure 24): as printed, by the formula printed beside it, and counted.
_DEPTHS, _CHOICES_OF_WIDTH, _BOTTLENECKS, _GROUPS, _STAGES = 16, 128, 3, 6, 4


def _rising(choices: int) -> int:
    """Number of ways to choose four stages' values that do not fall: multisets."""
    return comb(choices + _STAGES - 1, _STAGES)


DESIGN_SPACES: dict[str, tuple[float, float, float | None]] = {
    "AnyNetX A": (1.8e18, (_DEPTHS * _CHOICES_OF_WIDTH * _BOTTLENECKS * _GROUPS) ** 4, None),
    "AnyNetX B": (6.8e16, (_DEPTHS * _CHOICES_OF_WIDTH * _GROUPS) ** 4 * _BOTTLENECKS, None),
    "AnyNetX C": (3.2e14, (_DEPTHS * _CHOICES_OF_WIDTH) ** 4 * _BOTTLENECKS * _GROUPS, None),
    "AnyNetX D": (
        1.3e13,
        (_DEPTHS * _CHOICES_OF_WIDTH) ** 4 * _BOTTLENECKS * _GROUPS / factorial(4),
        _DEPTHS**4 * _rising(_CHOICES_OF_WIDTH) * _BOTTLENECKS * _GROUPS,
    ),
    "AnyNetX E": (
        5.5e11,
        (_DEPTHS * _CHOICES_OF_WIDTH) ** 4 * _BOTTLENECKS * _GROUPS / factorial(4) ** 2,
        _rising(_DEPTHS) * _rising(_CHOICES_OF_WIDTH) * _BOTTLENECKS * _GROUPS,
    ),
    "RegNet": (3.0e8, 64**4 * _BOTTLENECKS * _GROUPS, None),
}

_SHUFFLE = "ShuffleNet V2 in document 001"
_FASTER = f"time per multiply-add over the baseline's is over 1 by more than {_MARGIN}, in each other row at each width"
_WITHIN, _NEAR = _LAW.bounds("1")
_HOLDS = f"a measured ratio over the predicted one is within {_WITHIN:g} of 1 (near: within {_NEAR:g})"
CLAIMS = {
    "separable_counted": Claim(
        "A depthwise-separable convolution costs 1/N + 1/K^2 of a full one, in multiply-adds.",
        "document 004, section 9, equation 3 (document 001 has the reciprocal's parts)",
        "counted multiply-adds of both are in that ratio exactly",
    ),
    "separable_timed": Claim(
        "It costs 1/N + 1/K^2 of a full one in time.",
        "documents 001 (MobileNetV1: a significant speed-up) and 004, equation 3",
        f"for every number of channels N and kernel K: {_HOLDS}",
    ),
    "separable_faster": Claim(
        "It is faster than a full one.",
        "document 001, MobileNetV1",
        "the time of a full one over its is over 1, everywhere",
    ),
    "G1": Claim("Equal channel width is fastest at equal multiply-adds.", f"{_SHUFFLE}, G1, table 1", _FASTER),
    ALIGNED: Claim(
        "Equal channel width is fastest also where all channels fill the CPU's vectors.",
        f"control of {_SHUFFLE}, G1: multiples of 16 channels, which the document's are not",
        _FASTER,
    ),
    "G2": Claim("Group convolution is slower at equal multiply-adds.", f"{_SHUFFLE}, G2, table 2", _FASTER),
    "G3_series": Claim(
        "Fragments in series are slower at equal multiply-adds.", f"{_SHUFFLE}, G3, table 3", f"in series: {_FASTER}"
    ),
    "G3_parallel": Claim(
        "Parallel fragments are slower at equal multiply-adds.", f"{_SHUFFLE}, G3, table 3", f"parallel: {_FASTER}"
    ),
    "G4": Claim(
        "Element-wise operations are not negligible: a unit is faster without ReLU and without its shortcut.",
        f"{_SHUFFLE}, G4, table 4",
        f"time over that of the unit with neither is over 1 by more than {_MARGIN}, in every row at every width",
    ),
    "width_counted": Claim(
        "A width multiplier a reduces the cost by a^2.",
        "document 004, section 9",
        f"multiply-adds of MobileNet at 0.75, 0.5 and 0.25 over those at 1: {_HOLDS}",
    ),
    "width_timed": Claim(
        "A width multiplier a reduces the time by a^2.", "document 004, section 9", f"times of the same: {_HOLDS}"
    ),
    "resolution_counted": Claim(
        "A resolution multiplier r reduces the cost by r^2.",
        "document 004, section 9",
        f"multiply-adds of MobileNet at 192, 160 and 128 pixels over those at 224: {_HOLDS}",
    ),
    "resolution_timed": Claim(
        "A resolution multiplier r reduces the time by r^2.", "document 004, section 9", f"times of the same: {_HOLDS}"
    ),
    "compound_one_coefficient": Claim(
        "One coefficient phi scales depth, width and resolution of EfficientNet-B1 to B7 together.",
        "document 004, section 12, equation 7",
        "the phi that depth, width and resolution each imply by 1.2, 1.1 and 1.15 (EfficientNet's section 3.3) lie "
        "within 0.5 of each other (near: within 1)",
    ),
    "compound_doubles": Claim(
        "The multiply-adds rise by 2^phi.",
        "document 004, section 12",
        f"with the mean of the three phi, B1 to B7 over B0: counted over 2^phi, {_HOLDS}",
    ),
    "design_space_sizes": Claim(
        "AnyNetX A to E and RegNet have so many networks.",
        "document 004, figure 24",
        "the formula printed beside a size gives its printed digits",
    ),
    "design_space_counted": Claim(
        "Sorted widths and depths divide a design space by 4! each.",
        "document 004, figure 24 (AnyNetX D and E)",
        "the number of non-falling choices is the printed one to its digits (near: within 5%)",
    ),
}


def guideline_subjects(guideline: str, scale: int, config: Mapping[str, Any]) -> list[Subject]:
    """Return a table of ShuffleNet V2 at one width, its baseline first."""
    repeats, side = config["repeats"], config["side"]

    def subject(label: str, channels: int, unit: Callable[[], nn.Module]) -> Subject:
        return Subject(label, lambda: _stack(unit, repeats), (1, channels, side, side))

    return [_GUIDELINE_UNITS[guideline](label, scale, subject) for label in ROWS[guideline]]


Wrap = Callable[[str, int, Callable[[], nn.Module]], Subject]


def _g1(label: str, scale: int, subject: Wrap) -> Subject:
    return _pairs(G1_ROWS[label], scale, label, subject)


def _g1_aligned(label: str, scale: int, subject: Wrap) -> Subject:
    return _pairs(ALIGNED_ROWS[label], scale, label, subject)


def _pairs(widths: tuple[int, int], scale: int, label: str, subject: Wrap) -> Subject:
    narrow, wide = (scale * channels for channels in widths)
    return subject(label, narrow, lambda: nn.Sequential(_conv(narrow, wide), _conv(wide, narrow)))


def _g2(label: str, scale: int, subject: Wrap) -> Subject:
    groups = int(label)
    channels = groups * round(scale * G2_ROWS[label] / groups)
    return subject(label, channels, lambda: _conv(channels, channels, groups=groups))


def _g3(label: str, scale: int, subject: Wrap) -> Subject:
    count, parallel = G3_ROWS[label]
    channels = round(64 * scale / sqrt(count))  # so that the multiply-adds are one fragment's

    def unit() -> nn.Module:
        parts = [_conv(channels, channels) for _ in range(count)]
        return Unit(*parts) if parallel else nn.Sequential(*parts)

    return subject(label, channels, unit)


def _g4(label: str, scale: int, subject: Wrap) -> Subject:
    relu, shortcut = G4_ROWS[label]
    channels = 32 * scale
    inner = channels // 2  # the document does not say; its speeds fit this one best

    def unit() -> nn.Module:
        convolutions = (_conv(channels, inner), _conv(inner, inner, 3), _conv(inner, channels))
        layers = [layer for conv in convolutions for layer in ((conv, nn.ReLU()) if relu else (conv,))]
        return Unit(nn.Sequential(*layers), nn.Identity()) if shortcut else nn.Sequential(*layers)

    return subject(label, channels, unit)


_GUIDELINE_UNITS: dict[str, Callable[[str, int, Wrap], Subject]] = {
    "G1": _g1,
    ALIGNED: _g1_aligned,
    "G2": _g2,
    "G3": _g3,
    "G4": _g4,
}


def separable_subjects(channels: int, kernel: int, config: Mapping[str, Any]) -> list[Subject]:
    """Return a full convolution and a depthwise-separable one, of as many output channels as input channels."""
    shape = (1, channels, config["separable_side"], config["separable_side"])

    def full() -> nn.Module:
        return _stack(lambda: _conv(channels, channels, kernel), config["separable_repeats"])

    def separable() -> nn.Module:
        parts = (_conv(channels, channels, kernel, groups=channels), _conv(channels, channels))
        return _stack(lambda: nn.Sequential(*(_copy(part) for part in parts)), config["separable_repeats"])

    return [Subject("full", full, shape), Subject("separable", separable, shape)]


def _copy(conv: nn.Conv2d) -> nn.Conv2d:
    return _conv(conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.groups)


def mobilenet(width: float) -> nn.Module:
    """Return MobileNetV1 with a width multiplier, as ImageNet's classifier (document 001, table 1)."""

    def scaled(channels: int) -> int:
        return round(width * channels)

    def active(conv: nn.Conv2d) -> list[nn.Module]:
        return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()]

    layers, inputs = active(_conv(3, scaled(_STEM), 3, stride=2)), scaled(_STEM)
    for channels, stride in _BODY:
        layers += active(_conv(inputs, inputs, 3, groups=inputs, stride=stride))
        layers += active(_conv(inputs, scaled(channels)))
        inputs = scaled(channels)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, _CLASSES))


def multiplier_subjects(name: str) -> list[Subject]:
    """Return MobileNet at its widths, or at its resolutions, the largest first."""
    if name == "width":
        return [Subject(f"{width:g}", partial(mobilenet, width), (1, 3, 224, 224)) for width in WIDTHS]
    return [Subject(str(side), lambda: mobilenet(1.0), (1, 3, side, side)) for side in SIDES]


def _groups(config: Mapping[str, Any]) -> dict[str, list[Subject]]:
    """Return what is timed side by side, by the unit's name; ratios are to the first of each."""
    return {
        **{
            f"separable_{kernel}_{channels}": separable_subjects(channels, kernel, config)
            for kernel in config["separable_kernels"]
            for channels in config["separable_channels"]
        },
        **{
            f"{guideline}_x{scale}": guideline_subjects(guideline, scale, config)
            for guideline in ROWS
            for scale in config["scales"]
        },
        **{name: multiplier_subjects(name) for name in ("width", "resolution")},
    }


def work(unit: Mapping[str, Any]) -> Values:
    """Return ``ms`` (subject, round), counted ``macs`` (subject,), whether the warm-up was ``stable``, the ``load``.

    The load average is taken before: a timed group adds one to it, which is not the machine's other work.
    """
    config, threads, load = unit["config"], torch.get_num_threads(), os.getloadavg()[0]
    subjects = _groups(config)[unit["group"]]
    torch.set_num_threads(config["threads"])
    torch.manual_seed(config["seed"])
    try:
        with torch.no_grad():
            runs, macs = [], []
            for subject in subjects:
                model = subject.build().eval().to(memory_format=torch.channels_last)
                images = torch.randn(subject.shape).to(memory_format=torch.channels_last)
                runs.append(partial(model, images))
                macs.append(count_macs(runs[-1])[0])
            milliseconds, _, stable = time_rounds(runs, config["rounds"])
    finally:
        torch.set_num_threads(threads)
    return {"ms": milliseconds, "macs": np.array(macs), "stable": np.array(stable), "load": np.array(load)}


def time_ratios(values: Values, *, per_mac: bool) -> list[Ratio]:
    """Return every subject's time over the first one's, median over the rounds, with its bootstrap interval."""
    milliseconds, macs = values["ms"], values["macs"]
    scale = macs[0] / macs if per_mac else np.ones(len(macs))
    ratios = (milliseconds / milliseconds[:1]) * scale[:, None]  # (subject, round)
    return [
        (float(np.median(row)), bootstrap_interval(lambda draw: float(np.median(draw)), row) if at else (1.0, 1.0))
        for at, row in enumerate(ratios)
    ]


def run(run: Run) -> Findings:
    """Time every group, count, compute and judge."""
    config = run.config
    units = {group: {"group": group, "config": dict(config)} for group in _groups(config)}
    done = run.do(units, work, alone=True)
    parts = [
        _separable(done, config),
        *(_guideline(name, done, config) for name in ROWS),
        *(_multiplier(name, done[name], config) for name in ("width", "resolution")),
        _compound(),
        _design_spaces(),
    ]
    unstable = [group for group, values in done.items() if not values["stable"]]
    busy = (
        f" The medians of {len(unstable)} of {len(done)} groups still moved when the warm-up ended." if unstable else ""
    )
    loads = [float(values["load"]) for values in done.values()]
    return Findings(
        measured=(
            f"Medians of {config['rounds']} interleaved rounds with 95% bootstrap intervals (whiskers), batch 1, "
            f"{config['threads']} thread, fp32, channels_last; stacks of {config['repeats']} units at "
            f"{config['side']}x{config['side']}, convolutions without normalisation (MobileNet whole). "
            f"Beside them the GPU (GTX 1080Ti) and ARM (Snapdragon 810) columns of document 001. Load average while "
            f"measured {min(loads):.1f} to {max(loads):.1f}.{busy}"
        ),
        verdicts={claim: verdict for part in parts for claim, verdict in part.verdicts.items()},
        figures=[figure for part in parts for figure in part.figures],
        series=[series for part in parts for series in part.series],
        seeds=[config["seed"]],
    )


@dataclass(frozen=True)
class _Part:
    verdicts: Mapping[str, tuple[Verdict, str]]
    figures: Sequence[Figure]
    series: Sequence[Series]


def _judge_law(ratios: Sequence[float]) -> Verdict:
    """Judge that measured over predicted ratios are 1: the worst of them decides."""
    verdicts = [judge(ratio, 1.0, tolerance=_WITHIN, near=_NEAR) for ratio in ratios]
    return max(verdicts, key=[Verdict.AGREES, Verdict.NEAR, Verdict.DISAGREES].index)


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _series(group: str, name: str, x: Sequence[float], ratios: Sequence[Ratio], n: int) -> Series:
    return Series(
        group=group,
        name=name,
        x=list(x),
        y=[round(ratio, 4) for ratio, _ in ratios],
        low=[round(low, 4) for _, (low, _) in ratios],
        high=[round(high, 4) for _, (_, high) in ratios],
        n=n,
    )


def _plain_series(group: str, name: str, x: Sequence[float], y: Sequence[float]) -> Series:
    nothing: list[float | None] = [None] * len(x)
    return Series(group=group, name=name, x=list(x), y=list(y), low=nothing, high=nothing, n=1)


def _separable(done: Mapping[str, Values], config: Mapping[str, Any]) -> _Part:
    figures, series, over, counted, faster = [], [], [], [], []
    for kernel in config["separable_kernels"]:
        own = []
        for channels in config["separable_channels"]:
            values = done[f"separable_{kernel}_{channels}"]
            predicted = 1 / channels + 1 / kernel**2
            _, (ratio, (low, high)) = time_ratios(values, per_mac=False)
            counted.append(values["macs"][1] / values["macs"][0] / predicted)
            over.append(ratio / predicted)
            faster.append((1 / high - 1, 1 / low - 1))
            own.append((ratio, (low, high)))
            figures.append(
                Figure(
                    name=f"time of a separable over a full convolution, N {channels}, K {kernel} (printed: predicted)",
                    value=ratio,
                    interval=(low, high),
                    n=config["rounds"],
                    printed=predicted,
                    verdict=_judge_law([ratio / predicted]),
                )
            )
        channels = config["separable_channels"]
        series.append(_series("separable", f"measured, K {kernel}", channels, own, config["rounds"]))
        predictions = [1 / number + 1 / kernel**2 for number in channels]
        series.append(_plain_series("separable", f"1/N + 1/K^2, K {kernel}", channels, predictions))
    exact = Verdict.AGREES if np.allclose(counted, 1, rtol=1e-9) else Verdict.DISAGREES
    return _Part(
        {
            "separable_counted": (exact, f"{len(counted)} pairs, counted over predicted {_span(counted)}."),
            "separable_timed": (
                _judge_law(over),
                f"{len(over)} pairs: measured over predicted {_span(over)}; the speed-up is "
                f"{_span([1 + (low + high) / 2 for low, high in faster])} where 1/(1/N + 1/K^2) is "
                f"{_span([1 / figure.printed for figure in figures if figure.printed])}.",
            ),
            "separable_faster": (
                judge_all(faster),
                f"least speed-up {min(low for low, _ in faster) + 1:.2f} (lower end of its interval).",
            ),
        },
        figures,
        series,
    )


def _guideline(name: str, done: Mapping[str, Values], config: Mapping[str, Any]) -> _Part:
    labels = ROWS[name]
    figures, series, slower = [], [], {}
    for scale in config["scales"]:
        ratios = time_ratios(done[f"{name}_x{scale}"], per_mac=True)
        at = _PRINTED_SCALES.index(scale)
        speeds = [(1 / ratio, (1 / high, 1 / low)) for ratio, (low, high) in ratios]
        series.append(_series(name, f"here, x{scale}", range(len(labels)), speeds, config["rounds"]))
        for device, columns in PRINTED.get(name, {}).items():
            column = [speed[at] / columns[0][at] for speed in columns]
            series.append(_plain_series(name, f"{device}, x{scale}", range(len(labels)), column))
        for row, label in list(enumerate(labels))[1:]:
            ratio, interval = ratios[row]
            slower[label, scale] = (ratio, interval)
            arm = PRINTED[name]["ARM"] if name in PRINTED else None
            figures.append(
                Figure(
                    name=f"{name}: time of {label} over {labels[0]}, x{scale}{' (printed: ARM)' if arm else ''}",
                    value=ratio,
                    interval=interval,
                    n=config["rounds"],
                    printed=arm[0][at] / arm[row][at] if arm else None,
                    verdict=judge_all([(interval[0] - 1, interval[1] - 1)], _MARGIN),
                )
            )

    def verdict(chosen: Sequence[str]) -> tuple[Verdict, str]:
        own = {key: value for key, value in slower.items() if key[0] in chosen}
        over = [(low - 1, high - 1) for _, (low, high) in own.values()]
        worst = ", ".join(f"{label} x{scale} {ratio:.2f}" for (label, scale), (ratio, _) in own.items())
        return judge_all(over, _MARGIN), f"time over {labels[0]}: {worst}."

    if name == "G3":
        series_rows = [label for label in labels if "series" in label]
        parallel = [label for label in labels if "parallel" in label]
        return _Part({"G3_series": verdict(series_rows), "G3_parallel": verdict(parallel)}, figures, series)
    return _Part({name: verdict(labels[1:])}, figures, series)


def _multiplier(name: str, values: Values, config: Mapping[str, Any]) -> _Part:
    x = WIDTHS if name == "width" else tuple(side / SIDES[0] for side in SIDES)
    predicted = [factor**2 for factor in x]
    ratios = time_ratios(values, per_mac=False)
    counted = [float(macs / values["macs"][0]) for macs in values["macs"]]
    timed_over = [ratio / law for (ratio, _), law in zip(ratios, predicted, strict=True)][1:]
    counted_over = [ratio / law for ratio, law in zip(counted, predicted, strict=True)][1:]
    figures = [
        Figure(
            name=f"MobileNet, {name} {factor:.3g}: time over that at 1 (printed: {name} squared)",
            value=ratio,
            interval=interval,
            n=config["rounds"],
            printed=law,
            verdict=_judge_law([ratio / law]),
        )
        for factor, (ratio, interval), law in list(zip(x, ratios, predicted, strict=True))[1:]
    ]
    texts = ", ".join(f"{ratio:.3f} for {law:.3f}" for (ratio, _), law in list(zip(ratios, predicted, strict=True))[1:])
    counts = ", ".join(f"{ratio:.3f} for {law:.3f}" for ratio, law in list(zip(counted, predicted, strict=True))[1:])
    return _Part(
        {
            f"{name}_counted": (_judge_law(counted_over), f"multiply-adds {counts}."),
            f"{name}_timed": (_judge_law(timed_over), f"times {texts}."),
        },
        figures,
        [
            _series(name, "time", x, ratios, config["rounds"]),
            _plain_series(name, "multiply-adds", x, counted),
            _plain_series(name, f"{name} squared", x, predicted),
        ],
    )


def _compound() -> _Part:
    """Judge compound scaling by counts on the meta device, which cost neither time nor memory."""
    base = classifier_complexity("efficientnet_b0", SCALED["b0"][2]).macs
    phis, over, figures, counted = {}, [], [], [1.0]
    for name, (depth, width, side) in list(SCALED.items())[1:]:
        phi = [log(depth) / log(DEPTH), log(width) / log(WIDTH), log(side / SCALED["b0"][2]) / log(RESOLUTION)]
        phis[name] = phi
        counted.append(classifier_complexity(f"efficientnet_{name}", side).macs / base)
        predicted = 2 ** float(np.mean(phi))
        over.append(counted[-1] / predicted)
        figures.append(
            Figure(
                name=f"EfficientNet-{name.upper()}: multiply-adds over B0's (printed: 2^phi)",
                value=counted[-1],
                printed=predicted,
                verdict=_judge_law([over[-1]]),
            )
        )
    spread = max(max(phi) - min(phi) for phi in phis.values())
    text = "; ".join(f"{name.upper()} {', '.join(f'{value:.1f}' for value in phi)}" for name, phi in phis.items())
    means = [0.0, *(float(np.mean(phi)) for phi in phis.values())]
    own = prod([DEPTH, WIDTH**2, RESOLUTION**2])
    return _Part(
        {
            "compound_one_coefficient": (
                judge(spread, 0.0, tolerance=0.5, near=1.0),
                f"phi by depth, width, resolution: {text}; largest spread {spread:.1f}.",
            ),
            "compound_doubles": (
                _judge_law(over),
                f"counted over 2^phi {_span(over)}; 1.2 x 1.1^2 x 1.15^2 is {own:.2f}, not 2, and (that)^phi would be "
                f"met to {_span([count / own**phi for count, phi in zip(counted[1:], means[1:], strict=True)])}.",
            ),
        },
        figures,
        [
            _plain_series("compound", "counted", means, counted),
            _plain_series("compound", "2^phi", means, [2**phi for phi in means]),
        ],
    )


def _design_spaces() -> _Part:
    figures, formula, exact = [], [], []
    for name, (printed, computed, counted) in DESIGN_SPACES.items():
        # Two digits are printed.
        digit = 10.0 ** np.floor(np.log10(printed)) / 10
        formula.append(judge(computed / digit, printed / digit, tolerance=0.5, near=1.0))
        figures.append(
            Figure(name=f"networks of {name}, by formula", value=computed, printed=printed, verdict=formula[-1])
        )
        if counted is not None:
            near = 0.05 * printed / digit
            exact.append(judge(counted / digit, printed / digit, tolerance=0.5, near=max(0.5, near)))
            figures.append(
                Figure(name=f"networks of {name}, counted", value=counted, printed=printed, verdict=exact[-1])
            )
    worst = [Verdict.AGREES, Verdict.NEAR, Verdict.DISAGREES]
    pairs = [(name, row) for name, row in DESIGN_SPACES.items() if row[2]]
    text = ", ".join(f"{name} {counted:.2g} for {printed:.2g}" for name, (printed, _, counted) in pairs)
    return _Part(
        {
            "design_space_sizes": (max(formula, key=worst.index), f"{len(formula)} sizes from their formulas."),
            "design_space_counted": (
                max(exact, key=worst.index),
                f"{text}: 4! divides distinct values only, and 16 depths for four stages repeat often.",
            ),
        },
        figures,
        [],
    )


def draw(made: Artefact) -> Drawing:
    """Draw every law beside its measurement."""
    figure, axes = new_figure(2, 4, width=14, height=3.4)
    separable, g1, g2, g3, g4, width, resolution, compound = axes
    for number, curve in enumerate(made.panel("separable")):
        _draw_law(separable, curve, COLOURS[number // 2])
    separable.set(xscale="log", yscale="log", xlabel="channels N", ylabel="time over a full convolution's")
    separable.set_xticks(made.config["separable_channels"], [str(n) for n in made.config["separable_channels"]])
    separable.set_yticks((0.05, 0.1, 0.2, 0.4), ("0.05", "0.1", "0.2", "0.4"))
    separable.minorticks_off()
    separable.set_title("depthwise-separable convolution")
    for panel, (name, label) in zip((g1, g2, g3, g4), GUIDELINES.items(), strict=True):
        _draw_guideline(panel, name, made)
        panel.set(title=f"{name}: {label}", ylabel="speed per multiply-add, baseline 1")
    for panel, name in ((width, "width"), (resolution, "resolution")):
        for number, curve in enumerate(made.panel(name)):
            _draw_law(panel, curve, COLOURS[number])
        panel.set(title=f"MobileNet's {name} multiplier", xlabel=f"{name} multiplier", ylabel="over that at 1")
    for number, curve in enumerate(made.panel("compound")):
        _draw_law(compound, curve, COLOURS[number])
    compound.set(
        yscale="log", title="EfficientNet-B0 to B7", xlabel="phi (mean of three)", ylabel="multiply-adds over B0's"
    )
    for panel in (separable, width, resolution, compound):
        panel.legend(fontsize=7)
    g1.legend(fontsize=6.5, ncols=3, loc="lower left")
    return figure


def _draw_law(panel: Axes, curve: Series, colour: str) -> None:
    """Draw a measured curve with whiskers, or a predicted one as a dashed line."""
    if curve.low[0] is None:
        predicted = curve.name not in ("multiply-adds", "counted")
        panel.plot(
            curve.x,
            _numbers(curve.y),
            "--" if predicted else "s-",
            color=colour,
            label=curve.name,
            linewidth=1,
            markersize=3.5,
        )
        return
    _whiskers(panel, curve, color=colour, fmt="o-")


def _whiskers(panel: Axes, curve: Series, **style: Any) -> None:
    y, low, high = map(_numbers, (curve.y, curve.low, curve.high))
    panel.errorbar(curve.x, y, [y - low, high - y], label=curve.name, markersize=3.5, linewidth=1.2, capsize=2, **style)


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array(values, float)


def _draw_guideline(panel: Axes, name: str, made: Artefact) -> None:
    devices = {"here": ("-", COLOURS[0]), "ARM": (":", COLOURS[1]), "GPU": ("--", COLOURS[7])}
    markers = {"x1": "o", "x2": "s", "x4": "^"}
    for curve in sorted(made.panel(name), key=lambda curve: [*devices].index(curve.name.split(",")[0])):
        device, scale = curve.name.split(", ")
        line, colour = devices[device]
        if device == "here":
            _whiskers(panel, curve, color=colour, fmt=markers[scale] + line)
        else:
            panel.plot(
                curve.x,
                _numbers(curve.y),
                markers[scale] + line,
                color=colour,
                label=curve.name,
                markersize=3,
                linewidth=0.9,
            )
    panel.axhline(1, color="black", linewidth=0.6)
    panel.set_xticks(range(len(ROWS[name])), ROWS[name], fontsize=7)
    panel.set_ylim(bottom=0)


EXPERIMENT = Experiment(CONFIG, QUICK, CLAIMS, run, draw)
