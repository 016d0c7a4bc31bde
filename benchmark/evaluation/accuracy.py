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
from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import CONFUSION
from benchmark.models.classifier import TOP


@dataclass(frozen=True)
class Answers:
    """What a classifier answered.

    Attributes:
        labels: (N,) true labels.
        predicted: (N, k) predicted labels, best first; k is 5 or, with fewer classes, their number.
        classes: number of classes.
    """

    labels: np.ndarray
    predicted: np.ndarray
    classes: int

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
    """Count all figures of a classifier's answers."""
    return {name: count(answers) for name, count in _COUNTED.items()}


@METRICS.register_module()
class ClassificationAccuracy(BaseMetric):
    """Collect a classifier's predictions and count once all processes are done.

    Attributes:
        confusion: after an evaluation, on the main process, images by (true, predicted) class.
        per_class: accuracy by class name, under ``top1``.
        images: number of images evaluated.
    """

    default_prefix = ""  # the figures' names are whole
    file_name = CONFUSION  # what a run's figures were counted from, kept beside its result

    def __init__(self) -> None:
        super().__init__(collect_device="cpu")
        self.confusion = np.zeros((0, 0), dtype=np.int64)
        self.per_class: dict[str, dict[str, float | None]] = {}

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
        self.results += [(sample["img_id"], sample["gt_label"], sample["pred_classes"]) for sample in data_samples]

    def compute_metrics(self, results: list[tuple[int, int, list[int]]]) -> dict[str, float | None]:
        """Count over all images of the data set."""
        expected, different = self.dataset_meta["images"], len({image for image, _, _ in results})
        if len(results) != expected or different != expected:
            raise UserError(
                f"Evaluation saw {len(results)} images ({different} different) of {expected}: the figures would be "
                "wrong. Evaluate each image once."
            )
        names = self.dataset_meta["classes"]
        labels, predicted = np.array([row[1] for row in results]), np.array([row[2] for row in results])
        answers = Answers(labels, predicted, len(names))
        self.confusion = answers.confusion
        self.per_class = {"top1": dict(zip(names, answers.per_class, strict=True))}
        return accuracy(answers)

    def save(self, path: Path) -> None:
        """Write the confusion matrix as CSV: a row per true class, a column per predicted one."""
        names = self.dataset_meta["classes"]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["true class", *names])
        writer.writerows([name, *row] for name, row in zip(names, self.confusion.tolist(), strict=True))
        write_atomically(path, lambda temporary: temporary.write_text(text.getvalue()))


def worst_classes(per_class: dict[str, float | None], count: int) -> dict[str, float]:
    """Return the classes with the lowest accuracy, lowest first."""
    known = {name: value for name, value in per_class.items() if value is not None}
    return dict(sorted(known.items(), key=lambda item: item[1])[:count])
