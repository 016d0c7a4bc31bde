"""Rank of trained networks (paper, section 6 and figure 5), and what predicts accuracy as well as it.

Left of figure 5: the models of the search at a depth of 18 under three constraints, accuracy against the nuclear norm
of the last feature of the test pictures. Beside it what the paper leaves out: params, multiply-adds, SynFlow of the
untrained network, and the accuracy after one epoch. Models under one constraint have nearly the same multiply-adds, so
that correlations are also taken under each alone, and given the multiply-adds: of what is left of the ranks once their
ranks by multiply-adds and the constraints' own levels are taken out.

Right of figure 5: singular values of the last features of real pictures, where some are given; whose weights these are
of stands in the figure.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision import transforms

from backbones.catalogue import build_network, find_entry
from backbones.entry import FeatureNetwork, Preprocessing
from backbones.errors import UserError
from backbones.weights import find_weights
from benchmark.experiments import searched
from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import COLOURS, draw_series, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.experiments.measures import effective_rank
from benchmark.experiments.searched import Searched, train_models
from benchmark.experiments.small_data import open_source
from benchmark.experiments.statistics import bootstrap_interval, kendall, partial_spearman, spearman, written
from benchmark.experiments.units import Values
from benchmark.records.verdicts import Verdict, judge_all
from benchmark.seeding import seed_all

MOBILENET, REXNET = "mobilenet_v2", "rexnet_x0.9"
RANDOM = "none"  # weights of a network that nobody has trained
PREDICTORS = {
    "nuclear": "nuclear norm",
    "effective": "effective rank",
    "params": "params (M)",
    "macs": "multiply-adds (M)",
    "synflow": "log SynFlow, untrained",
    "first": "accuracy after one epoch (%)",
}
CORRELATIONS: dict[str, Callable[[np.ndarray], float]] = {
    "Spearman": lambda rows: spearman(rows[:, :2]),
    "Kendall": lambda rows: kendall(rows[:, :2]),
    "Spearman given multiply-adds": partial_spearman,
}
_GIVEN = "Spearman given multiply-adds"
_ENDINGS = (".jpg", ".jpeg", ".png")
_BATCH = 16
_GRID = np.logspace(-4, 0, 81)  # of the largest singular value
Interval = tuple[float, float]

CONFIG: dict[str, Any] = {
    "searches": ["18-30", "18-50", "18-70"],
    **searched.CONFIG,
    "weights": {MOBILENET: RANDOM, REXNET: RANDOM},
    "pictures": "",
    "draws": 40,
}
SMALL: dict[str, Any] = {
    "models": 12,
    "trainings": 2,
    "epochs": 8,
    "patience": 4,
    "batch_size": 16,
    "train": 320,
    "test": 600,
}
QUICK: dict[str, Any] = {
    "searches": ["18-30", "18-50"],
    "models": 4,
    "trainings": 1,
    "epochs": 1,
    "train": 64,
    "test": 64,
    "scenes": [40, 20],
    "batch_size": 16,
}

CLAIMS = {
    "higher_norm": Claim(
        "The models with higher accuracy have higher nuclear norms.",
        "paper, section 6 and figure 5 (left)",
        "Spearman's correlation over all models is over 0 with its bootstrap interval",
    ),
    "within_constraint": Claim(
        "They have so also among models of one cost.",
        "control of the paper's figure 5 (left)",
        "the same under each constraint alone",
    ),
    "given_macs": Claim(
        "They have so also given their multiply-adds.",
        "control of the paper's figure 5 (left)",
        "Spearman's partial correlation given multiply-adds and constraint is over 0 with its bootstrap interval",
    ),
    "norm_tells_most": Claim(
        "The nuclear norm tells more of the accuracy than params, multiply-adds, SynFlow or one epoch do.",
        "control of the paper's figure 5 (left), which shows no other number",
        "its absolute correlation less that of each other one is over 0 with its bootstrap interval",
    ),
    "rexnet_expands": Claim(
        "ReXNet x0.9 clearly expands the rank over MobileNetV2.",
        "paper, section 6 and figure 5 (right)",
        "the mean of its normalised singular values less MobileNetV2's is over 0 in 95% of draws of half the pictures",
    ),
}


def check(config: Mapping[str, Any]) -> None:
    """Check the searches, and that pictures and weights are there.

    Raises:
        UserError: they are not.
    """
    searched.check(config)
    if config["pictures"]:
        list_pictures(Path(config["pictures"]))
    elif config["weights"] != CONFIG["weights"]:
        raise UserError("--set weights changes nothing without pictures: give their folder with --set pictures=DIR.")
    for name in config["weights"]:
        find_entry(name)


def list_pictures(folder: Path) -> list[Path]:
    """Return the JPEG and PNG files below a folder.

    Raises:
        UserError: there are fewer than four.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS and path.is_file())
    if len(found) < 4:
        raise UserError(f"Expected at least four .jpg or .png pictures below {folder}, found {len(found)}.")
    return found


def run(run: Run) -> Findings:
    """Train the models, measure the catalogue's networks where pictures are given, and judge."""
    config, source = run.config, open_source(run)
    found = train_models(run, source)
    table = {name: np.concatenate([_predictor(own, name) for own in found.values()]) for name in PREDICTORS}
    accuracy = np.concatenate([own.figures["top1"].mean(1) for own in found.values()])
    given = controls(found)
    correlated = {name: _correlate(values, accuracy, given) for name, values in table.items()}
    spectra = _spectra(run)
    pictures = source.load()
    right = (
        f"singular values of the pooled last features of {_count(spectra)} real pictures over the largest, with the "
        "range of 95% of draws of half of them."
        if spectra
        else "no real pictures were given."
    )
    return Findings(
        measured=(
            f"{config['models']} random configurations under each of {len(found)} constraints, each trained "
            f"{config['trainings']} times for at most {config['epochs']} epochs on {len(pictures.train)} pictures of "
            f"{source.title}, measured on {len(pictures.test)} test pictures: mean and range of the trainings. "
            f"Correlations over all {len(accuracy)} models with 95% bootstrap intervals. Last panel: {right}"
        ),
        verdicts={**_judge(found, table, accuracy, correlated), "rexnet_expands": _judge_spectra(spectra)},
        figures=[*_figures(correlated, len(accuracy)), *_spectrum_figures(spectra)],
        series=[*_clouds(found), *_curves(spectra)],
        seeds=[config["seed"]],
        small_data=source.small,
        data=source.title,
    )


def _predictor(own: Searched, name: str) -> np.ndarray:
    """Return a number of every model: of its configuration, or the mean over its trainings."""
    if name in ("params", "macs"):
        return np.array([getattr(config, name) / 1e6 for config in own.configs])
    return own.figures[name].mean(1)


Correlated = dict[str, tuple[float, Interval]]


def controls(found: Mapping[str, Searched]) -> np.ndarray:
    """Return what a partial correlation takes out: multiply-adds and a column a constraint but one, (model, column)."""
    macs = np.concatenate([_predictor(own, "macs") for own in found.values()])
    of = np.repeat(np.arange(len(found)), [len(own.configs) for own in found.values()])
    return np.column_stack([macs, *(of == search for search in range(1, len(found)))]).astype(float)


def _correlate(values: np.ndarray, accuracy: np.ndarray, given: np.ndarray) -> Correlated:
    rows = np.column_stack([values, accuracy, given])
    return {name: (function(rows), bootstrap_interval(function, rows)) for name, function in CORRELATIONS.items()}


def _judge(
    found: Mapping[str, Searched],
    table: Mapping[str, np.ndarray],
    accuracy: np.ndarray,
    correlated: Mapping[str, Correlated],
) -> dict[str, tuple[Verdict, str]]:
    within = {
        search: np.stack([own.figures["nuclear"].mean(1), own.figures["top1"].mean(1)], 1)
        for search, own in found.items()
    }
    alone = [(search, spearman(rows), bootstrap_interval(spearman, rows)) for search, rows in within.items()]

    def ahead(rows: np.ndarray) -> float:
        return abs(spearman(rows[:, [0, 2]])) - abs(spearman(rows[:, [1, 2]]))

    others = []
    for name in ("params", "macs", "synflow", "first"):
        rows = np.stack([table["nuclear"], table[name], accuracy], 1)
        others.append((f"of {PREDICTORS[name]}", ahead(rows), bootstrap_interval(ahead, rows)))
    norm = correlated["nuclear"]
    return {
        "higher_norm": _verdict([("Spearman", *norm["Spearman"])]),
        "within_constraint": _verdict(alone),
        "given_macs": _verdict([(_GIVEN, *norm[_GIVEN])]),
        "norm_tells_most": _verdict(others),
    }


def _verdict(found: Sequence[tuple[str, float, Interval]]) -> tuple[Verdict, str]:
    text = written(found)
    intervals = [interval for _, _, interval in found]
    if not np.isfinite(intervals).all():
        return Verdict.CANNOT_TELL, f"{text}: a correlation is not defined."
    return judge_all(intervals), f"{text}."


def _spectra(run: Run) -> dict[str, Values]:
    """Return what ``measure_spectrum`` finds of every network, none without pictures."""
    if not run.config["pictures"]:
        return {}
    units = {
        f"spectrum_{name}": {
            "backbone": name,
            "weights": weights,
            "pictures": run.config["pictures"],
            "draws": run.config["draws"],
        }
        for name, weights in run.config["weights"].items()
    }
    done = run.do(units, measure_spectrum)
    return {name: done[f"spectrum_{name}"] for name in run.config["weights"]}


def measure_spectrum(unit: Mapping[str, Any]) -> Values:
    """Return singular values of a catalogue network's last features, pooled, of real pictures.

    Returns:
        ``values`` (k,) and ``centred`` (k,) without the features' mean, ``draws`` (draw, half of the pictures) of the
        values of random halves, ``origin`` () of the weights and ``count`` () of pictures.
    """
    name, paths = unit["backbone"], list_pictures(Path(unit["pictures"]))
    seed_all(0)
    net, origin = build_network(name).eval(), "random weights"
    if unit["weights"] != RANDOM:
        state, origin, _ = find_weights(net, name, unit["weights"])
        net.load_state_dict(state, strict=False)
    features = []
    with torch.no_grad():
        for first in range(0, len(paths), _BATCH):
            images = read_pictures(paths[first : first + _BATCH], find_entry(name).preprocessing, 224)
            features.append(cast(FeatureNetwork, net).forward_features(images).mean((2, 3)))
    matrix = torch.cat(features).double().numpy()  # (pictures, channels)
    generator, half = np.random.default_rng(0), len(matrix) // 2
    halves = [generator.choice(len(matrix), half, replace=False) for _ in range(unit["draws"])]
    return {
        "values": np.linalg.svd(matrix, compute_uv=False),
        "centred": np.linalg.svd(matrix - matrix.mean(0), compute_uv=False),
        "draws": np.array([np.linalg.svd(matrix[chosen], compute_uv=False)[:half] for chosen in halves]),
        "origin": np.array(origin),
        "count": np.array(len(matrix)),
    }


def read_pictures(paths: Sequence[Path], how: Preprocessing, side: int) -> Tensor:
    """Return pictures (N, 3, side, side) as a network's weights want them.

    Raises:
        UserError: one of them cannot be read.
    """
    prepare = transforms.Compose(
        [
            transforms.Resize(round(side / how.crop), transforms.InterpolationMode(how.interpolation)),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(how.mean, how.std),
        ]
    )
    return torch.stack([prepare(_read(path)) for path in paths])


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{path} is no picture that can be read: {error}.") from error


def _count(spectra: Mapping[str, Values]) -> int:
    return int(next(iter(spectra.values()))["count"])


def _normalised(draws: np.ndarray) -> np.ndarray:
    """Return the mean of the singular values (..., k) over the largest."""
    return draws.mean(-1) / draws.max(-1)


def _judge_spectra(spectra: Mapping[str, Values]) -> tuple[Verdict, str]:
    if not spectra:
        return Verdict.NOT_TESTED, "no real pictures were given: --set pictures=DIR."
    missing = [name for name in (MOBILENET, REXNET) if name not in spectra]
    if missing:
        return Verdict.NOT_TESTED, f"{missing[0]} was not measured."
    origins = ", ".join(f"{name}: {own['origin']}" for name, own in spectra.items())
    differences = _normalised(spectra[REXNET]["draws"]) - _normalised(spectra[MOBILENET]["draws"])
    low, high = (float(end) for end in np.percentile(differences, [2.5, 97.5]))
    text = f"difference of means {differences.mean():+.4f} ({low:+.4f} to {high:+.4f}); {origins}."
    if any(str(spectra[name]["origin"]) == "random weights" for name in (MOBILENET, REXNET)):
        return Verdict.NOT_TESTED, f"networks that nobody has trained say nothing of it: {text}"
    return judge_all([(low, high)]), text


def _figures(correlated: Mapping[str, Correlated], models: int) -> list[Figure]:
    return [
        Figure(
            name=f"{how} of {PREDICTORS[name]} and accuracy",
            value=value if np.isfinite(value) else None,
            interval=interval if np.isfinite(interval).all() else None,
            n=models,
        )
        for name, own in correlated.items()
        for how, (value, interval) in own.items()
    ]


def _spectrum_figures(spectra: Mapping[str, Values]) -> list[Figure]:
    kinds = {"effective rank": "values", "effective rank without the mean": "centred"}
    return [
        Figure(name=f"{name}, {own['origin']}: {label}", value=float(effective_rank(own[key])), n=int(own["count"]))
        for name, own in spectra.items()
        for label, key in kinds.items()
    ]


def _clouds(found: Mapping[str, Searched]) -> list[Series]:
    return [
        Series(
            group=name,
            name=f"search {search}",
            x=_predictor(own, name).tolist(),
            y=own.figures["top1"].mean(1).tolist(),
            low=own.figures["top1"].min(1).tolist(),
            high=own.figures["top1"].max(1).tolist(),
            n=own.figures["top1"].shape[1],
        )
        for name in PREDICTORS
        for search, own in found.items()
    ]


def _curves(spectra: Mapping[str, Values]) -> list[Series]:
    found = []
    for name, own in spectra.items():
        draws = own["draws"] / own["draws"].max(-1, keepdims=True)
        share = (draws[:, :, None] <= _GRID).mean(1)  # (draw, place)
        low, high = np.percentile(share, [2.5, 97.5], axis=0)
        found.append(
            Series(
                group="spectra",
                name=f"{name}, {own['origin']}",
                x=_GRID.tolist(),
                y=share.mean(0).tolist(),
                low=low.tolist(),
                high=high.tolist(),
                n=len(draws),
            )
        )
    return found


def draw(made: Artefact) -> Drawing:
    """Draw accuracy against every predictor, the correlations with their intervals, and the singular values."""
    figure, axes = new_figure(2, 4, width=14, height=3)
    values = {found.name: found for found in made.figures}
    for panel, (name, label) in zip(axes, PREDICTORS.items(), strict=False):
        for number, cloud in enumerate(made.panel(name)):
            y = np.array(cloud.y, float)
            spread = [y - np.array(cloud.low, float), np.array(cloud.high, float) - y]
            panel.errorbar(
                cloud.x, y, spread, fmt="o", color=COLOURS[number], markersize=3, elinewidth=0.5, label=cloud.name
            )
        panel.set(xlabel=label, ylabel="top-1 (%)", title=f"Spearman {_written(values, 'Spearman', label)}")
    axes[0].legend(fontsize=7)
    _draw_correlations(axes[6], values)
    _draw_spectra(axes[7], made.panel("spectra"))
    return figure


def _written(values: Mapping[str, Figure], how: str, label: str) -> str:
    found = values[f"{how} of {label} and accuracy"]
    if found.value is None:
        return "not defined"
    return f"{found.value:.2f}" + (f" ({found.interval[0]:.2f} to {found.interval[1]:.2f})" if found.interval else "")


def _draw_correlations(panel: Axes, values: Mapping[str, Figure]) -> None:
    height = partial(np.linspace, -0.22, 0.22, len(CORRELATIONS))
    for shift, how, colour in zip(height(), CORRELATIONS, COLOURS, strict=False):
        for place, label in enumerate(PREDICTORS.values()):
            found = values[f"{how} of {label} and accuracy"]
            if found.value is not None and found.interval:
                legend = how if place == 0 else None
                panel.plot(found.interval, [place + shift] * 2, color=colour, linewidth=1.2, label=legend)
                panel.plot(found.value, place + shift, "o", color=colour, markersize=3.5)
    panel.axvline(0, color="black", linewidth=0.6)
    panel.set_yticks(range(len(PREDICTORS)), [label.partition(" (")[0] for label in PREDICTORS.values()], fontsize=7)
    panel.set(xlim=(-1.05, 1.05), ylim=(len(PREDICTORS) + 0.9, -0.6), xlabel="correlation with accuracy, 95% interval")
    panel.legend(fontsize=6.5, loc="lower left")


def _draw_spectra(panel: Axes, curves: Sequence[Series]) -> None:
    if not curves:
        panel.set_axis_off()
        panel.text(
            0.5, 0.5, "Singular values of MobileNetV2 and ReXNet x0.9:\nno real pictures were given", ha="center"
        )
        return
    draw_series(panel, curves, markevery=8)
    panel.set(xscale="log", xlabel="singular value over the largest", ylabel="cumulative share of singular values")
    panel.legend(fontsize=6.5, loc="lower right")


EXPERIMENT = Experiment(
    CONFIG, QUICK, CLAIMS, run, draw, check, SMALL, (*searched.SETTABLE, "weights", "pictures", "draws")
)
