"""What a chooser of a backbone learns: which cheap number predicts latency on this machine, and accuracy?

Over the backbones whose accuracy the paper prints: params, multiply-adds and activations, which are counted, the rank
of the untrained network's features, and the latency of the backbone alone, which is measured, against the latency of
the whole network and the printed accuracy. Printed accuracies are of several recipes, some quoted by the paper: a
correlation says what a reader of the paper would see, and not what costs cause.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from backbones.catalogue import build_network, find_entry, fuse_network
from backbones.entry import FeatureNetwork
from backbones.errors import UserError
from benchmark.config.names import CONFIGS
from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Published, Run
from benchmark.experiments.measures import feature_measures
from benchmark.experiments.statistics import bootstrap_interval, kendall, spearman
from benchmark.experiments.units import Values
from benchmark.measuring.complexity import classifier_complexity
from benchmark.measuring.latency import Settings, measure_rounds
from benchmark.records.verdicts import Verdict, judge_all
from benchmark.seeding import derive_seed, seed_all

CLASSIFIERS, DETECTORS = "ImageNet top-1", "SSDLite AP"
# What is predicted, by the figure that the paper prints of the networks; the second is measured.
TARGETS = {
    (CLASSIFIERS, "accuracy"): "ImageNet top-1 (%)",
    (CLASSIFIERS, "time"): "classifier's latency (ms)",
    (DETECTORS, "accuracy"): "SSDLite's AP",
    (DETECTORS, "time"): "SSDLite's latency (ms)",
}
PREDICTORS = {
    "params": "params (M)",
    "macs": "multiply-adds (M)",
    "activations": "activations (M)",
    "rank": "rank, untrained",
    "latency": "backbone's latency (ms)",
}
_DETECTOR_SIDE = 320
_ALIKE = 0.1  # networks whose multiply-adds differ by less have similar ones
_LABEL = (0.3, 0.035)  # width and height of a name, as shares of a panel's points
_SLOWER = 1.1  # a ratio of times from which speeds differ
Interval = tuple[float, float]

CONFIG: dict[str, Any] = {
    "rounds": 25,
    "threads": 1,
    "most": 100,
    "rank_pictures": 256,
    "rank_side": 64,
    "rank_seeds": 3,
    "seed": 0,
}
QUICK: dict[str, Any] = {"rounds": 5, "most": 4}

_ASKED = "asked here, no document"
CLAIMS = {
    "other_speed": Claim(
        "Networks with similar multiply-adds have different speeds.",
        "ShuffleNet V2 in document 001",
        f"over all pairs of classifiers whose multiply-adds differ by under {_ALIKE:.0%} the slower one's time over "
        f"the other's is over {_SLOWER} in the median, with its bootstrap interval over the classifiers",
    ),
    "macs_predict_latency": Claim(
        "Multiply-adds order classifiers by latency.",
        _ASKED,
        "Spearman's correlation is over 0.8 with its bootstrap interval",
    ),
    "activations_over_macs": Claim(
        "Activations predict a classifier's latency better than multiply-adds do.",
        _ASKED,
        "the difference of their absolute correlations is over 0 with its bootstrap interval",
    ),
    "macs_over_params": Claim(
        "Multiply-adds predict ImageNet accuracy better than params do.", _ASKED, "likewise, with ImageNet top-1"
    ),
    "rank_over_params": Claim(
        "The rank of an untrained network's features predicts ImageNet accuracy better than params do.",
        _ASKED,
        "likewise, with ImageNet top-1",
    ),
    "backbone_over_macs": Claim(
        "The latency of the backbone alone predicts a detector's better than multiply-adds do.",
        _ASKED,
        "likewise, with SSDLite's latency",
    ),
    "latency_over_macs": Claim(
        "The backbone's latency predicts SSDLite's AP better than multiply-adds do.", _ASKED, "likewise, with AP"
    ),
}
# Claim -> predictor that is said to be better, the other one, and the target.
_BETTER = {
    "activations_over_macs": ("activations", "macs", (CLASSIFIERS, "time")),
    "macs_over_params": ("macs", "params", (CLASSIFIERS, "accuracy")),
    "rank_over_params": ("rank", "params", (CLASSIFIERS, "accuracy")),
    "backbone_over_macs": ("latency", "macs", (DETECTORS, "time")),
    "latency_over_macs": ("latency", "macs", (DETECTORS, "accuracy")),
}
Table = dict[str, np.ndarray]  # numbers (network,) by predictor, and ``accuracy`` and ``time``


def count_activations(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Return how many numbers the convolutions of a network put out (Radosavovic et al., RegNet, CVPR 2020).

    Args:
        net: on any device.
        shape: of its input.
    """
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    hooks = [module.register_forward_hook(add) for module in net.modules() if isinstance(module, nn.Conv2d)]
    try:
        with torch.no_grad():
            net(torch.zeros(shape, device=next(net.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def run(run: Run) -> Findings:
    """Count, time and correlate."""
    config = run.config
    points: dict[str, list[Published]] = {name: [] for name in (CLASSIFIERS, DETECTORS)}
    for point in run.published():
        if point.figure in points and len(points[point.figure]) < config["most"]:
            points[point.figure].append(point)
    if min(map(len, points.values())) < 3:
        raise UserError("Expected printed accuracies of at least three classifiers and three detectors.")
    tables = {
        CLASSIFIERS: _measure(run, points[CLASSIFIERS], None, "classifiers"),
        DETECTORS: _measure(run, points[DETECTORS], _DETECTOR_SIDE, "detectors"),
    }
    classifiers, detectors = len(points[CLASSIFIERS]), len(points[DETECTORS])
    return Findings(
        measured=(
            f"{classifiers} classifiers at their own resolution with the ImageNet top-1 that the paper prints, and "
            f"SSDLite at 320x320 on {detectors} backbones with the AP that it prints. Latency: median of "
            f"{config['rounds']} interleaved rounds, batch 1, {config['threads']} thread, fp32, channels_last, without "
            "box decoding and NMS. Rank: effective rank of the pooled last features, with random weights, of "
            f"{config['rank_pictures']} pictures of noise, mean of {config['rank_seeds']} seeds. Upper row: each "
            "target against the number that orders it best, names where there is room. Lower row: correlations of "
            "every number (dots: Spearman, crosses: Kendall), 95% bootstrap intervals over networks."
        ),
        verdicts=judge(tables),
        figures=[*_correlations(tables), *(figure for name in points for figure in _rows(points[name], tables[name]))],
        series=_series(tables),
        seeds=[config["seed"]],
    )


def _measure(run: Run, points: Sequence[Published], side: int | None, name: str) -> Table:
    backbones = [point.backbone for point in points]
    units: dict[str, Any] = {f"{name}_backbones": {"models": backbones, "side": side, "config": dict(run.config)}}
    if side is not None:
        models = [str(CONFIGS / point.config) for point in points]
        units[name] = {"models": models, "side": None, "config": dict(run.config)}
    done = run.do(units, time_models, alone=True)
    ranks = run.do({f"{name}_rank": {"models": backbones, "config": dict(run.config)}}, rank_models)[f"{name}_rank"]
    alone = np.median(done[f"{name}_backbones"]["milliseconds"], axis=1)
    counts = [_count(backbone, side or find_entry(backbone).resolution) for backbone in backbones]
    params, macs, activations = np.array(counts, float).T / 1e6
    return {
        "params": params,
        "macs": macs,
        "activations": activations,
        "rank": ranks["effective"].mean(1),
        "latency": alone,
        "time": alone if side is None else np.median(done[name]["milliseconds"], axis=1),
        "accuracy": np.array([point.value for point in points]),
    }


def time_models(unit: Mapping[str, Any]) -> Values:
    """Return ``milliseconds`` (model, round) of backbones as classifiers, or of configs' networks."""
    config, side = unit["config"], unit["side"]
    settings = Settings(threads=config["threads"], runs=config["rounds"], input=side and (side, side))
    return {"milliseconds": measure_rounds(unit["models"], settings)[1]}


def rank_models(unit: Mapping[str, Any]) -> Values:
    """Return ``effective`` (model, seed): effective rank of backbones' last features, pooled, with random weights."""
    config = unit["config"]
    found = np.empty((len(unit["models"]), config["rank_seeds"]))
    for seed in range(config["rank_seeds"]):
        seed_all(derive_seed(config["seed"], seed))
        pictures = torch.randn(config["rank_pictures"], 3, config["rank_side"], config["rank_side"])
        for at, backbone in enumerate(unit["models"]):
            net = build_network(backbone).eval()
            with torch.no_grad():
                features = cast(FeatureNetwork, net).forward_features(pictures).mean((2, 3))  # (pictures, channels)
            found[at, seed] = feature_measures(features.double().numpy())["effective"]
    return {"effective": found}


def _count(backbone: str, side: int) -> tuple[int, int, int]:
    with torch.device("meta"):
        net = fuse_network(backbone, build_network(backbone).eval())
        activations = count_activations(net, (1, 3, side, side))
    cost = classifier_complexity(backbone, side)
    return cost.params, cost.macs, activations


def _pairs(table: Table, predictor: str, target: str) -> np.ndarray:
    return np.stack([table[predictor], table[target]], 1)


def _asked(figure: str, target: str) -> list[str]:
    """Return what predicts a target: a classifier's latency is its backbone's own."""
    return [name for name in PREDICTORS if not (name == "latency" and (figure, target) == (CLASSIFIERS, "time"))]


def judge(tables: Mapping[str, Table]) -> dict[str, tuple[Verdict, str]]:
    """Judge every claim by the tables of classifiers and detectors."""
    own = tables[CLASSIFIERS]
    found = {"other_speed": _judge_speeds(own["macs"], own["time"])}
    pairs = _pairs(own, "macs", "time")
    value, (low, high) = spearman(pairs), bootstrap_interval(spearman, pairs)
    found["macs_predict_latency"] = (
        judge_all([(low, high)], 0.8),
        f"Spearman {value:.2f} ({low:.2f} to {high:.2f}) over {len(pairs)} classifiers.",
    )
    for claim, (better, other, (figure, target)) in _BETTER.items():
        table = tables[figure]
        rows = np.stack([table[better], table[other], table[target]], 1)
        value, (low, high) = _ahead(rows), bootstrap_interval(_ahead, rows)
        found[claim] = (
            judge_all([(low, high)]),
            f"{abs(spearman(rows[:, [0, 2]])):.2f} and {abs(spearman(rows[:, [1, 2]])):.2f}, "
            f"difference {value:+.2f} ({low:+.2f} to {high:+.2f}) over {len(rows)} networks.",
        )
    return found


def _ahead(rows: np.ndarray) -> float:
    return abs(spearman(rows[:, [0, 2]])) - abs(spearman(rows[:, [1, 2]]))


def _judge_speeds(macs: np.ndarray, time: np.ndarray) -> tuple[Verdict, str]:
    rows = np.stack([macs, time, np.arange(len(macs))], 1)
    ratios = speed_ratios(rows)
    if not len(ratios):
        return Verdict.CANNOT_TELL, "no two networks have similar multiply-adds."

    def median(drawn: np.ndarray) -> float:
        found = speed_ratios(drawn)
        return float(np.median(found)) if len(found) else float("nan")

    low, high = bootstrap_interval(median, rows)
    text = f"{len(ratios)} pairs, median ratio {np.median(ratios):.2f} ({low:.2f} to {high:.2f})"
    return judge_all([(low, high)], _SLOWER), f"{text}, the largest {ratios.max():.2f}."


def speed_ratios(rows: np.ndarray) -> np.ndarray:
    """Return the slower one's time over the other's of all pairs of networks with similar multiply-adds.

    Args:
        rows: multiply-adds, time and number of each network (n, 3); one drawn twice makes no pair with itself.
    """
    first, second = (rows[places] for places in np.triu_indices(len(rows), 1))
    apart = np.abs(np.log(first[:, :2] / second[:, :2]))
    alike = (apart[:, 0] < np.log(1 + _ALIKE)) & (first[:, 2] != second[:, 2])
    return np.exp(apart[alike, 1])


def _correlations(tables: Mapping[str, Table]) -> list[Figure]:
    return [
        Figure(
            name=f"{how} of {PREDICTORS[predictor]} and {label}",
            value=function(pairs),
            interval=bootstrap_interval(function, pairs),
            n=len(pairs),
        )
        for (figure, target), label in TARGETS.items()
        for predictor in _asked(figure, target)
        for pairs in [_pairs(tables[figure], predictor, target)]
        for how, function in (("Spearman", spearman), ("Kendall", kendall))
    ]


def _rows(points: Sequence[Published], table: Table) -> list[Figure]:
    """Return every number of every network, its source in the name."""
    found = []
    for at, point in enumerate(points):
        names = {
            **PREDICTORS,
            "accuracy": f"{point.figure} ({point.source})",
            "time": "latency of the whole network (ms)",
        }
        found += [
            Figure(name=f"{point.figure} | {point.backbone}: {label}", value=round(float(table[key][at]), 3))
            for key, label in names.items()
        ]
    return found


def _series(tables: Mapping[str, Table]) -> list[Series]:
    return [
        Series(
            group=label,
            name=predictor,
            x=tables[figure][predictor].tolist(),
            y=tables[figure][target].tolist(),
            low=[None] * len(tables[figure][target]),
            high=[None] * len(tables[figure][target]),
            n=1,
        )
        for (figure, target), label in TARGETS.items()
        for predictor in _asked(figure, target)
    ]


def draw(made: Artefact) -> Drawing:
    """Draw every target against its best predictor, and the correlations of all."""
    figure, axes = new_figure(2, len(TARGETS), width=14, height=2.9)
    values = {found.name: found for found in made.figures}
    for column, ((kind, _), label) in enumerate(TARGETS.items()):
        curves = made.panel(label)
        best = max(curves, key=lambda curve: abs(_of(values, "Spearman", curve.name, label).value or 0))
        _draw_points(axes[column], best, label, [name for name in values if name.startswith(f"{kind} | ")])
        _draw_correlations(axes[len(TARGETS) + column], values, [curve.name for curve in curves], label)
    return figure


def _of(values: Mapping[str, Figure], how: str, predictor: str, label: str) -> Figure:
    return values[f"{how} of {PREDICTORS[predictor]} and {label}"]


def _draw_points(panel: Axes, curve: Series, label: str, names: Sequence[str]) -> None:
    panel.plot(curve.x, np.array(curve.y, float), "o", color=COLOURS[0], markersize=3.5)
    backbones = list(dict.fromkeys(name.partition(" | ")[2].partition(":")[0] for name in names))
    points = np.stack([curve.x, np.array(curve.y, float)], 1)  # (network, 2)
    places = (points - points.min(0)) / np.ptp(points, 0)
    named: list[int] = []
    for at, backbone in enumerate(backbones):
        if not any((np.abs(places[at] - places[other]) < _LABEL).all() for other in named):
            named.append(at)
            panel.annotate(backbone, points[at], fontsize=5, xytext=(2, 2), textcoords="offset points", color="#555555")
    panel.set(xlabel=PREDICTORS[curve.name], ylabel=label, title=f"{len(curve.x)} networks")


def _draw_correlations(panel: Axes, values: Mapping[str, Figure], predictors: Sequence[str], label: str) -> None:
    for place, predictor in enumerate(predictors):
        for shift, how, marker, colour in ((-0.12, "Spearman", "o", COLOURS[0]), (0.12, "Kendall", "x", COLOURS[1])):
            found = _of(values, how, predictor, label)
            assert found.interval is not None and found.value is not None
            panel.plot(found.interval, [place + shift] * 2, color=colour, linewidth=1.2)
            panel.plot(found.value, place + shift, marker, color=colour, markersize=4)
    panel.axvline(0, color="black", linewidth=0.6)
    panel.set_yticks(range(len(predictors)), [PREDICTORS[name].partition(" (")[0] for name in predictors], fontsize=7)
    panel.set(xlim=(-1.05, 1.05), ylim=(len(predictors) - 0.4, -0.6), xlabel=f"correlation with {label}")


EXPERIMENT = Experiment(CONFIG, QUICK, CLAIMS, run, draw, settable=("rounds",))
