"""Validation pictures with their labels: what a file finds in them, its figure, and two files compared on them."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from backbones.errors import UserError
from benchmark.console import track_progress
from benchmark.data.annotations import read_annotations
from benchmark.data.decode import read_image
from benchmark.data.finegrained import read_split
from benchmark.data.subsets import stratified_order
from benchmark.evaluation.accuracy import Answers, accuracy, intervals, paired_difference
from benchmark.evaluation.bootstrap import Matches, average_precision, bootstrap, match
from benchmark.evaluation.bootstrap import paired_difference as paired_ap
from benchmark.evaluation.coco_ap import CocoAP, to_coco
from benchmark.inference.export.exportable import call
from benchmark.inference.export.runtime import Arrays, Run
from benchmark.inference.export.source import Source, readable
from benchmark.inference.sources import find_pictures
from benchmark.records.figures import IOU_TYPES
from benchmark.tasks import TASKS

RESAMPLES = 1000
Interval = tuple[float, float]
Scored = TypeVar("Scored")  # what figures are counted from


class Labelled(ABC, Generic[Scored]):
    """Pictures with their labels.

    Args:
        source: what is exported.
        paths: the pictures.
    """

    def __init__(self, source: Source, paths: Sequence[Path]) -> None:
        self.source, self.paths = source, paths
        self.figure = TASKS[source.cfg.task].ranking

    def find(self, run: Run) -> list[Any]:
        """Return what a file finds in every picture, as plain values.

        Raises:
            UserError: a picture that cannot be read.
        """
        pictures, original = pictures_of(self.source, self.paths), self.source.original
        found = []
        for place, sample in enumerate(track_progress(readable(pictures), "evaluating", total=len(self.paths))):
            answer = original.answer(call(run, original.inputs(sample)), sample["data_samples"])
            found += self.plain(answer, place)
        return found

    @abstractmethod
    def plain(self, answer: Any, place: int) -> list[Any]:
        """Return what was found in the picture at a place, as plain values."""

    @abstractmethod
    def score(self, found: Sequence[Any]) -> Scored:
        """Return what figures are counted from."""

    @abstractmethod
    def value(self, scored: Scored) -> tuple[float | None, Interval | None]:
        """Return the figure in percent, and its interval over pictures."""

    @abstractmethod
    def compare(self, scored: Scored, reference: Scored) -> tuple[float | None, Interval | None]:
        """Return by how much the figure is above another one's on the same pictures, and the paired interval."""


class Detected(Labelled[Matches]):
    """Pictures with objects, in COCO's format."""

    def __init__(self, source: Source) -> None:
        cfg = source.cfg
        self._annotations = Path(cfg.val_evaluator.ann_file)
        truth = read_annotations(self._annotations)
        folder = Path(cfg.val_dataloader.dataset.data_root) / cfg.val_dataloader.dataset.data_prefix.img
        super().__init__(source, [folder / image["file_name"] for image in truth["images"]])
        self._ids = [image["id"] for image in truth["images"]]
        group, self._name = self.figure.split("_")
        self._iou_type = IOU_TYPES[group]
        self._metric = CocoAP(str(self._annotations), cfg.val_evaluator.iou_types)
        categories = {category["name"]: category["id"] for category in truth["categories"]}
        self._categories = [categories[name] for name in cfg.val_dataloader.dataset.metainfo.classes]

    def plain(self, answer: Any, place: int) -> list[Any]:
        """Return the detections in a picture in COCO's results format."""
        self._metric.process({}, [{**answer.to_dict(), "img_id": self._ids[place]}])
        return to_coco(self._metric.results.pop(), self._categories)

    def score(self, found: Sequence[Any]) -> Matches:
        """Match detections with objects."""
        return match(self._annotations, found, self._iou_type)

    def value(self, scored: Matches) -> tuple[float | None, Interval | None]:
        """Return AP."""
        return average_precision(scored)[self._name], bootstrap(scored, RESAMPLES)[self._name]

    def compare(self, scored: Matches, reference: Matches) -> tuple[float | None, Interval | None]:
        """Compare APs."""
        found = paired_ap(scored, reference, RESAMPLES)[self._name]
        return (found.difference, found.interval) if found else (None, None)


class Classified(Labelled[Answers]):
    """Pictures with a class each."""

    def __init__(self, source: Source) -> None:
        dataset = source.cfg.val_dataloader.dataset
        split = read_split(dataset.name, Path(dataset.data_root), dataset.split, allow_partial=True)
        super().__init__(source, [Path(path) for path, _ in split.samples])
        self._labels, self._classes = np.array([label for _, label in split.samples]), len(split.classes)

    def plain(self, answer: Any, place: int) -> list[Any]:
        """Return the best labels of a picture."""
        return [answer.pred_classes]

    def score(self, found: Sequence[Any]) -> Answers:
        """Return the answers."""
        return Answers(self._labels, np.array(found), self._classes)

    def value(self, scored: Answers) -> tuple[float | None, Interval | None]:
        """Return top-1."""
        return accuracy(scored)[self.figure], intervals(scored, RESAMPLES).get(self.figure)

    def compare(self, scored: Answers, reference: Answers) -> tuple[float | None, Interval | None]:
        """Compare top-1."""
        return paired_difference(scored, reference, self.figure, RESAMPLES)


def label_pictures(source: Source) -> Labelled:
    """Return the validation pictures of a config.

    Raises:
        UserError: they are not there.
    """
    return Detected(source) if TASKS[source.cfg.task].kind == "detector" else Classified(source)


def pictures_of(source: Source, paths: Sequence[Path]) -> Any:
    """Return other pictures, prepared as those that the source is checked on."""
    pictures = copy.copy(source.pictures)
    pictures.paths = paths
    return pictures


def calibration_pictures(source: Source, folder: Path | None, count: int) -> list[Path]:
    """Return pictures to calibrate on: training pictures of all classes, or those of a folder; never validation's.

    Args:
        source: what is quantised.
        folder: in place of the config's training pictures.
        count: at most so many.

    Raises:
        UserError: there are none, one of them is a validation picture, or one cannot be read.
    """
    chosen = find_pictures(folder) if folder else _training_pictures(source)
    chosen = chosen[:count]
    validation = {path.resolve() for path in label_pictures(source).paths}
    if taken := next((path for path in chosen if path.resolve() in validation), None):
        raise UserError(
            f"{taken} is a validation picture, on which files are judged: give --calibration another folder."
        )
    for path in track_progress(chosen, "decoding pictures to calibrate on"):
        read_image(str(path))
    return chosen


def _training_pictures(source: Source) -> list[Path]:
    """Return the training pictures, so that each part of the list has all classes."""
    dataset = source.cfg.train_dataloader.dataset
    if TASKS[source.cfg.task].kind == "classifier":
        split = read_split(dataset.name, Path(dataset.data_root), dataset.split, allow_partial=True)
        paths, labels = [Path(path) for path, _ in split.samples], [{label} for _, label in split.samples]
    else:
        truth = read_annotations(Path(dataset.data_root) / dataset.ann_file)
        folder = Path(dataset.data_root) / dataset.data_prefix.img
        paths = [folder / image["file_name"] for image in truth["images"]]
        shown: dict[int, set[int]] = {image["id"]: set() for image in truth["images"]}
        for entry in truth["annotations"]:
            shown[entry["image_id"]].add(entry["category_id"])
        labels = [shown[image["id"]] for image in truth["images"]]
    return [paths[place] for place in stratified_order([str(path) for path in paths], labels)]


def inputs_of(source: Source, paths: Iterable[Path]) -> list[Arrays]:
    """Return the inputs of pictures.

    Raises:
        UserError: one cannot be read.
    """
    samples = readable(pictures_of(source, list(paths)))
    return [
        {name: np.ascontiguousarray(value.numpy()) for name, value in source.original.inputs(sample).items()}
        for sample in samples
    ]
