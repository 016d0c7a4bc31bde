"""A classifier's figures, a function per figure, and the confusion matrix."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from backbones.errors import UserError
from benchmark.data.unreadable import warn_of_unreadable
from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import CONFUSION
from benchmark.models.classifier import TOP

ANSWERS_HEADER = ("image", "true class", "answer")
_ENDS = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Answers:
    """What a classifier answered.

    Attributes:
        labels: (N,) true labels.
        predicted: (N, k) predicted labels, best first; k is 5 or, with fewer classes, their number.
        classes: number of classes.
        real: (N,) whether the first answer is one of the labels that the image has been found to show, NaN for an image
            that shows none of the classes; None where nothing says.
    """

    labels: np.ndarray
    predicted: np.ndarray
    classes: int
    real: np.ndarray | None = None

    def take(self, images: np.ndarray) -> "Answers":
        """Return the answers on some images, by their places; an image may be there more than once."""
        real = None if self.real is None else self.real[images]
        return Answers(self.labels[images], self.predicted[images], self.classes, real)

    @cached_property
    def hits(self) -> np.ndarray:
        """Whether each answer is right, (N, k)."""
        return self.predicted == self.labels[:, None]

    @cached_property
    def confusion(self) -> np.ndarray:
        """Images by (true, predicted) class."""
        counts = np.zeros((self.classes, self.classes), dtype=np.int64)
        np.add.at(counts, (self.labels, self.predicted[:, 0]), 1)
        return counts

    @cached_property
    def per_class(self) -> list[float | None]:
        """Accuracy of each class in percent, None for one without images."""
        totals = self.confusion.sum(axis=1)
        return [
            100.0 * float(right) / int(total) if total else None
            for right, total in zip(self.confusion.diagonal(), totals, strict=True)
        ]


_COUNTED: dict[str, Callable[[Answers], float | None]] = {}


def counted(function: Callable[[Answers], float | None]) -> Callable[[Answers], float | None]:
    """Have a figure counted in every evaluation of a classifier; its function is named like its row in ``FIGURES``."""
    _COUNTED[function.__name__] = function
    return function


@counted
def top1(answers: Answers) -> float:
    """Return the share of images whose first answer is right, in percent."""
    return 100.0 * float(answers.hits[:, 0].mean())


@counted
def top5(answers: Answers) -> float | None:
    """Return the share of images with the right answer among five; None where no five answers could be wrong."""
    return 100.0 * float(answers.hits.any(axis=1).mean()) if answers.classes > TOP else None


@counted
def mean_per_class(answers: Answers) -> float:
    """Return the mean of the classes' accuracies in percent; a class without images does not count."""
    known = [value for value in answers.per_class if value is not None]
    return sum(known) / len(known)


def accuracy(answers: Answers) -> dict[str, float | None]:
    """Count all figures of a classifier's answers; ``real`` where the reassessed labels are known."""
    figures = {name: count(answers) for name, count in _COUNTED.items()}
    if answers.real is not None:
        known = answers.real[~np.isnan(answers.real)]
        figures["real"] = 100.0 * float(known.mean()) if known.size else None
    return figures


def intervals(answers: Answers, resamples: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the 95% bootstrap interval over images of each figure; none for a figure that a resample does not have.

    A resample draws as many images as there are, with replacement; the interval lies between the 2.5th and the 97.5th
    percentile of its figures. It covers the choice of images, not of training seeds.

    Args:
        answers: of all images.
        resamples: how many.
        seed: of the draws.
    """
    rng, images = np.random.default_rng(seed), len(answers.labels)
    drawn: dict[str, list[float | None]] = {}
    for _ in range(resamples):
        for name, value in accuracy(answers.take(rng.integers(images, size=images))).items():
            drawn.setdefault(name, []).append(value)
    ends: dict[str, tuple[float, float]] = {}
    for name, values in drawn.items():
        if None not in values:
            low, high = np.percentile(np.array(values, dtype=float), _ENDS)
            ends[name] = float(low), float(high)
    return ends


def paired_difference(
    a: Answers, b: Answers, figure: str, resamples: int, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return by how much a figure of A is above that of B on the same images, and its 95% interval over images.

    Both are drawn together. The figure is one that every resample has. As in ``bootstrap``, the resamples are reflected
    about the difference.

    Args:
        a: answers of A.
        b: of B, on the same images.
        figure: name.
        resamples: how many.
        seed: of the draws.
    """
    count, rng, images = _COUNTED[figure], np.random.default_rng(seed), len(a.labels)

    def ahead(ours: Answers, theirs: Answers) -> float:
        return (count(ours) or 0.0) - (count(theirs) or 0.0)

    drawn = [rng.integers(images, size=images) for _ in range(resamples)]
    difference = ahead(a, b)
    low, high = np.percentile([2 * difference - ahead(a.take(each), b.take(each)) for each in drawn], _ENDS)
    return difference, (float(low), float(high))


@dataclass(frozen=True)
class Answer:
    """What a classifier answered on one image.

    Attributes:
        image: its place in the data set.
        label: the true one.
        best: predicted labels, best first.
        shown: the labels that it has been found to show; None where nothing says.
        unreadable: the picture's name, if it could not be read; the answer is then another picture's.
    """

    image: int
    label: int
    best: list[int]
    shown: Sequence[int] | None
    unreadable: str | None = None


def _among(results: Sequence[Answer]) -> np.ndarray | None:
    """Return whether each first answer is among the labels that its image shows; see ``Answers.real``."""
    among: list[float] = []
    for answer in results:
        if answer.shown is None:
            return None
        among.append(float(answer.best[0] in answer.shown) if answer.shown else np.nan)
    return np.array(among)


@METRICS.register_module()
class ClassificationAccuracy(BaseMetric):
    """Collect a classifier's predictions and count once all processes are done.

    Attributes:
        confusion: after an evaluation, on the main process, images by (true, predicted) class.
        per_class: accuracy by class name, under ``top1``.
        answers: what the figures were counted from.
        places: (N,) the image of each answer, by its place in the data set.
        unreadable: names of the pictures that could not be read; they do not count.
    """

    default_prefix = ""  # the figures' names are whole
    file_name = CONFUSION  # what a run's figures were counted from, kept beside its result

    def __init__(self) -> None:
        super().__init__(collect_device="cpu")
        self.confusion = np.zeros((0, 0), dtype=np.int64)
        self.per_class: dict[str, dict[str, float | None]] = {}
        self.answers: Answers | None = None
        self.places = np.zeros(0, dtype=np.int64)
        self.unreadable: tuple[str, ...] = ()

    @property
    def split(self) -> str:
        """Name of the evaluated split."""
        return self.dataset_meta["split"]

    @property
    def annotations_sha256(self) -> str:
        """Hash of the list of pictures and labels."""
        return self.dataset_meta["annotations_sha256"]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of one batch."""
        self.results += [
            Answer(
                sample["img_id"],
                sample["gt_label"],
                sample["pred_classes"],
                sample.get("real_labels"),
                sample.get("unreadable"),
            )
            for sample in data_samples
        ]

    def compute_metrics(self, results: list[Answer]) -> dict[str, float | None]:
        """Count over all images of the data set."""
        expected, different = self.dataset_meta["images"], len({answer.image for answer in results})
        if len(results) != expected or different != expected:
            raise UserError(
                f"Evaluation saw {len(results)} images ({different} different) of {expected}: the figures would be "
                "wrong. Evaluate each image once."
            )
        self.unreadable = tuple(sorted(answer.unreadable for answer in results if answer.unreadable is not None))
        warn_of_unreadable(self.unreadable)
        results = [answer for answer in results if answer.unreadable is None]
        names = self.dataset_meta["classes"]
        labels = np.array([answer.label for answer in results])
        predicted = np.array([answer.best for answer in results])
        self.places = np.array([answer.image for answer in results])
        self.answers = Answers(labels, predicted, len(names), _among(results))
        self.confusion = self.answers.confusion
        self.per_class = {"top1": dict(zip(names, self.answers.per_class, strict=True))}
        return accuracy(self.answers)

    def intervals(self, resamples: int) -> dict[str, tuple[float, float]]:
        """Return the 95% interval of each figure."""
        assert self.answers is not None  # the evaluation is over
        return intervals(self.answers, resamples)

    def save(self, path: Path) -> None:
        """Write the confusion matrix as CSV: a row per true class, a column per predicted one."""
        names = self.dataset_meta["classes"]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["true class", *names])
        writer.writerows([name, *row] for name, row in zip(names, self.confusion.tolist(), strict=True))
        write_atomically(path, lambda temporary: temporary.write_text(text.getvalue()))

    def save_answers(self, path: Path) -> None:
        """Write a row per image, in the order of the data set: its place, its true class and the first answer."""
        assert self.answers is not None  # the evaluation is over
        order = np.argsort(self.places, kind="stable")
        columns = (self.places, self.answers.labels, self.answers.predicted[:, 0])
        rows = np.stack([column[order] for column in columns], axis=1)  # (N, 3)
        write_atomically(
            path,
            lambda temporary: np.savetxt(temporary, rows, "%d", ",", header=",".join(ANSWERS_HEADER), comments=""),
        )


def worst_classes(per_class: dict[str, float | None], count: int) -> dict[str, float]:
    """Return the classes with the lowest accuracy, lowest first."""
    known = {name: value for name, value in per_class.items() if value is not None}
    return dict(sorted(known.items(), key=lambda item: item[1])[:count])
