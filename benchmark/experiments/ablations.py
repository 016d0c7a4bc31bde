"""Ablations of ReXNet that the documents report (paper, sections 4.4 and 5.1; document 003), with a small budget.

The networks are the catalogue's ReXNet, block for block, on 32x32 pixels: the stem has stride 1, and the last map is
2x2. The plain form stands on MobileNetV1's body: depthwise-separable convolutions without shortcut and without
squeeze-and-excitation. The paper does not print its widths; here they rise in a line from MobileNetV1's first 64 so far
that the multiply-adds are MobileNetV1's.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from backbones.errors import UserError, did_you_mean
from backbones.families.rexnet import (
    PENULTIMATE_CHANNELS,
    STAGES,
    STEM_CHANNELS,
    ConvNormAct,
    LinearBottleneck,
    linear_channels,
)
from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.experiments.small_data import SIDE, open_source
from benchmark.experiments.small_nets import PooledClassifier, Recipe, test, train
from benchmark.experiments.statistics import mean_interval, written
from benchmark.experiments.units import Values
from benchmark.measuring.complexity import count_macs
from benchmark.records.verdicts import Verdict, judge_all
from benchmark.seeding import seed_all

Nonlinearity = Callable[[], nn.Module]
_CLASSES = 100  # for the counts
_MARGIN = 1.0  # points of accuracy: a smaller difference is none
# MobileNetV1's body (document 001, table 1): output channels and strides of its separable convolutions, and its stem.
_V1_CHANNELS = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
_V1_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
_V1_STEM = 32


@dataclass(frozen=True)
class Variant:
    """A form of ReXNet: its parts.

    Attributes:
        first: nonlinearity of the stem and after the 1x1 convolutions.
        second: after the depthwise convolutions.
        se: whether there is squeeze-and-excitation where ReXNet has it.
        skip: whether there are shortcuts.
        width: multiplier.
    """

    first: Nonlinearity = nn.SiLU
    second: Nonlinearity = nn.ReLU6
    se: bool = True
    skip: bool = True
    width: float = 1.0

    def layers(self) -> tuple[list[nn.Module], int]:
        """Return stem, blocks and last 1x1 convolution, and the channels of its output."""
        inputs = round(STEM_CHANNELS * max(self.width, 1.0))
        found: list[nn.Module] = [self._conv(3, inputs, 3)]
        channels = iter(linear_channels(self.width))
        for blocks, stage_stride, expansion, se in STAGES:
            for index in range(blocks):
                outputs = next(channels)
                stride = stage_stride if index == 0 else 1
                block = LinearBottleneck(inputs, outputs, stride, expansion, se and self.se)
                block.use_shortcut = block.use_shortcut and self.skip
                block.add_module("act_dw", self.second())
                if block.conv_exp is not None:
                    block.conv_exp.add_module("act", self.first())
                found.append(block)
                inputs = outputs
        last = int(PENULTIMATE_CHANNELS * self.width)
        return [*found, self._conv(inputs, last)], last

    def _conv(self, inputs: int, outputs: int, kernel: int = 1) -> ConvNormAct:
        layer = ConvNormAct(inputs, outputs, kernel)
        layer.add_module("act", self.first())
        return layer


@dataclass(frozen=True)
class Plain:
    """A form of MobileNetV1: with its own channels, or linear ones at the same multiply-adds."""

    linear: bool
    first: Nonlinearity = nn.ReLU6
    second: Nonlinearity = nn.ReLU6

    def layers(self) -> tuple[list[nn.Module], int]:
        """Return stem and separable convolutions, and the channels of the last one's output."""
        channels = plain_channels() if self.linear else _V1_CHANNELS
        return self._layers(channels), channels[-1]

    def _layers(self, channels: Sequence[int]) -> list[nn.Module]:
        inputs = _V1_STEM
        found: list[nn.Module] = [self._conv(3, inputs, 3, 1, 1, self.first)]
        for outputs, stride in zip(channels, _V1_STRIDES, strict=True):
            found.append(self._conv(inputs, inputs, 3, stride, inputs, self.second))
            found.append(self._conv(inputs, outputs, 1, 1, 1, self.first))
            inputs = outputs
        return found

    def _conv(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, act: Nonlinearity) -> ConvNormAct:
        layer = ConvNormAct(inputs, outputs, kernel, stride, groups)
        layer.add_module("act", act())
        return layer


@cache
def plain_channels() -> tuple[int, ...]:
    """Return channels linear in the block index, from MobileNetV1's first on, with its multiply-adds."""
    goal = plain_macs(_V1_CHANNELS)
    lines = [
        tuple(round(_V1_CHANNELS[0] + slope / 4 * index) for index in range(len(_V1_CHANNELS)))
        for slope in range(1, 600)
    ]
    return min(lines, key=lambda channels: abs(plain_macs(channels) - goal))


def plain_macs(channels: Sequence[int]) -> int:
    """Return the multiply-adds of MobileNetV1's convolutions with these channels on 32x32 pixels, stem of stride 1."""
    side, inputs, macs = SIDE, _V1_STEM, 27 * _V1_STEM * SIDE**2
    for outputs, stride in zip(channels, _V1_STRIDES, strict=True):
        side //= stride
        macs += inputs * (9 + outputs) * side**2
        inputs = outputs
    return macs


FULL = "ReXNet x1.0"
VARIANTS: dict[str, Variant | Plain] = {
    FULL: Variant(),
    "no SE": Variant(se=False),
    "no skip": Variant(skip=False),
    "ReLU6 only": Variant(first=nn.ReLU6),
    "ELU": Variant(first=nn.ELU),
    "SiLU everywhere": Variant(second=nn.SiLU),
    "no SE, skip, SiLU": Variant(se=False, skip=False, first=nn.ReLU6),
    "MobileNetV1": Plain(linear=False),
    "plain, ReLU6": Plain(linear=True),
    "plain": Plain(linear=True, first=nn.SiLU),
    "x0.9": Variant(width=0.9),
    "x1.3": Variant(width=1.3),
    "x1.5": Variant(width=1.5),
    "x2.0": Variant(width=2.0),
}

CONFIG: dict[str, Any] = {
    "variants": list(VARIANTS),
    "seeds": [0, 1, 2],
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 0.05,
    "train": 50_000,
    "test": 10_000,
    "scenes": [400, 300],
}
SMALL: dict[str, Any] = {"epochs": 8, "train": 320, "test": 600, "batch_size": 16}
QUICK: dict[str, Any] = {
    "variants": [FULL, "no SE", "no skip", "ReLU6 only"],
    "seeds": [0, 1],
    "epochs": 1,
    "train": 64,
    "test": 64,
    "scenes": [40, 20],
    "batch_size": 32,
}

_OVER = "top-1 of the first less that of the second is over 0 with the t interval of its pairs of seeds"
_WIDTHS = ("x0.9", FULL, "x1.3", "x1.5", "x2.0")
# By claim: what is said, where, the pairs (better, worse) of variants, and the margin.
_PAIRS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "se": ("Squeeze-and-excitation raises accuracy.", "paper, section 4.4", ((FULL, "no SE"),)),
    "skip": (
        "Shortcuts raise accuracy: the plain form has none.",
        "paper, section 4.4; document 003",
        ((FULL, "no skip"),),
    ),
    "silu": ("SiLU in place of ReLU6 raises accuracy.", "paper, section 4.4", ((FULL, "ReLU6 only"),)),
    "full_form": (
        "ReXNet in its full form is more accurate than without SE, shortcuts and SiLU.",
        "paper, table 4; documents 002 and 003",
        ((FULL, "no SE, skip, SiLU"),),
    ),
    "plain_channels": (
        "Linear channels upon MobileNetV1 raise accuracy (ReXNet plain: by 2.3 points on ImageNet, with SiLU).",
        "paper, section 4.4",
        (("plain", "MobileNetV1"),),
    ),
    "plain_channels_alone": (
        "They do so without SiLU too.",
        "control of the paper's section 4.4, whose plain form differs in both",
        (("plain, ReLU6", "MobileNetV1"),),
    ),
    "full_over_plain": (
        "ReXNet is more accurate than its plain form (77.3 against 74.8% on ImageNet).",
        "paper, section 4.4 and table 4",
        ((FULL, "plain"),),
    ),
    "wider": (
        "The wider, the more accurate (x0.9 to x2.0 on ImageNet: 77.2, 77.9, 79.5, 80.3, 81.6%).",
        "paper, table 5",
        tuple(zip(_WIDTHS[1:], _WIDTHS, strict=False)),
    ),
}
_SIMILAR = {"elu_similar": ("ELU", FULL), "silu_first_is_enough": ("SiLU everywhere", FULL)}
CLAIMS = {
    **{
        claim: Claim(text, source, f"{_OVER}: " + ", ".join(f"{more} and {less}" for more, less in pairs))
        for claim, (text, source, pairs) in _PAIRS.items()
    },
    "elu_similar": Claim(
        "ELU in place of SiLU shows similar accuracy.",
        "paper, section 4.4",
        f"the difference of ELU and SiLU is within {_MARGIN:g} point either way with its t interval",
    ),
    "silu_first_is_enough": Claim(
        "SiLU after the first 1x1 convolution is enough: after the depthwise one it adds nothing.",
        "paper, section 4.4; document 003",
        f"SiLU everywhere less ReXNet's is under {_MARGIN:g} point with its t interval",
    ),
}


def build(name: str, classes: int) -> PooledClassifier:
    """Return a variant as a classifier of 32x32 pictures."""
    layers, features = VARIANTS[name].layers()
    return PooledClassifier(layers, features, classes)


def count(name: str) -> tuple[float, float]:
    """Return params and multiply-adds of a variant in millions, with CIFAR-100's classes."""
    with torch.device("meta"):
        net = build(name, _CLASSES).eval()
        macs, _ = count_macs(lambda: net(_image()))
    return sum(parameter.numel() for parameter in net.parameters()) / 1e6, macs / 1e6


def _image() -> Tensor:
    return torch.zeros(1, 3, SIDE, SIDE)


def work(unit: Mapping[str, Any]) -> Values:
    """Train one variant with one seed and return its ``top1`` ()."""
    config, pictures = unit["config"], unit["source"].load()
    seed_all(unit["seed"])
    net = build(unit["variant"], pictures.classes)
    train(net, pictures, Recipe(config["epochs"], config["batch_size"], config["learning_rate"]), unit["seed"])
    return {"top1": np.array(test(net, pictures)[0])}


def run(run: Run) -> Findings:
    """Train every variant with every seed and judge the paper's comparisons."""
    config, source = run.config, open_source(run)
    units = {
        f"{list(VARIANTS).index(variant)}_{seed}": {
            "variant": variant,
            "seed": seed,
            "source": source,
            "config": {key: config[key] for key in ("epochs", "batch_size", "learning_rate")},
        }
        for seed in config["seeds"]
        for variant in config["variants"]
    }
    done = run.do(units, work)
    top1 = {
        variant: np.array([float(done[f"{list(VARIANTS).index(variant)}_{seed}"]["top1"]) for seed in config["seeds"]])
        for variant in config["variants"]
    }
    pictures = source.load()
    return Findings(
        measured=(
            f"{len(top1)} forms of ReXNet, {config['epochs']} epochs on {len(pictures.train)} pictures of "
            f"{source.title}, tested on {len(pictures.test)}: top-1 of each of {len(config['seeds'])} seeds (dots), "
            "mean and its 95% t interval. Params and multiply-adds on 32x32 pixels stand below the names."
        ),
        verdicts=judge(top1),
        figures=_figures(top1),
        series=[
            Series(
                group="top1",
                name=f"seed {seed}",
                x=[float(place) for place in range(len(top1))],
                y=[float(values[at]) for values in top1.values()],
                low=[None] * len(top1),
                high=[None] * len(top1),
                n=1,
            )
            for at, seed in enumerate(config["seeds"])
        ],
        seeds=config["seeds"],
        small_data=source.small,
        data=source.title,
    )


def judge(top1: Mapping[str, np.ndarray]) -> dict[str, tuple[Verdict, str]]:
    """Judge every claim whose variants were trained, of accuracies (seed,) in percent by variant."""
    found = {}
    for claim, (_, _, pairs) in _PAIRS.items():
        if missing := [name for pair in pairs for name in pair if name not in top1]:
            found[claim] = (Verdict.NOT_TESTED, f"{missing[0]} was not trained.")
            continue
        differences = [(f"{more} and {less}", *_difference(top1[more] - top1[less])) for more, less in pairs]
        intervals = [(low, high) for *_, low, high in differences]
        found[claim] = _with_text(judge_all(intervals), differences)
    for claim, (variant, reference) in _SIMILAR.items():
        if missing := [name for name in (variant, reference) if name not in top1]:
            found[claim] = (Verdict.NOT_TESTED, f"{missing[0]} was not trained.")
            continue
        mean, low, high = _difference(top1[variant] - top1[reference])
        # Similar: above minus the margin and below it. Enough: below it.
        intervals = [(-high, -low)] + ([(low, high)] if claim == "elu_similar" else [])
        found[claim] = _with_text(judge_all(intervals, -_MARGIN), [(f"{variant} and {reference}", mean, low, high)])
    return found


def _difference(values: np.ndarray) -> tuple[float, float, float]:
    mean, low, high = mean_interval(values)
    return float(mean), float(low), float(high)


def _with_text(verdict: Verdict, differences: Sequence[tuple[str, float, float, float]]) -> tuple[Verdict, str]:
    text = written([(name, mean, (low, high)) for name, mean, low, high in differences], "+.1f")
    if not np.isfinite([ends for *_, low, high in differences for ends in (low, high)]).all():
        return Verdict.CANNOT_TELL, f"{text}: one seed has no interval."
    return verdict, f"points of top-1: {text}."


def _figures(top1: Mapping[str, np.ndarray]) -> list[Figure]:
    found = []
    for name, values in top1.items():
        mean, low, high = _difference(values)
        interval = (low, high) if np.isfinite(low) else None
        found.append(Figure(name=f"{name}: top-1", value=mean, interval=interval, n=len(values), unit="%"))
        params, macs = count(name)
        found.append(Figure(name=f"{name}: params", value=params, unit="M"))
        found.append(Figure(name=f"{name}: multiply-adds", value=macs, unit="M"))
    return found


def draw(made: Artefact) -> Drawing:
    """Draw the accuracy of every variant, its seeds and its interval."""
    figure, (panel,) = new_figure(1, 1, width=12, height=3.6)
    values, variants = {found.name: found for found in made.figures}, made.config["variants"]
    for seed in made.panel("top1"):
        panel.plot(seed.x, np.array(seed.y, float), ".", color=COLOURS[7], markersize=5)
    for place, name in enumerate(variants):
        found = values[f"{name}: top-1"]
        if found.interval:
            panel.plot([place] * 2, found.interval, color=COLOURS[0], linewidth=1.4)
        panel.plot(place, found.value or 0.0, "o", color=COLOURS[0], markersize=5)
    labels = []
    for name in variants:
        lines = textwrap.wrap(name, 12, break_long_words=False)
        costs = [
            f"{values[f'{name}: {cost}'].value:.{digits}f}M" for cost, digits in (("params", 1), ("multiply-adds", 0))
        ]
        labels.append("\n".join([*lines, *[""] * (2 - len(lines)), *costs]))
    panel.set_xticks(range(len(variants)), labels, fontsize=7)
    panel.set(ylabel="top-1 (%)", xlim=(-0.6, len(variants) - 0.4))
    return figure


def check(config: Mapping[str, Any]) -> None:
    """Check that the variants are known.

    Raises:
        UserError: they are not.
    """
    for variant in config["variants"]:
        if variant not in VARIANTS:
            raise UserError(
                f"No variant {variant!r}.{did_you_mean(variant, VARIANTS)} Expected some of {', '.join(VARIANTS)}."
            )


EXPERIMENT = Experiment(
    CONFIG, QUICK, CLAIMS, run, draw, check, SMALL, ("variants", "epochs", "train", "test", "scenes")
)
