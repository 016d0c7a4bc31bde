"""Successive halving of a series: backbones that lie clearly behind get no more runs.

After Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016, with
whole runs as what is spent: what a short training says of a long one under a schedule is no question here, and the runs
of those that stay are those of a series without it. From the second seed on the upper half of the backbones goes first.
By then two runs of some backbones tell how much seeds matter, and of the lower half those are dropped that are clearly
behind the best: by an interval over pictures and seeds that excludes 0, never because of their place alone.

Who is dropped follows from the results alone, so that it is the same however often a series is interrupted, and however
many runs happen at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from statistics import fmean

from scipy.stats import t

from benchmark.evaluation.spread import picture_variance, seed_variance
from benchmark.files.run_folder import RESULT
from benchmark.records.figures import FIGURES
from benchmark.records.result import read_result
from benchmark.tasks import TASKS
from benchmark.training.series.plan import Dropped, Job, Series, jobs

_LEVEL = 0.95


def halving(series: Series, folder: Path, drop: Callable[[Dropped], None]) -> Iterator[list[Job]]:
    """Yield the runs of a series in groups; all of a group must be over, finished or failed, before the next is taken.

    Args:
        series: to run.
        folder: of the series.
        drop: told of each backbone that is dropped.
    """
    run = {(job.backbone, job.seed): job for job in jobs(series, folder)}
    left = list(series.backbones)
    yield [run[backbone, 0] for backbone in left]
    for seed in range(1, series.seeds):
        before = {backbone: [run[backbone, place] for place in range(seed)] for backbone in left}
        upper = _ranked(before)[: ceil(len(left) / 2)]
        yield [run[backbone, seed] for backbone in left if backbone in upper]
        after = {
            backbone: [*own, run[backbone, seed]] if backbone in upper else own for backbone, own in before.items()
        }
        for loser in _clear_losers(after, upper):
            drop(loser)
            left.remove(loser.backbone)
        yield [run[backbone, seed] for backbone in left if backbone not in upper]


def _ranked(runs: Mapping[str, Sequence[Job]]) -> list[str]:
    """Return the backbones, best first; those without all their figures come last, equal ones in their order."""
    means = {}
    for backbone, own in runs.items():
        figure, values = _figures(own)
        means[backbone] = _signed(figure, fmean(values)) if len(values) == len(own) else float("-inf")
    return sorted(runs, key=lambda backbone: -means[backbone])


def _clear_losers(runs: Mapping[str, Sequence[Job]], upper: Sequence[str]) -> list[Dropped]:
    """Return those of the lower half that are clearly behind the best of the upper one.

    A backbone with a run that failed neither leads nor is dropped.
    """
    figures = {backbone: _figures(own)[1] for backbone, own in runs.items()}
    whole = [backbone for backbone, values in figures.items() if len(values) == len(runs[backbone])]
    leader = _ranked({each: runs[each] for each in upper})[0]
    variance, freedom = seed_variance(list(figures.values()))
    if leader not in whole or not freedom:
        return []
    quantile = float(t.ppf((1 + _LEVEL) / 2, freedom))
    found = []
    for backbone in whole:
        if backbone in upper:
            continue
        own, best = runs[backbone], runs[leader]
        name, (value, leader_value) = _figures(own)[0], (fmean(figures[each]) for each in (backbone, leader))
        pictures = picture_variance([job.folder for job in own], [job.folder for job in best], name)
        reach = quantile * sqrt(pictures + variance * (1 / len(own) + 1 / len(best)))
        difference = value - leader_value
        if _signed(name, difference) + reach < 0:
            interval = (difference - reach, difference + reach)
            found.append(
                Dropped(
                    backbone=backbone,
                    runs=len(own),
                    leader=leader,
                    figure=name,
                    value=value,
                    leader_value=leader_value,
                    difference=difference,
                    interval=interval,
                )
            )
    return found


def _figures(runs: Sequence[Job]) -> tuple[str, list[float]]:
    """Return the figure that ranks, and its values in those of the runs that have one."""
    results = [read_result(job.folder / RESULT) for job in runs if job.finished]
    name = TASKS[results[0].task].ranking if results else ""
    values = [value for result in results if (value := result.metrics.get(name)) is not None]
    return name, values


def _signed(figure: str, value: float) -> float:
    """Return a value of which more is better."""
    return value if FIGURES[figure].best == "high" else -value
