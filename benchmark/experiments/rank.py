"""Rank of random layers (paper, section 3.2 and figure 1).

A network is a random layer or block with an input of independent normal numbers. A column of its output is one sample;
its rank ratio is the rank of the matrix (d_out, N) over d_out. The paper leaves open what this takes:

- the tolerance below which a singular value is 0: it is swept, and measures without one stand beside it;
- what a 3x3 convolution sees: here each sample is a window of 3x3 pixels, so that the layer's matrix is
  (d_out, 9 d_in). In the second reading a sample is one pixel between zeros, as ``W`` of (d_out, d_in) in the paper's
  text would have it: a 3x3 convolution is then a 1x1;
- the sizes: d_out is drawn from a range, N is twice d_out;
- whether the mean over the samples counts: it makes up the largest singular value after a nonlinearity with a positive
  mean, such as SoftPlus. Both are measured.

Networks of one number have one d_out in every structure and at every ratio, and one network sees all nonlinearities, so
that differences are of pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor
from torch.nn import functional

from benchmark.experiments import measures
from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import draw_series, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.experiments.statistics import mean_interval
from benchmark.experiments.units import Values
from benchmark.records.verdicts import Verdict, judge_all
from benchmark.seeding import derive_seed

BASELINE = "none"
NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    BASELINE: lambda x: x,
    "ReLU": functional.relu,
    "ReLU6": functional.relu6,
    "LeakyReLU": functional.leaky_relu,
    "ELU": functional.elu,
    "SoftPlus": functional.softplus,
    "Hard Swish": functional.hardswish,
    "SiLU": functional.silu,
}
SIMPLE, COMPLICATED = ("ReLU", "ReLU6", "LeakyReLU"), ("ELU", "SiLU")


@dataclass(frozen=True)
class Structure:
    """A random-sized network: a convolution, or an inverted bottleneck around one; ``pixels`` of a sample: 9 or 1."""

    pixels: int
    inverted: bool = False
    depthwise: bool = False


STRUCTURES = {
    "1x1": Structure(1),
    "3x3": Structure(9),
    "inverted 3x3": Structure(9, inverted=True),
    "inverted 3x3 depthwise": Structure(9, inverted=True, depthwise=True),
    "inverted 3x3, one pixel": Structure(1, inverted=True),
    "inverted 3x3 depthwise, one pixel": Structure(1, inverted=True, depthwise=True),
}
FIGURE_1 = ("1x1", "3x3", "inverted 3x3", "inverted 3x3 depthwise")
# By reading, what stands for the panels (a) to (d) of figure 1.
READINGS = {
    "window": FIGURE_1,
    "one pixel": ("1x1", "1x1", "inverted 3x3, one pixel", "inverted 3x3 depthwise, one pixel"),
}
OWN, EFFECTIVE, STABLE = "matrix_rank's own tolerance", "effective rank", "stable rank"
CENTRED = "without the mean"
_TOLERANCE = "tolerance "
_BN_EPS = 1e-5
_MARGIN = 0.01  # a smaller difference of rank ratios is none
_DIGITS = 4  # of the artefact's curves

CONFIG: dict[str, Any] = {
    "structures": list(STRUCTURES),
    "ratios": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    "networks": 1000,
    "d_out": [32, 128],
    "columns_per_output": 2,
    "expansion": 6,
    "tolerances": [1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1],
    "networks_per_unit": 50,
    "seed": 0,
}
QUICK: dict[str, Any] = {"networks": 30, "networks_per_unit": 30, "d_out": [32, 64]}

_ALL = "for each of the seven nonlinearities and the four structures"
CLAIMS = {
    "expansion_harms": Claim(
        "(i) Drastic channel expansion harms the rank, in single convolutions and inverted bottlenecks.",
        "paper, section 3.2, observation (i)",
        f"rank ratio at dimension ratio 1.0 less that at 0.1 is over {_MARGIN}, {_ALL}",
    ),
    "blocks_suffer_more": Claim(
        "(i) The impact is bigger in an inverted bottleneck, and bigger still with a depthwise convolution.",
        "paper, section 3.2, observation (i)",
        f"the loss of rank ratio from 1.0 to 0.1, mean over the nonlinearities, is larger by over {_MARGIN} in "
        "each block than in each convolution, and in the depthwise block than in the other",
    ),
    "nonlinearities_expand": Claim(
        "(ii) Nonlinearities expand the rank.",
        "paper, section 3.2, observation (ii)",
        f"rank ratio with the nonlinearity less that without, mean over ratios 0.1 to 0.9, is over {_MARGIN}, {_ALL}",
    ),
    "more_at_small_ratios": Claim(
        "(ii) They expand the rank more at smaller dimension ratios.",
        "paper, section 3.2, observation (ii)",
        f"that gain at ratio 0.1 less that at 0.9 is over {_MARGIN}, {_ALL}",
    ),
    "complicated_more": Claim(
        "(ii) Complicated nonlinearities such as ELU or SiLU expand the rank more.",
        "paper, section 3.2, observation (ii); document 003",
        f"rank ratio with ELU and with SiLU, mean over ratios 0.1 to 0.9, is over that with ReLU, ReLU6 and LeakyReLU "
        f"by over {_MARGIN}, for the four structures",
    ),
    "convolutions_more": Claim(
        "(iii) Nonlinearities expand the rank of single convolutions more than that of an inverted bottleneck.",
        "paper, section 3.2, observation (iii)",
        f"the gain, mean over the nonlinearities and ratios 0.1 to 0.9, is larger by over {_MARGIN} in each "
        "convolution than in each block",
    ),
}


def random_features(
    structure: Structure, d_in: int, d_out: int, columns: int, expansion: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return the output (d_out, columns) of one random network with every nonlinearity in turn.

    Weights and input are normal; batch normalisation takes the statistics of the samples. The shortcut of a block is
    padded with zeros to d_out channels, as ReXNet's is.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    pixels = structure.pixels
    inputs = normal(d_in, pixels, columns)
    if not structure.inverted:
        before = _normalise(normal(d_out, d_in * pixels) @ inputs.reshape(d_in * pixels, columns))
        return {name: function(before) for name, function in NONLINEARITIES.items()}
    hidden = expansion * d_in
    expanded = _normalise(normal(hidden, d_in) @ inputs.reshape(d_in, pixels * columns))  # (hidden, pixels * columns)
    kernels = normal(hidden, 1 if structure.depthwise else hidden, pixels)
    projection = normal(d_out, hidden)

    def block(function: Callable[[Tensor], Tensor]) -> Tensor:
        active = function(expanded).reshape(hidden, pixels, columns)
        if structure.depthwise:
            mixed = (kernels.reshape(hidden, pixels, 1) * active).sum(1)
        else:
            mixed = kernels.reshape(hidden, hidden * pixels) @ active.reshape(hidden * pixels, columns)
        output = _normalise(projection @ function(_normalise(mixed)))
        output[:d_in] += inputs[:, pixels // 2]
        return output

    return {name: block(function) for name, function in NONLINEARITIES.items()}


def _normalise(features: Tensor) -> Tensor:
    """Normalise channels (channels, samples) by their mean and variance, as a fresh batch normalisation does."""
    variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
    return (features - mean) / torch.sqrt(variance + _BN_EPS)


def measure_features(features: Sequence[Tensor], tolerances: Sequence[float]) -> np.ndarray:
    """Return rank ratios (matrix, with and without the mean, measure) of matrices (d_out, columns); see ``keys``."""
    stacked = torch.stack(list(features)).double()
    d_out, columns = stacked.shape[1:]
    gram = stacked @ stacked.transpose(1, 2)  # (matrix, d_out, d_out)
    mean = stacked.mean(2, keepdim=True)
    centred = gram - columns * mean @ mean.transpose(1, 2)
    values = measures.gram_singular_values(torch.stack([gram, centred], dim=1).numpy())
    own = measures.default_tolerance(d_out, columns)
    ranks = [measures.numerical_rank(values, tolerance) for tolerance in (own, *tolerances)]
    ranks += [measures.effective_rank(values), measures.stable_rank(values)]
    return np.stack(ranks, axis=-1) / d_out


def keys(tolerances: Sequence[float]) -> list[str]:
    """Return the names of the measures in their order."""
    return [OWN, *(f"{_TOLERANCE}{tolerance:g}" for tolerance in tolerances), EFFECTIVE, STABLE]


def work(unit: Mapping[str, Any]) -> Values:
    """Return ``ratios`` (network, nonlinearity, with and without the mean, measure) of some networks of a curve."""
    config, structure = unit["config"], STRUCTURES[unit["structure"]]
    low, high = config["d_out"]
    place = list(STRUCTURES).index(unit["structure"]), round(100 * unit["ratio"])
    found = []
    for number in range(unit["first"], unit["first"] + unit["count"]):
        d_out = int(np.random.default_rng([config["seed"], number]).integers(low, high + 1))
        generator = torch.Generator().manual_seed(derive_seed(config["seed"], number, *place))
        features = random_features(
            structure,
            max(1, round(unit["ratio"] * d_out)),
            d_out,
            config["columns_per_output"] * d_out,
            config["expansion"],
            generator,
        )
        found.append(measure_features(list(features.values()), config["tolerances"]))
    return {"ratios": np.array(found, np.float32)}


def run(run: Run) -> Findings:
    """Measure all curves and judge the paper's observations under every measure."""
    config = run.config
    starts = range(0, config["networks"], config["networks_per_unit"])
    units = {
        f"{list(STRUCTURES).index(structure)}_{ratio:g}_{first}": {
            "structure": structure,
            "ratio": ratio,
            "first": first,
            "count": min(config["networks_per_unit"], config["networks"] - first),
            "config": dict(config),
        }
        for structure, ratio, first in product(config["structures"], config["ratios"], starts)
    }
    done = run.do(units, work)
    curves = {
        (structure, ratio): np.concatenate(
            [done[f"{list(STRUCTURES).index(structure)}_{ratio:g}_{first}"]["ratios"] for first in starts]
        )
        for structure, ratio in product(config["structures"], config["ratios"])
    }
    # (structure, ratio, network, nonlinearity, with and without the mean, measure)
    values = np.array([[curves[structure, ratio] for ratio in config["ratios"]] for structure in config["structures"]])
    verdicts, figures = judge(values.astype(float), config)
    low, high = config["d_out"]
    return Findings(
        measured=(
            f"Rank ratio against dimension ratio d_in / d_out, mean of {config['networks']} random networks a point "
            f"with its 95% interval (bands, mostly thinner than the lines); d_out uniform in {low} to {high}, "
            f"N = {config['columns_per_output']} d_out normal samples, expansion {config['expansion']}, batch "
            "normalisation before each nonlinearity. Dotted: rank = input channels."
        ),
        verdicts=verdicts,
        figures=figures,
        series=_series(values, config),
        seeds=[config["seed"]],
    )


def judge(values: np.ndarray, config: Mapping[str, Any]) -> tuple[dict[str, tuple[Verdict, str]], list[Figure]]:
    """Judge every observation under every measure, with and without the mean, in both readings.

    A claim's verdict is of the numerical ranks and the measures without tolerance, mean included, in the reading of a
    window: it agrees or disagrees if all of them do, else it holds in part. The evidence names them.

    Args:
        values: rank ratios (structure, ratio, network, nonlinearity, with and without the mean, measure).
        config: see ``CONFIG``.
    """
    found: dict[str, dict[str, dict[str, Verdict]]] = {claim: {} for claim in CLAIMS}
    figures = []
    for reading, centred in product(READINGS, (False, True)):
        chosen = [config["structures"].index(name) for name in READINGS[reading]]
        for place, key in enumerate(keys(config["tolerances"])):
            part = values[chosen][..., int(centred), place]  # (structure, ratio, network, nonlinearity)
            how = f"{key}, {_how(reading, centred)}"
            for claim, differences in _differences(part, config["ratios"]).items():
                verdict, least, interval = judge_differences(differences)
                found[claim].setdefault(_how(reading, centred), {})[key] = verdict
                name = f"{claim}, least difference: {how}"
                figures.append(Figure(name=name, value=least, interval=interval, n=part.shape[2], verdict=verdict))
            if not centred and reading == "window":
                for letter, differences in zip("abcd", _order(part, config["ratios"]), strict=True):
                    found["complicated_more"].setdefault(f"{letter} alone", {})[key] = judge_differences(differences)[0]
    verdicts = {}
    for claim, by_reading in found.items():
        main = set(by_reading[_how("window", False)].values())
        verdicts[claim] = (main.pop() if len(main) == 1 else Verdict.NEAR, _evidence(by_reading))
    return verdicts, figures


def _how(reading: str, centred: bool) -> str:
    return f"{reading}, {CENTRED}" if centred else reading


def judge_differences(differences: np.ndarray) -> tuple[Verdict, float, tuple[float, float]]:
    """Judge that all of some differences (network, comparison) are over the margin.

    Intervals are simultaneous (Bonferroni). Returns the verdict, and the least mean difference with its interval.
    """
    means, lows, highs = mean_interval(differences, comparisons=differences.shape[1])
    least = int(means.argmin())
    verdict = judge_all(list(zip(lows, highs, strict=True)), _MARGIN)
    return verdict, float(means[least]), (float(lows[least]), float(highs[least]))


def _differences(part: np.ndarray, ratios: Sequence[float]) -> dict[str, np.ndarray]:
    """Return what each claim says is positive, (network, comparison), of (structure, ratio, network, nonlinearity)."""
    active = part[..., 1:]
    gain = active - part[..., :1]
    below_1 = [place for place, ratio in enumerate(ratios) if ratio < 1]
    smallest, largest, last = 0, len(ratios) - 1, below_1[-1]
    loss = active[:, largest] - active[:, smallest]  # (structure, network, nonlinearity)
    mean_loss, mean_gain = loss.mean(-1), gain[:, below_1].mean((1, 3))  # (structure, network)

    def flat(differences: np.ndarray) -> np.ndarray:
        return np.moveaxis(differences, 1, 0).reshape(differences.shape[1], -1)

    convolutions, blocks = (0, 1), (2, 3)
    return {
        "expansion_harms": flat(loss),
        "blocks_suffer_more": np.stack(
            [mean_loss[block] - mean_loss[one] for block in blocks for one in convolutions]
            + [mean_loss[3] - mean_loss[2]],
            axis=1,
        ),
        "nonlinearities_expand": flat(gain[:, below_1].mean(1)),
        "more_at_small_ratios": flat(gain[:, smallest] - gain[:, last]),
        "complicated_more": np.concatenate(_order(part, ratios), axis=1),
        "convolutions_more": np.stack(
            [mean_gain[one] - mean_gain[block] for one in convolutions for block in blocks], axis=1
        ),
    }


def _order(part: np.ndarray, ratios: Sequence[float]) -> list[np.ndarray]:
    """Return by structure how far each complicated nonlinearity lies over each simple one, (network, comparison)."""
    names = list(NONLINEARITIES)
    level = part[:, [place for place, ratio in enumerate(ratios) if ratio < 1]].mean(1)
    pairs = [(names.index(more), names.index(less)) for more in COMPLICATED for less in SIMPLE]
    return [np.stack([own[:, more] - own[:, less] for more, less in pairs], axis=1) for own in level]


def _evidence(by_reading: Mapping[str, Mapping[str, Verdict]]) -> str:
    parts = []
    for how, by_key in by_reading.items():
        states = [
            f"{state} under {_runs_of([key for key, verdict in by_key.items() if verdict == state], list(by_key))}"
            for state in Verdict
            if state in by_key.values()
        ]
        parts.append(f"[{how}] {'; '.join(states)}")
    return ". ".join(parts) + "."


def _runs_of(chosen: Sequence[str], order: Sequence[str]) -> str:
    """Return names in their order, neighbouring tolerances as a range."""
    tolerances = [key for key in order if key.startswith(_TOLERANCE)]
    texts, place = [key for key in chosen if key not in tolerances], 0
    while place < len(tolerances):
        end = place
        while end < len(tolerances) and tolerances[end] in chosen:
            end += 1
        if end > place:
            first, last = (tolerances[at].removeprefix(_TOLERANCE) for at in (place, end - 1))
            texts.append(f"{_TOLERANCE}{first}" + (f" to {last}" if last != first else ""))
        place = end + 1
    return "all" if len(chosen) == len(order) else ", ".join(texts)


def _series(values: np.ndarray, config: Mapping[str, Any]) -> list[Series]:
    """Return the curves of every structure and measure, and those of the sweep of tolerances at the smallest ratio."""
    mean, low, high = mean_interval(np.moveaxis(values, 2, 0))  # (structure, ratio, nonlinearity, mean or not, measure)
    names, tolerances, networks = keys(config["tolerances"]), config["tolerances"], values.shape[2]

    def rounded(points: np.ndarray) -> list[float | None]:
        return [round(float(point), _DIGITS) for point in points]

    found = []
    for at, structure in enumerate(config["structures"]):
        for place, key in enumerate(names):
            for centred in (False, True) if key in (OWN, EFFECTIVE) else (False,):
                for which, name in enumerate(NONLINEARITIES):
                    of = (at, slice(None), which, int(centred), place)
                    group = f"{structure} | {key}{f', {CENTRED}' if centred else ''}"
                    ends = rounded(mean[of]), rounded(low[of]), rounded(high[of])
                    found.append(_curve(group, name, config["ratios"], ends, networks))
        for which, name in enumerate(NONLINEARITIES):
            of = (at, 0, which, 0, slice(1, 1 + len(tolerances)))
            ends = rounded(mean[of]), rounded(low[of]), rounded(high[of])
            found.append(_curve(f"{structure} | sweep", name, tolerances, ends, networks))
    return found


def _curve(group: str, name: str, x: Sequence[float], ends: tuple[list[float | None], ...], networks: int) -> Series:
    mean, low, high = ends
    return Series(group=group, name=name, x=list(x), y=mean, low=low, high=high, n=networks)


def draw(made: Artefact) -> Drawing:
    """Draw figure 1 under three measures, and the rank at the smallest dimension ratio against the tolerance."""
    rows = {
        OWN: "rank / d_out,\nmatrix_rank's own tolerance",
        "tolerance 0.01": "rank / d_out,\ntolerance 0.01",
        EFFECTIVE: "effective rank / d_out",
        "sweep": f"rank / d_out\nat dimension ratio {min(made.config['ratios']):g}",
    }
    figure, axes = new_figure(len(rows), len(FIGURE_1), width=12, height=2.4)
    for place, ((key, label), structure) in enumerate(product(rows.items(), FIGURE_1)):
        panel, column = axes[place], place % len(FIGURE_1)
        draw_series(panel, made.panel(f"{structure} | {key}"))
        panel.set_ylim(-0.02, 1.05)
        if key == "sweep":
            panel.set(xscale="log", xlabel="tolerance, of the largest singular value")
        else:
            panel.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=0.8)
            panel.set_xlabel("dimension ratio")
        if place < len(FIGURE_1):
            panel.set_title(f"({'abcd'[column]}) {structure}")
        if column == 0:
            panel.set_ylabel(label)
    axes[1].legend(fontsize=7, ncols=2, loc="lower right")
    return figure


EXPERIMENT = Experiment(CONFIG, QUICK, CLAIMS, run, draw)
