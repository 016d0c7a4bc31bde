"""How much the difference of two models' figures would vary with other pictures and other training seeds.

What a run leaves beside its result serves: a detector's detections, a classifier's confusion matrix.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backbones.errors import UserError
from benchmark.evaluation.accuracy import Answers, accuracy
from benchmark.evaluation.bootstrap import resample
from benchmark.evaluation.compare import match_folder
from benchmark.files.run_folder import CONFUSION
from benchmark.records.figures import FIGURES, IOU_TYPES

_RESAMPLES = 400  # their variance is then known to 7%


def seed_variance(figures: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the variance of a figure over seeds, pooled over models, and its degrees of freedom (0 without any).

    Args:
        figures: by model, one a seed.
    """
    freedom = sum(len(own) - 1 for own in figures if own)
    squares = sum(float(((np.array(own) - np.mean(own)) ** 2).sum()) for own in figures if own)
    return (squares / freedom if freedom else 0.0), freedom


def picture_variance(a: Sequence[Path], b: Sequence[Path], figure: str) -> float:
    """Return the variance, over draws of the pictures, of the difference of two models' mean figures.

    Detectors are drawn together, picture by picture. Of a classifier there are only counts: its variance is taken by
    itself and as if all its runs erred alike, which makes the sum too large rather than too small.

    Args:
        a: folders of one model's runs, evaluated on the same pictures as those of the other.
        b: likewise.
        figure: a key of ``FIGURES``.

    Raises:
        UserError: files that are gone, or that do not belong to the results.
    """
    group = FIGURES[figure].group
    if not group:
        return sum(float(np.mean([_counted_variance(run, figure) for run in runs])) for runs in (a, b))
    name = figure.removeprefix(f"{group}_")
    means = [
        np.mean([resample(match_folder(run, IOU_TYPES[group]), _RESAMPLES)[name] for run in runs], axis=0)
        for runs in (a, b)
    ]
    return float(np.nanvar(means[0] - means[1], ddof=1))


def _counted_variance(run: Path, figure: str) -> float:
    counts = _read_confusion(run / CONFUSION)
    labels, predicted = (np.repeat(places, counts[counts > 0]) for places in np.nonzero(counts))
    answers = Answers(labels, predicted[:, None], len(counts))  # (N, 1): the first answers are all that is known
    generator = np.random.default_rng(0)
    drawn = (accuracy(answers.take(generator.integers(len(labels), size=len(labels)))) for _ in range(_RESAMPLES))
    return float(np.var([value for figures in drawn if (value := figures[figure]) is not None], ddof=1))


def _read_confusion(path: Path) -> np.ndarray:
    """Return the images by (true, predicted) class."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        counts = np.array([[int(cell) for cell in row[1:]] for row in rows])
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): evaluate the run's checkpoint again.") from error
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.sum():
        raise UserError(f"{path} is no confusion matrix: evaluate the run's checkpoint again.")
    return counts
