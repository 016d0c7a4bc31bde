"""Accuracy: top-1, top-5, and the mean over the classes; with the confusion matrix."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from backbones.errors import UserError
from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import CONFUSION
from benchmark.models.classifier import TOP


def accuracy(
    labels: np.ndarray, predicted: np.ndarray, classes: int
) -> tuple[dict[str, float | None], np.ndarray, list[float | None]]:
    """Compute accuracies from predictions.

    Args:
        labels: (N,) true labels.
        predicted: (N, k) predicted labels, best first; k is 5 or, with fewer classes, their number.
        classes: number of classes.

    Returns:
        ``top1``, ``top5`` and ``mean_per_class`` in percent; the confusion matrix (true, predicted) in images; and each
        class's accuracy in percent. ``top5`` is None with five classes or fewer, where no answer could be wrong; a
        class without images has None, and does not count in the mean.
    """
    hits = predicted == labels[:, None]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted[:, 0]), 1)
    totals = confusion.sum(axis=1)
    per_class = [
        100.0 * float(right) / int(total) if total else None
        for right, total in zip(confusion.diagonal(), totals, strict=True)
    ]
    known = [value for value in per_class if value is not None]
    figures = {
        "top1": 100.0 * float(hits[:, 0].mean()),
        "top5": 100.0 * float(hits.any(axis=1).mean()) if classes > TOP else None,
        "mean_per_class": sum(known) / len(known),
    }
    return figures, confusion, per_class


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
        figures, self.confusion, per_class = accuracy(labels, predicted, len(names))
        self.per_class = {"top1": dict(zip(names, per_class, strict=True))}
        return figures

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
