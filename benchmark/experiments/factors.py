"""Factor analysis (paper, section 3.2 and table 2): does each of three factors raise accuracy and nuclear norm?

The four models have two inverted bottlenecks. The paper prints their multiply-adds and the ratios, and no widths: the
stem's is solved from the multiply-adds on 32x32 pixels without strides, and the blocks' follow from the ratios. The
last feature then has another number of channels in each model, which a nuclear norm grows with by itself, so that the
effective rank, and the norm of features whose channels have unit variance over the square root of N times the channels
(at most 1), stand beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing
from torch import nn

from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.experiments.measures import feature_measures
from benchmark.experiments.small_data import SIDE, open_source
from benchmark.experiments.small_nets import Classifier, InvertedBottleneck, Recipe, test, train
from benchmark.experiments.statistics import mean_interval
from benchmark.experiments.units import Values
from benchmark.records.verdicts import Verdict, judge_all
from benchmark.seeding import seed_all

_COMPARED = "cifar100"  # the data of the printed figures
_CLASSES = 100  # the multiply-adds are those of CIFAR-100's classifier


@dataclass(frozen=True)
class Model:
    """A row of table 2: expansion of the first 1x1s, d_in / d_out of the blocks, and what is printed (macs in M)."""

    label: str
    expansion: int
    ratio: float
    macs: float
    first: type[nn.Module]
    top1: float
    norm: float


MODELS = (
    Model("baseline", 20, 0.22, 103, nn.ReLU6, 48.0, 5997.5),
    Model("1x1 of 1/6", 6, 0.22, 99, nn.ReLU6, 52.1, 6655.9),
    Model("blocks of 0.8", 6, 0.8, 105, nn.ReLU6, 53.8, 6703.2),
    Model("SiLU", 6, 0.8, 105, nn.SiLU, 54.6, 6895.9),
)
MEASURES = {
    "top1": "top-1 (%)",
    "nuclear": "nuclear norm",
    "normalised": "nuclear norm, normalised",
    "effective": "effective rank",
}

CONFIG: dict[str, Any] = {
    "seeds": [0, 1, 2],
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 0.05,
    "train": 50_000,
    "test": 10_000,
    "scenes": [400, 200],
}
SMALL: dict[str, Any] = {"epochs": 6, "train": 256, "test": 600, "batch_size": 16}
QUICK: dict[str, Any] = {"seeds": [0, 1], "epochs": 2, "train": 64, "test": 64, "scenes": [40, 20], "batch_size": 32}

_STEP = "in each of the three steps the mean of the seeds rises, and its paired interval lies above 0"
CLAIMS = {
    "accuracy": Claim("Each factor raises the accuracy.", "paper, table 2", _STEP),
    "nuclear_norm": Claim("Each factor raises the nuclear norm of the final feature.", "paper, table 2", _STEP),
    "normalised_norm": Claim(
        "Each factor raises the nuclear norm, also for its number of channels.", "control of the paper's table 2", _STEP
    ),
    "effective_rank": Claim("Each factor raises the effective rank.", "control of the paper's table 2", _STEP),
}
_MEASURE_OF = dict(zip(CLAIMS, MEASURES, strict=True))


def widths(model: Model, stem: float) -> tuple[int, int, int]:
    """Return the channels of stem and blocks, rounded."""
    return round(stem), round(stem / model.ratio), round(stem / model.ratio**2)


def count(model: Model, stem: float) -> int:
    """Return multiply-adds on 32x32 pixels."""
    inputs, middle, outputs = widths(model, stem)
    blocks = ((inputs, middle), (middle, outputs))
    a_pixel = 27 * inputs + sum(model.expansion * low * (low + 9 + high) for low, high in blocks)
    return a_pixel * SIDE**2 + outputs * _CLASSES


def solve_stem(model: Model) -> float:
    """Return the stem's width, not rounded yet, that brings the multiply-adds nearest to the printed ones."""
    return min(np.arange(1, 128, 0.05).tolist(), key=lambda stem: abs(count(model, stem) - model.macs * 1e6))


def build(model: Model, classes: int) -> Classifier:
    """Return a model; the first nonlinearity of each block is its own, the others are ReLU6."""
    inputs, middle, outputs = widths(model, solve_stem(model))
    blocks = [
        InvertedBottleneck(low, high, model.expansion, model.first, nn.ReLU6)
        for low, high in ((inputs, middle), (middle, outputs))
    ]
    return Classifier(inputs, blocks, outputs, classes)


def work(unit: Mapping[str, Any]) -> Values:
    """Train one model with one seed and return its measures, each (): see ``MEASURES``."""
    config, pictures = unit["config"], unit["source"].load()
    seed_all(unit["seed"])
    net = build(MODELS[unit["model"]], pictures.classes)
    recipe = Recipe(config["epochs"], config["batch_size"], config["learning_rate"])
    train(net, pictures, recipe, unit["seed"])
    top1, features = test(net, pictures)
    return {name: np.array(value) for name, value in {"top1": top1, **feature_measures(features)}.items()}


def run(run: Run) -> Findings:
    """Train every model with every seed and judge the three steps."""
    config, source = run.config, open_source(run)
    units = {
        f"{at}_{seed}": {"model": at, "seed": seed, "source": source, "config": dict(config)}
        for at in range(len(MODELS))
        for seed in config["seeds"]
    }
    done = run.do(units, work)
    # By measure: (seed, model).
    values = {
        name: np.array([[done[f"{at}_{seed}"][name] for at in range(len(MODELS))] for seed in config["seeds"]], float)
        for name in MEASURES
    }
    means = {name: mean_interval(own) for name, own in values.items()}
    pictures = source.load()
    return Findings(
        measured=(
            f"Four models of two inverted bottlenecks, {config['epochs']} epochs on {len(pictures.train)} pictures of "
            f"{source.title}, tested on {len(pictures.test)}, {pictures.classes} classes: mean of "
            f"{len(config['seeds'])} seeds (dots) with its 95% t interval."
        ),
        verdicts={claim: judge_steps(values[_MEASURE_OF[claim]]) for claim in CLAIMS},
        figures=_figures(values, official=source.name == _COMPARED),
        series=[
            Series(
                group=name,
                name=MEASURES[name],
                x=[float(at) for at in range(len(MODELS))],
                y=[float(value) for value in mean],
                low=[_finite(value) for value in low],
                high=[_finite(value) for value in high],
                n=len(config["seeds"]),
            )
            for name, (mean, low, high) in means.items()
        ],
        seeds=config["seeds"],
        small_data=source.small,
        data=source.title,
    )


def judge_steps(values: np.ndarray) -> tuple[Verdict, str]:
    """Judge that every step from model to model raises a measure (seed, model); intervals are of paired differences."""
    mean, low, high = mean_interval(np.diff(values, axis=1))
    if len(values) == 1:
        return Verdict.CANNOT_TELL, "one seed has no interval."
    steps = ", ".join(
        f"{model.label} {step:+.3g} ({lower:+.3g} to {upper:+.3g})"
        for model, step, lower, upper in zip(MODELS[1:], mean, low, high, strict=True)
    )
    return judge_all(list(zip(low, high, strict=True))), f"{steps}."


def _figures(values: Mapping[str, np.ndarray], *, official: bool) -> list[Figure]:
    found = []
    for name, own in values.items():
        mean, low, high = mean_interval(own)
        for at, model in enumerate(MODELS):
            printed = {"top1": model.top1, "nuclear": model.norm}.get(name) if official else None
            interval = (float(low[at]), float(high[at])) if np.isfinite(low[at]) else None
            found.append(
                Figure(
                    name=f"{model.label}: {MEASURES[name]}",
                    value=float(mean[at]),
                    interval=interval,
                    n=len(own),
                    printed=printed,
                )
            )
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def draw(made: Artefact) -> Drawing:
    """Draw the four measures of the four models."""
    figure, axes = new_figure(1, len(MEASURES), width=13, height=2.8)
    for panel, name in zip(axes, MEASURES, strict=True):
        (curve,) = made.panel(name)
        y = np.array(curve.y, float)
        low, high = (np.array([np.nan if end is None else end for end in ends]) for ends in (curve.low, curve.high))
        panel.errorbar(curve.x, y, [y - low, high - y], fmt="o", color=COLOURS[0], capsize=3, markersize=5)
        panel.set_xticks(curve.x, [model.label for model in MODELS], fontsize=7)
        panel.set_ylabel(curve.name)
    return figure


EXPERIMENT = Experiment(CONFIG, QUICK, CLAIMS, run, draw, small=SMALL, settable=("epochs", "train", "test", "scenes"))
