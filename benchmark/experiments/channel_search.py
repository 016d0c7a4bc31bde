"""The search for channel configurations (paper, section 4, figures 2 and 4): which shapes have the best accuracies?

Tenths of a search's models by mean accuracy over their trainings: the best, the one below the median, the worst. How
linear a configuration is: R^2 of the line through its channels by block index. Whether "linear wins" survives its own
seeds is asked in three ways: whether accuracy rises with linearity over all models, in each training alone; whether the
tenths differ in linearity; and how much of the models' differences in accuracy is more than the trainings' own.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.channel_configs import SEARCHES, fit_line
from benchmark.experiments.drawing import draw_series, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.experiments.searched import CONFIG as SEARCHED
from benchmark.experiments.searched import SETTABLE, Searched, check, train_models
from benchmark.experiments.small_data import open_source
from benchmark.experiments.statistics import bootstrap_difference, bootstrap_interval, one_interval, spearman, written
from benchmark.records.verdicts import Verdict, judge_all

TENTHS = ("best tenth", "tenth below the median", "worst tenth")
_LINEAR = 0.95  # R^2 from which a configuration is called linear
Interval = tuple[float, float]

CONFIG: dict[str, Any] = {"searches": list(SEARCHES), **SEARCHED}
SMALL: dict[str, Any] = {
    "searches": ["a"],
    "models": 30,
    "trainings": 3,
    "epochs": 8,
    "patience": 4,
    "batch_size": 16,
    "train": 400,
    "test": 600,
}
QUICK: dict[str, Any] = {
    "searches": ["a"],
    "models": 6,
    "trainings": 2,
    "epochs": 1,
    "train": 64,
    "test": 64,
    "scenes": [40, 20],
    "batch_size": 16,
}

_EVERY = "in every search"
CLAIMS = {
    "best_linear": Claim(
        "The best tenth's channels are linear in the block index.",
        "paper, section 4.3 and figures 2 and 4",
        f"the best tenth's mean R^2 of the line is over {_LINEAR} with its interval, {_EVERY}",
    ),
    "best_more_linear": Claim(
        "The best tenth is more linear than the worst.",
        "paper, section 4.3 and figure 2",
        f"the difference of their mean R^2 is over 0 with its bootstrap interval over the models, {_EVERY}",
    ),
    "linear_wins": Claim(
        "The more linear, the more accurate.",
        "paper, section 4.3",
        f"Spearman's correlation of R^2 with mean accuracy over all models is over 0 with its bootstrap interval, "
        f"{_EVERY}",
    ),
    "linear_wins_every_seed": Claim(
        "Linear wins whatever the seed.",
        "control of the paper's section 4.3: a tenth chosen by accuracy is chosen by luck too",
        f"the same correlation, with the accuracy of each training alone, is over 0 with its interval, {_EVERY}",
    ),
    "models_differ": Claim(
        "The models' accuracies differ by more than their seeds.",
        "control of the paper's table 3, whose tenths are 0.7 to 1.7 points apart",
        "the share of the accuracies' variance that is between models and not of the seeds is over 0.5 with its "
        f"bootstrap interval over the models, {_EVERY}",
    ),
    "worst_narrow": Claim(
        "The worst models have highly reduced the input-side channels.",
        "paper, section 4.3 (its figure 2, green)",
        "the best tenth's mean channels in the first half of the blocks less the worst's are over 0 with the bootstrap "
        f"interval over the models, {_EVERY}",
    ),
}


def linearity(channels: np.ndarray) -> np.ndarray:
    """Return R^2 of the line through the channels of every model (model, block); 1 where all channels are equal."""
    return np.array([fit_line(own.tolist())[2] if np.ptp(own) else 1.0 for own in channels])


def tenths(accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of the best tenth, of the models between the best 50% and 60%, and of the worst tenth."""
    order, share = np.argsort(-accuracy, kind="stable"), max(1, round(len(accuracy) / 10))
    half = min(len(accuracy) // 2, len(accuracy) - share)
    return order[:share], order[half : half + share], order[-share:]


def between_share(accuracy: np.ndarray) -> float:
    """Return the share of variance between models and not of the seeds, of accuracies (model, training).

    The intraclass correlation of one way: 1 where seeds make no difference, 0 where models make none; it may be below.
    """
    trainings = accuracy.shape[1]
    within = float(accuracy.var(1, ddof=1).mean())
    between = float(accuracy.mean(1).var(ddof=1)) - within / trainings
    total = between + within
    return between / total if total > 0 else float("nan")


def run(run: Run) -> Findings:
    """Train every search's models and judge."""
    config, source = run.config, open_source(run)
    found = train_models(run, source)
    figures: list[Figure] = []
    series: list[Series] = []
    intervals: dict[str, list[tuple[str, float, Interval]]] = {claim: [] for claim in CLAIMS}
    for search, own in found.items():
        for claim, name, value, interval, count in measure(own):
            intervals[claim].append((f"({search}) {name}", value, interval))
            figures.append(Figure(name=f"({search}) {name}", value=value, interval=_finite(interval), n=count))
        figures += _accuracies(search, own)
        series += _series(search, own)
    pictures = source.load()
    held = f"at most {config['epochs']} epochs (stopped after {config['patience']} without a better one)"
    return Findings(
        measured=(
            f"{config['models']} random configurations a search, each trained {config['trainings']} times for {held} "
            f"on {len(pictures.train)} pictures of {source.title} and tested on {len(pictures.test)}. Left: mean "
            "channels of the tenths by accuracy, bands of one sigma over a tenth's models. Right: accuracy of every "
            "model, mean and range of its trainings, against R^2 of the line through its channels."
        ),
        verdicts={claim: _judge(claim, own) for claim, own in intervals.items()},
        figures=figures,
        series=series,
        seeds=[config["seed"]],
        small_data=source.small,
        data=source.title,
    )


def measure(own: Searched) -> list[tuple[str, str, float, Interval, int]]:
    """Return what the claims hang on for one search: claim, name, value, interval, number of models."""
    accuracy, straight, channels = own.figures["top1"], linearity(own.channels), own.channels
    mean = accuracy.mean(1)
    best, _, worst = tenths(mean)
    half = channels.shape[1] // 2
    narrow = channels[:, :half].mean(1)
    models = len(mean)
    found = [("best_linear", "R^2 of the best tenth", *one_interval(straight[best]), len(best))]
    for claim, name, values in (
        ("best_more_linear", "R^2, best less worst tenth", straight),
        ("worst_narrow", "channels of the first half, best less worst tenth", narrow),
    ):
        found.append((claim, name, *_difference(values[best], values[worst]), len(best)))
    found.append(
        ("linear_wins", "correlation of R^2 and accuracy", *_correlation(np.stack([straight, mean], 1)), models)
    )
    for training in range(accuracy.shape[1]):
        pairs = np.stack([straight, accuracy[:, training]], 1)
        name = f"correlation of R^2 and accuracy, training {training + 1}"
        found.append(("linear_wins_every_seed", name, *_correlation(pairs), models))
    if accuracy.shape[1] > 1:
        share = between_share(accuracy), bootstrap_interval(between_share, accuracy)
        found.append(("models_differ", "share of variance between models", *share, models))
    return found


def _correlation(pairs: np.ndarray) -> tuple[float, Interval]:
    return spearman(pairs), bootstrap_interval(spearman, pairs)


def _difference(first: np.ndarray, second: np.ndarray) -> tuple[float, Interval]:
    """Return the difference of two means over different models with its bootstrap interval; none for one model each."""
    value = float(first.mean() - second.mean())
    if len(first) == 1:
        return value, (float("nan"), float("nan"))
    return value, bootstrap_difference(first, second)


def _judge(claim: str, found: list[tuple[str, float, Interval]]) -> tuple[Verdict, str]:
    text = written(found)
    intervals = [interval for _, _, interval in found]
    if not intervals or not np.isfinite(intervals).all():
        return Verdict.CANNOT_TELL, f"{text or 'one training'}: too few for an interval."
    margin = {"best_linear": _LINEAR, "models_differ": 0.5}.get(claim, 0.0)
    return judge_all(intervals, margin), f"{text}."


def _finite(interval: Interval) -> Interval | None:
    return interval if np.isfinite(interval).all() else None


def _accuracies(search: str, own: Searched) -> list[Figure]:
    accuracy = own.figures["top1"].mean(1)
    found = [
        Figure(name=f"({search}) top-1, {name}", value=float(accuracy[part].mean()), n=len(part), unit="%")
        for name, part in zip(TENTHS, tenths(accuracy), strict=True)
    ]
    for name, at in (("best", int(accuracy.argmax())), ("worst", int(accuracy.argmin()))):
        channels = "-".join(map(str, own.configs[at].channels))
        found.append(Figure(name=f"({search}) top-1, {name} model {channels}", value=float(accuracy[at]), unit="%"))
    return found


def _series(search: str, own: Searched) -> list[Series]:
    accuracy, straight = own.figures["top1"], linearity(own.channels)
    found = []
    for name, part in zip(TENTHS, tenths(accuracy.mean(1)), strict=True):
        mean, sigma = own.channels[part].mean(0), own.channels[part].std(0)
        found.append(
            Series(
                group=search,
                name=name,
                x=[float(block + 1) for block in range(len(mean))],
                y=mean.tolist(),
                low=(mean - sigma).tolist(),
                high=(mean + sigma).tolist(),
                n=len(part),
            )
        )
    found.append(
        Series(
            group=f"{search} | linearity",
            name="models",
            x=straight.tolist(),
            y=accuracy.mean(1).tolist(),
            low=accuracy.min(1).tolist(),
            high=accuracy.max(1).tolist(),
            n=accuracy.shape[1],
        )
    )
    return found


def draw(made: Artefact) -> Drawing:
    """Draw figure 2 for every search, and beside it accuracy against linearity."""
    searches = made.config["searches"]
    figure, axes = new_figure(len(searches), 2, width=10, height=2.9)
    values = {found.name: found for found in made.figures}
    for row, search in enumerate(searches):
        left, right = axes[2 * row], axes[2 * row + 1]
        draw_series(left, made.panel(search))
        constraint = SEARCHES[search]
        params = f", {constraint.params}M params" if constraint.params else ""
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.set(
            title=f"({search}) {constraint.blocks} blocks, {constraint.macs:g}M multiply-adds{params}",
            xlabel="block index",
            ylabel="output channels",
            ylim=(0, None),
        )
        left.legend(fontsize=7)
        (cloud,) = made.panel(f"{search} | linearity")
        y = np.array(cloud.y, float)
        low, high = np.array(cloud.low, float), np.array(cloud.high, float)
        right.errorbar(cloud.x, y, [y - low, high - y], fmt="o", markersize=3, elinewidth=0.6, color="#444444")
        found = values[f"({search}) correlation of R^2 and accuracy"]
        ends = f", 95% {found.interval[0]:.2f} to {found.interval[1]:.2f}" if found.interval else ""
        right.set(
            title=f"{len(cloud.x)} models: Spearman {found.value:.2f}{ends}",
            xlabel="R$^2$ of the line through a model's channels",
            ylabel="top-1 (%)",
        )
    return figure


EXPERIMENT = Experiment(CONFIG, QUICK, CLAIMS, run, draw, check, SMALL, SETTABLE)
