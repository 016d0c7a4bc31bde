"""A sweep's figures: a table and a heat map of the grid."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from optuna.trial import FrozenTrial, TrialState
from tabulate import tabulate

from benchmark.config.load import config_name, load_options
from benchmark.data.layouts import find_layout
from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import FINAL, GRID
from benchmark.records.figures import format_figures
from benchmark.records.result import Result
from benchmark.training.sweep.search import Grid, Point, Sweep, best_trial, figure_of, finished_trials, open_study

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def report(sweep: Sweep, result: Result | None) -> str:
    """Return a finished sweep's table, its best trial and the figures of the final training; draw the heat map."""
    cfg = load_options(sweep.options)
    metric = find_layout(cfg.train_dataloader.dataset.name).metric
    study = open_study(sweep.folder, metric)
    points = sweep.points()
    trials, best = finished_trials(study, points), best_trial(study, points)
    picture = sweep.folder / GRID
    draw_grid(picture, sweep.grid, trials, metric, f"{config_name(cfg)}, validation split")
    rate, decay = best.user_attrs["point"]
    lines = [
        f"{metric} in percent on the validation split (heat map: {picture}):",
        "",
        grid_table(sweep.grid, trials),
        "",
        f"Best of {len(trials)}: learning rate {rate:g}, weight decay {decay:g}, {metric} {best.value:.1f}.",
        f"{sweep.folder / FINAL}, on the test split: {format_figures(result.metrics, result.intervals).strip()}"
        if result
        else "The final training runs in another worker.",
    ]
    return "\n".join(lines)


def grid_table(grid: Grid, trials: Mapping[Point, FrozenTrial]) -> str:
    """Return the grid as Markdown: a row per learning rate, a column per weight decay; the best figure is bold."""
    best = max((figure_of(trial) for trial in trials.values() if trial.state is TrialState.COMPLETE), default=None)
    rows = [
        [f"{rate:g}", *(_cell(trials.get((rate, decay)), best) for decay in grid.weight_decays)]
        for rate in grid.learning_rates
    ]
    headers = ["lr \\ weight decay", *(f"{decay:g}" for decay in grid.weight_decays)]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, stralign="right")


def draw_grid(path: Path, grid: Grid, trials: Mapping[Point, FrozenTrial], metric: str, title: str) -> None:
    """Draw the grid as a PNG heat map; points without a figure stay white."""
    values = [[_value(trials.get((rate, decay))) for decay in grid.weight_decays] for rate in grid.learning_rates]
    figure, axes = plt.subplots(
        figsize=(2.5 + 0.8 * len(grid.weight_decays), 1.8 + 0.6 * len(grid.learning_rates)), layout="constrained"
    )
    image = axes.imshow(values, origin="lower", aspect="auto")
    axes.set_xticks(range(len(grid.weight_decays)), [f"{decay:g}" for decay in grid.weight_decays])
    axes.set_yticks(range(len(grid.learning_rates)), [f"{rate:g}" for rate in grid.learning_rates])
    axes.set(xlabel="weight decay", ylabel="learning rate", title=title)
    figure.colorbar(image, label=f"{metric}, %")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))
    plt.close(figure)


def _value(trial: FrozenTrial | None) -> float:
    return figure_of(trial) if trial and trial.state is TrialState.COMPLETE else float("nan")


def _cell(trial: FrozenTrial | None, best: float | None) -> str:
    if trial is None:
        return "-"
    if trial.state is TrialState.COMPLETE:
        return f"**{trial.value:.1f}**" if trial.value == best else f"{trial.value:.1f}"
    return "diverged" if "diverged" in trial.user_attrs else "pruned"
