"""What the readers of all layouts return, and what they found wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["detector", "classifier"]
Status = Literal["ok", "warning", "error"]
NO_SPLIT = "all"  # where the layout names no splits
DIGITS = 4  # after the point, of pixels that are products
_KEPT = 1000  # examples of a finding


@dataclass
class Finding:
    """Something about the data that a user must know.

    Attributes:
        split: where; ``all`` for the whole folder.
        check: what was looked for, as a plural noun.
        status: an error stops a run, a warning says how the run handles it.
        advice: what becomes of it, or what to do.
        count: how many were found.
        examples: the first of them.
    """

    split: str
    check: str
    status: Status
    advice: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


class Findings:
    """Findings as they are collected: one per split and kind, however often it occurs."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, split: str, check: str, status: Status, advice: str, examples: Iterable[str]) -> None:
        """Count occurrences of a finding."""
        for example in examples:
            finding = self._found.setdefault((split, check), Finding(split, check, status, advice))
            finding.count += 1
            if finding.count <= _KEPT:
                finding.examples.append(example)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())


@dataclass
class Picture:
    """An annotated picture.

    Attributes:
        file: its path below the data set's folder.
        objects: COCO's annotations without ids, ``label`` in place of a category, and ``source``: where it is written.
        label: of a classifier's picture.
        id: its number in the source, where it has one.
        size: width and height in pixels as annotated, where the source says them.
    """

    file: str
    objects: list[dict[str, Any]] = field(default_factory=list)
    label: int | None = None
    id: int | None = None
    size: tuple[int, int] | None = None

    @property
    def labels(self) -> set[int]:
        """The classes that it shows."""
        return {self.label} if self.label is not None else {entry["label"] for entry in self.objects}


@dataclass
class Source:
    """A data set as it was read.

    Attributes:
        kind: what its annotations are for.
        classes: names, in the order of the labels.
        splits: pictures by ``train``, ``val``, ``test``, or ``all`` where the layout names no splits.
        category_ids: of the classes in the source, where it numbers them.
    """

    kind: Kind
    classes: list[str]
    splits: dict[str, list[Picture]]
    category_ids: list[int] | None = None


def box_object(label: int, box: tuple[float, float, float, float], source: str) -> dict[str, Any]:
    """Return an object of COCO's form; ``box`` is x, y, width and height in pixels."""
    x, y, width, height = (round(value, DIGITS) for value in box)
    return {"label": label, "bbox": [x, y, width, height], "area": width * height, "iscrowd": 0, "source": source}


def polygon_object(label: int, points: list[float], source: str) -> dict[str, Any]:
    """Return an object of COCO's form from a polygon, x and y in turn in pixels."""
    points = [round(value, DIGITS) for value in points]
    x, y = points[::2], points[1::2]
    box = [min(x), min(y), max(x) - min(x), max(y) - min(y)]
    return {
        "label": label,
        "bbox": box,
        "area": polygon_area(points),
        "iscrowd": 0,
        "segmentation": [points],
        "source": source,
    }


def polygon_area(points: list[float]) -> float:
    """Return the area of a polygon in pixels (the shoelace formula), x and y in turn."""
    x, y = points[::2], points[1::2]
    turned = zip(x, y, x[1:] + x[:1], y[1:] + y[:1], strict=True)
    return abs(sum(a * d - c * b for a, b, c, d in turned)) / 2
