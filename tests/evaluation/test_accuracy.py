"""Accuracies compared with sums written out by hand."""

import csv

import numpy as np
import pytest

from backbones.errors import UserError
from benchmark.evaluation.accuracy import Answers, ClassificationAccuracy, accuracy, worst_classes


def test_accuracy_equals_brute_force():
    rng = np.random.default_rng(0)
    classes, images = 9, 400
    labels = rng.integers(0, classes - 1, images)  # the last class has no images
    predicted = np.stack([rng.permutation(classes)[:5] for _ in range(images)])
    answers = Answers(labels, predicted, classes)
    figures = accuracy(answers)
    pairs = list(zip(labels.tolist(), predicted.tolist(), strict=True))
    assert figures["top1"] == pytest.approx(100 * sum(label == row[0] for label, row in pairs) / images)
    assert figures["top5"] == pytest.approx(100 * sum(label in row for label, row in pairs) / images)
    wanted = []
    for kind in range(classes - 1):
        own = [row[0] == label for label, row in pairs if label == kind]
        wanted.append(100 * sum(own) / len(own))
    assert answers.per_class == [pytest.approx(value) for value in wanted] + [None]
    assert figures["mean_per_class"] == pytest.approx(sum(wanted) / len(wanted))
    for true in range(classes):
        for answer in range(classes):
            assert answers.confusion[true, answer] == sum(label == true and row[0] == answer for label, row in pairs)


def test_top5_needs_six_classes():
    answers = Answers(np.array([0, 1]), np.array([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]), 5)
    assert accuracy(answers) == {"top1": 50.0, "top5": None, "mean_per_class": 50.0}


def test_an_image_counted_twice_is_an_error(tmp_path):
    metric = ClassificationAccuracy()
    metric.dataset_meta = {"images": 2, "classes": ("a", "b"), "split": "test", "annotations_sha256": "0"}
    with pytest.raises(UserError, match="3 images"):
        metric.compute_metrics([(0, 0, [0, 1]), (1, 1, [0, 1]), (1, 1, [0, 1])])
    assert metric.compute_metrics([(0, 0, [0, 1]), (1, 1, [0, 1])])["top1"] == 50.0
    metric.save(tmp_path / "confusion.csv")
    assert list(csv.reader((tmp_path / "confusion.csv").open())) == [
        ["true class", "a", "b"],
        ["a", "1", "0"],
        ["b", "1", "0"],
    ]
    assert worst_classes(metric.per_class["top1"], 1) == {"b": 0.0}
