"""From the files of runs to figures with draws of the pictures: detections of detectors, answers of classifiers.

All runs are weighed by the same draws, so that differences are paired. A classifier's run from before answers were kept
has its confusion matrix: then nothing says which pictures it got right, and its pictures are drawn by themselves,
which makes the intervals of differences rather too wide.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from backbones.errors import UserError
from benchmark.console import track_progress
from benchmark.data.annotations import read_annotations
from benchmark.evaluation.bootstrap import class_precisions, draw_images
from benchmark.evaluation.compare import check_recount, find_annotations, match_run, read_detections
from benchmark.files.run_folder import ANSWERS, CONFUSION
from benchmark.records.figures import FIGURES, IOU_TYPES
from benchmark.records.runs import Run
from benchmark.reporting.decision.statistics import Figure
from benchmark.tasks import TASKS

_HEADER = "image,true class,answer"


@dataclass(frozen=True)
class Evidence:
    """What the runs of a backbone say, in percent.

    Attributes:
        figure: what ranks.
        classes: that of each class.
        guess: what guessing reaches: a class in so many of a classifier, no box of a detector.
    """

    figure: Figure
    classes: Mapping[str, Figure]
    guess: float = 0.0


@dataclass(frozen=True)
class _Counted:
    """A run's figures: of each class as it is (C,), and on each draw (C, resamples); NaN where nothing is to be found.

    Attributes:
        whole: the run's figure on each draw: (resamples,).
        names: of the classes.
    """

    classes: np.ndarray
    draws: np.ndarray
    whole: np.ndarray
    names: Sequence[str]
    own_draws: bool = False


def gather(groups: Sequence[Sequence[Run]], *, annotations: Path | None, resamples: int, seed: int) -> list[Evidence]:
    """Return the evidence of each backbone.

    Args:
        groups: the runs of each backbone, one per seed, all on the same pictures.
        annotations: of detectors; what the first run's config names by default.
        resamples: draws of the pictures.
        seed: of the draws.

    Raises:
        UserError: a run without the file that its figure was counted from, or with another one.
    """
    first = groups[0][0]
    detects = TASKS[first.result.task].kind == "detector"
    place = find_annotations(first, annotations) if detects else None
    runs = [run for group in groups for run in group]
    images = len(read_annotations(place)["images"]) - len(first.result.data.unreadable) if place else _labelled(first)
    weights = np.concatenate([*draw_images(images, resamples, seed)])  # (resamples, images)
    counted = {}
    for number, run in enumerate(track_progress(runs, "resampling")):
        own = np.random.default_rng([seed, number])
        counted[run.folder] = _detector(run, place, weights) if place else _classifier(run, weights, own)
    return [_evidence(group, [counted[run.folder] for run in group], images) for group in groups]


def _evidence(runs: Sequence[Run], counted: Sequence[_Counted], images: int) -> Evidence:
    figure = TASKS[runs[0].result.task].ranking
    own_draws = any(one.own_draws for one in counted)
    # Runs that were drawn by themselves saw the same pictures all the same: their mean varies as one of them does.
    wider = len(counted) ** 0.5 if own_draws else 1.0

    def mean(draws: Sequence[np.ndarray]) -> np.ndarray:
        middle = np.mean(draws, axis=0)
        centre = np.nanmean(middle) if not np.isnan(middle).all() else np.nan
        return centre + wider * (middle - centre)

    seeds = [_seed(run, -number) for number, run in enumerate(runs, 1)]
    values = {seed: run.result.metrics[figure] for seed, run in zip(seeds, runs, strict=True)}
    classes = {
        name: Figure(
            {seed: float(one.classes[place]) for seed, one in zip(seeds, counted, strict=True)},
            mean([one.draws[place] for one in counted]),
            images,
            own_draws,
        )
        for place, name in enumerate(counted[0].names)
        if not np.isnan(counted[0].classes[place])
    }
    whole = mean([one.whole for one in counted])
    found = Figure({seed: float(value or 0) for seed, value in values.items()}, whole, images, own_draws)
    detects = TASKS[runs[0].result.task].kind == "detector"
    return Evidence(found, classes, 0.0 if detects else 100 / len(counted[0].names))


def _seed(run: Run, unknown: int) -> int:
    training = run.result.training
    return unknown if training is None or training.seed is None else training.seed


def _detector(run: Run, annotations: Path, weights: np.ndarray) -> _Counted:
    figure = TASKS[run.result.task].ranking
    matches = match_run(run, annotations, read_detections(run), IOU_TYPES[FIGURES[figure].group], ("all",))
    classes = class_precisions(matches, np.ones((1, weights.shape[1])))[:, 0]
    check_recount(run, figure, float(np.nanmean(classes)))
    draws = class_precisions(matches, weights)
    categories = sorted(read_annotations(annotations)["categories"], key=lambda category: category["id"])
    known = ~np.isnan(draws)
    whole = np.where(known, draws, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    return _Counted(classes, draws, whole, [category["name"] for category in categories])


def _classifier(run: Run, weights: np.ndarray, own: np.random.Generator) -> _Counted:
    names, _ = _read_confusion(run)
    path = run.folder / ANSWERS
    if path.is_file():
        labels, hits = _read_answers(path)
        _check_top1(run, path, hits.mean(), len(hits))
        drawn = weights
        if len(hits) != weights.shape[1] or labels.max() >= len(names):
            raise UserError(f"{path} and {CONFUSION} beside it are not of one evaluation: evaluate again.")
    else:
        labels, hits = _from_confusion(run)
        drawn = np.concatenate([*draw_images(len(hits), len(weights), int(own.integers(2**31)))])
    every = sparse.csr_array((np.ones(len(labels)), (np.arange(len(labels)), labels)), (len(labels), len(names)))
    right = sparse.csr_array((hits.astype(float), (np.arange(len(labels)), labels)), every.shape)
    with np.errstate(invalid="ignore"):  # a class that no picture shows
        classes = 100 * np.asarray(right.sum(axis=0)) / np.asarray(every.sum(axis=0))
        draws = 100 * (drawn @ right).T / (drawn @ every).T  # (C, resamples)
    return _Counted(classes, draws, 100 * (drawn @ hits) / len(hits), names, own_draws=not path.is_file())


def _read_confusion(run: Run) -> tuple[list[str], np.ndarray]:
    path = run.folder / CONFUSION
    if not path.is_file():
        tool = TASKS[run.result.task].tool
        raise UserError(f"Not found: {path}. Evaluate the run's checkpoint with tools/{tool} to write it.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        names, counts = header[1:], np.array([row[1:] for row in rows], dtype=np.int64)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no confusion matrix: {error}. Evaluate again.") from error
    if counts.shape != (len(names), len(names)) or counts.sum() == 0 or counts.min() < 0:
        raise UserError(f"{path} is no confusion matrix: it has {len(names)} classes and {counts.shape} counts.")
    return names, counts


def _labelled(run: Run) -> int:
    """Return how many pictures a classifier's run was evaluated on."""
    return int(_read_confusion(run)[1].sum())


def _from_confusion(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return label and hit of each picture, in an order that says nothing: (N,), (N,)."""
    _, counts = _read_confusion(run)
    right, total = counts.diagonal(), counts.sum(axis=1)
    labels = np.repeat(np.arange(len(total)), total)
    hits = np.concatenate([np.arange(every) < hit for hit, every in zip(right, total, strict=True)])
    _check_top1(run, run.folder / CONFUSION, hits.mean(), len(hits))
    return labels, hits


def _read_answers(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return label and hit of each picture, in the data set's order: (N,), (N,)."""
    try:
        with path.open(encoding="utf-8") as file:
            if file.readline().strip() != _HEADER:
                raise UserError(f"{path} has not the columns {_HEADER}: evaluate again.")
            rows = np.loadtxt(file, dtype=np.int64, delimiter=",", ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no table of answers: {error}. Evaluate again.") from error
    if rows.shape[1] != 3 or rows.min() < 0:
        raise UserError(f"{path} is no table of answers: expected three whole numbers a row. Evaluate again.")
    return rows[:, 1], rows[:, 1] == rows[:, 2]


def _check_top1(run: Run, path: Path, share: float, images: int) -> None:
    recorded, data = run.result.metrics["top1"], run.result.data
    if recorded is None or abs(recorded - 100 * share) > 0.01 or images != data.images:
        raise UserError(
            f"{path} does not belong to the result beside it: top-1 {100 * share:.2f} on {images} images, "
            f"{recorded} on {data.images} in the result. Evaluate again."
        )
