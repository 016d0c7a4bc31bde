"""Accuracies compared with sums written out by hand."""

import csv
from collections.abc import Sequence

import numpy as np
import pytest

from backbones.errors import UserError
from benchmark.evaluation.accuracy import Answer, Answers, ClassificationAccuracy, accuracy, intervals, worst_classes


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


def rows(images: Sequence[int], labels: Sequence[int], best: list[int], real: Sequence[tuple[int, ...]] = ()) -> list:
    """What the metric collects of a classifier that always answers the same."""
    shown = real or [None] * len(images)
    return [Answer(*row, None) for row in zip(images, labels, [best] * len(images), shown, strict=True)]


def test_an_unreadable_picture_is_seen_and_does_not_count():
    metric = ClassificationAccuracy()
    metric.dataset_meta = {"images": 3, "classes": ("a", "b"), "split": "test", "annotations_sha256": "0"}
    seen = [*rows([0, 1], [0, 0], [0, 1]), Answer(2, 1, [0, 1], None, "a/2.jpg")]
    assert metric.compute_metrics(seen)["top1"] == 100.0
    assert metric.unreadable == ("a/2.jpg",) and metric.confusion.sum() == 2


def test_an_image_counted_twice_is_an_error(tmp_path):
    metric = ClassificationAccuracy()
    metric.dataset_meta = {"images": 2, "classes": ("a", "b"), "split": "test", "annotations_sha256": "0"}
    with pytest.raises(UserError, match="3 images"):
        metric.compute_metrics(rows([0, 1, 1], [0, 1, 1], [0, 1]))
    assert metric.compute_metrics(rows([0, 1], [0, 1], [0, 1]))["top1"] == 50.0
    metric.save(tmp_path / "confusion.csv")
    assert list(csv.reader((tmp_path / "confusion.csv").open())) == [
        ["true class", "a", "b"],
        ["a", "1", "0"],
        ["b", "1", "0"],
    ]
    assert worst_classes(metric.per_class["top1"], 1) == {"b": 0.0}


def test_reassessed_labels_count_any_that_an_image_shows_and_leave_out_images_without():
    metric = ClassificationAccuracy()
    names = tuple("abcdef")
    metric.dataset_meta = {"images": 4, "classes": names, "split": "val", "annotations_sha256": "0"}
    best = [0, 1, 2, 3, 4]
    images, labels = range(4), (0, 1, 1, 0)
    figures = metric.compute_metrics(rows(images, labels, best, [(0,), (1, 0), (1,), ()]))
    assert (figures["top1"], figures["real"]) == (50.0, pytest.approx(200 / 3))
    assert "real" not in metric.compute_metrics(rows(images, labels, best))
    assert metric.compute_metrics(rows(images, labels, best, [()] * 4))["real"] is None


def test_an_interval_of_a_share_is_the_binomial_distributions():
    """A resample of a 0/1 figure is a binomial draw; the normal approximation gives its ends to half a percent."""
    images, right = 400, 300
    predicted = np.tile(np.arange(5), (images, 1))
    labels = np.where(np.arange(images) < right, 0, 6)
    ends = intervals(Answers(labels, predicted, 7), resamples=2000)
    share = right / images
    half = 196 * np.sqrt(share * (1 - share) / images)
    assert ends["top1"] == pytest.approx((100 * share - half, 100 * share + half), abs=0.5)
    assert intervals(Answers(labels, predicted, 7), resamples=100) == intervals(Answers(labels, predicted, 7), 100)


def test_a_figure_that_is_not_counted_has_no_interval():
    answers = Answers(np.array([0, 1]), np.array([[0, 1], [0, 1]]), 2, real=np.array([np.nan, np.nan]))
    assert intervals(answers, resamples=100).keys() == {"top1", "mean_per_class"}
