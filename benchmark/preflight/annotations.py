"""COCO annotation files: read, and checked.

A file of COCO's size has 860 000 annotations: a check looks at a whole column at once, and at single entries only where
the column has a fault.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.data.annotations import LARGEST, SECTIONS
from benchmark.preflight.masks import OUTSIDE, TOLERANCE, find_mask_faults
from benchmark.preflight.rows import Outcome, Row, found_row, printable

_LARGEST_SIDE = 65_535  # px, of a picture: as in a JPEG
_LARGEST_ID = 2**53  # where whole numbers stop being exact in the tables of COCO's evaluation
Entry = dict[str, Any]


# The form of an entry: each function takes a column and tells whether all its values fit.


def _whole(low: int, high: int) -> Callable[[Sequence[Any]], bool]:
    def fits(values: Sequence[Any]) -> bool:
        return set(map(type, values)) <= {int} and (not values or (low <= min(values) and max(values) <= high))

    return fits


def _text(values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {str} and all(values)


def _numbers(values: Sequence[Any]) -> bool:
    if not set(map(type, values)) <= {int, float}:
        return False
    try:
        np.fromiter(values, np.float64, len(values))
    except OverflowError:  # a whole number of hundreds of digits
        return False
    return True


def _boxes(values: Sequence[Any]) -> bool:
    return (
        set(map(type, values)) <= {list}
        and set(map(len, values)) <= {4}
        and _numbers(list(chain.from_iterable(values)))
    )


def _flags(values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {int, bool} and set(values) <= {0, 1}


@dataclass(frozen=True)
class _Field:
    expected: str
    fits: Callable[[Sequence[Any]], bool]


_ID = _Field("a whole number", _whole(-_LARGEST_ID, _LARGEST_ID))
_NAME = _Field("a name", _text)
_SIDE = _Field(f"a whole number of pixels from 1 to {_LARGEST_SIDE}", _whole(1, _LARGEST_SIDE))
_FIELDS: Mapping[str, Mapping[str, _Field]] = {
    "images": {"id": _ID, "file_name": _NAME, "width": _SIDE, "height": _SIDE},
    "categories": {"id": _ID, "name": _NAME},
    "annotations": {
        "id": _ID,
        "image_id": _ID,
        "category_id": _ID,
        "bbox": _Field("a list of 4 numbers", _boxes),
        "area": _Field("a number", _numbers),
        "iscrowd": _Field("0 or 1", _flags),
    },
}


def _sort_out(section: str, entries: list[Any]) -> tuple[list[Entry], list[str]]:
    """Return the entries that have the right form, and what is wrong with each of the others."""
    fields = _FIELDS[section]
    if set(map(type, entries)) <= {dict} and all(
        field.fits([entry.get(key) for entry in entries]) for key, field in fields.items()
    ):
        return entries, []
    wrong = {i: fault for i, entry in enumerate(entries) if (fault := _find_fault(entry, fields))}
    return (
        [entry for i, entry in enumerate(entries) if i not in wrong],
        [f"{section}[{i}] {fault}" for i, fault in wrong.items()],
    )


def _find_fault(entry: Any, fields: Mapping[str, _Field]) -> str:
    if type(entry) is not dict:
        return f"is {printable(entry)}, expected an object"
    for key, field in fields.items():
        if key not in entry:
            return f"has no {key}"
        if not field.fits([entry[key]]):
            return f"has {key} {printable(entry[key])}, expected {field.expected}"
    return ""


class Annotations:
    """The entries of an annotation file that have the right form; N annotations of M images.

    Attributes:
        entries: the entries, by section.
        malformed: by section what is wrong with the entries that are left out here.
        sizes: (M, 2) width and height of the images in pixels.
        image: (N) place of each annotation's image among the images, -1 where there is none.
        boxes: (N, 4) x, y, width and height in pixels.
        areas: (N) in pixels.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        form = {section: _sort_out(section, content[section]) for section in SECTIONS}
        self.entries = {section: entries for section, (entries, _) in form.items()}
        self.malformed = {section: wrong for section, (_, wrong) in form.items()}
        sizes = zip(self.column("images", "width"), self.column("images", "height"), strict=True)
        self.sizes = np.array(list(sizes), np.int64).reshape(-1, 2)
        self.boxes = np.array(self.column("annotations", "bbox"), np.float64).reshape(-1, 4)
        self.areas = np.array(self.column("annotations", "area"), np.float64)
        place = {image_id: i for i, image_id in enumerate(self.column("images", "id"))}
        self.image = np.array([place.get(i, -1) for i in self.column("annotations", "image_id")], np.int64)

    def column(self, section: str, key: str) -> list[Any]:
        """Return a field of all entries of a section."""
        return [entry.get(key) for entry in self.entries[section]]

    def describe(self, section: str, place: int) -> str:
        """Name an entry."""
        entry = self.entries[section][place]
        if section == "annotations":
            source = f" ({printable(entry['source'])})" if "source" in entry else ""
            return f"annotation {entry['id']} of image {entry['image_id']}{source}: bbox {printable(entry['bbox'])}"
        return f"{entry['id']} {printable(entry.get('file_name') or entry.get('name'))}"

    def repeated(self, section: str, key: str) -> list[int]:
        """Return the places of the entries whose value an earlier one has."""
        values = self.column(section, key)
        if len(set(values)) == len(values):
            return []
        places = dict(zip(reversed(values), reversed(range(len(values))), strict=True))  # value -> its first place
        return [i for i, value in enumerate(values) if places[value] != i]

    @property
    def without_image(self) -> np.ndarray:
        """Places of the annotations whose image is not there."""
        return np.flatnonzero(self.image < 0)

    @property
    def without_category(self) -> list[int]:
        """Places of the annotations whose category is not there."""
        known = set(self.column("categories", "id"))
        found = self.column("annotations", "category_id")
        return [i for i, category in enumerate(found) if category not in known] if set(found) - known else []

    @property
    def numbered_0(self) -> list[int]:
        """Places of the annotations with the id 0."""
        return [i for i, number in enumerate(self.column("annotations", "id")) if number == 0]

    @cached_property
    def countable(self) -> np.ndarray:
        """(N) ``is_countable`` of each."""
        return (np.abs(self.boxes) <= LARGEST).all(axis=1) & np.isfinite(self.areas)

    @cached_property
    def empty(self) -> np.ndarray:
        """(N) whether a box holds nothing: no area, a side under a pixel, or outside its image; MMDetection's rule."""
        with np.errstate(invalid="ignore", over="ignore"):
            ends = np.minimum(self.boxes[:, :2] + self.boxes[:, 2:], self._limits)
            inside = ends - np.maximum(self.boxes[:, :2], 0)
        holds_nothing = (inside <= 0).any(axis=1) | (self.boxes[:, 2:] < 1).any(axis=1) | (self.areas <= 0)
        return self.countable & (self.image >= 0) & holds_nothing

    @property
    def beyond(self) -> np.ndarray:
        """(N) whether a box that holds something passes the edges of its image by more than ``TOLERANCE``."""
        with np.errstate(invalid="ignore", over="ignore"):
            passed = np.maximum(-self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:] - self._limits)
        return self.countable & (self.image >= 0) & ~self.empty & (passed > TOLERANCE).any(axis=1)

    def mask_faults(self) -> dict[str, np.ndarray]:
        """Return the places of the annotations with a faulty mask, for each of ``masks.FAULTS``."""
        known = np.flatnonzero(self.image >= 0)
        masks = [self.entries["annotations"][i].get("segmentation") for i in known.tolist()]
        found = find_mask_faults(masks, self._limits[known])
        return {fault: known[places] for fault, places in found.items()}

    @property
    def _limits(self) -> np.ndarray:
        """(N, 2) width and height of each annotation's image in pixels; anything where there is none."""
        return np.vstack([self.sizes, [[0, 0]]])[self.image]


class _Check(NamedTuple):
    """What is looked for, where, how, and what it means to a split for training and to one for evaluation."""

    name: str
    section: str
    find: Callable[[Annotations], Sequence[int] | np.ndarray]
    training: Outcome
    evaluation: Outcome


_UNIQUE = Outcome("error", "Number them anew, each once.")
_RENAME = Outcome("error", "Give each a name of its own.")
_DANGLING = Outcome("error", "Remove them, or restore what they refer to.")
_TWICE = Outcome("warning", "Such a picture counts as often as it is listed.")
_LEFT_OUT = Outcome("warning", "They are left out of training.")
_KEPT = Outcome("warning", "They are kept as they are.")
_MASKS_NEEDED = Outcome("error", "Fix the annotations, or take a Faster R-CNN or SSDLite config: those need no masks.")
_MASKS_UNUSED = Outcome("warning", "Mask R-CNN cannot use them; other configs do not need them.")
_FORM = Outcome("error", "https://cocodataset.org/#format-data describes the form.")
_CHECKS = (
    _Check("image ids that occur again", "images", lambda a: a.repeated("images", "id"), _UNIQUE, _UNIQUE),
    _Check("files listed again", "images", lambda a: a.repeated("images", "file_name"), _TWICE, _TWICE),
    _Check("category ids that occur again", "categories", lambda a: a.repeated("categories", "id"), _UNIQUE, _UNIQUE),
    _Check("class names that occur again", "categories", lambda a: a.repeated("categories", "name"), _RENAME, _RENAME),
    _Check(
        "annotation ids that occur again", "annotations", lambda a: a.repeated("annotations", "id"), _UNIQUE, _UNIQUE
    ),
    _Check(
        "annotations numbered 0",
        "annotations",
        lambda a: a.numbered_0,
        Outcome("ok", ""),
        Outcome("warning", "A detection of it counts as wrong, in pycocotools too: number annotations from 1."),
    ),
    _Check("annotations without their image", "annotations", lambda a: a.without_image, _DANGLING, _DANGLING),
    _Check("annotations without their category", "annotations", lambda a: a.without_category, _DANGLING, _DANGLING),
    _Check(
        f"boxes that are not finite or over {LARGEST:.0f} px",
        "annotations",
        lambda a: np.flatnonzero(~a.countable),
        _LEFT_OUT,
        Outcome("error", "No AP is defined with them: fix or remove them."),
    ),
    _Check(
        "boxes of zero or negative size, under a pixel or outside their image",
        "annotations",
        lambda a: np.flatnonzero(a.empty),
        _LEFT_OUT,
        Outcome("warning", "They remain objects to be found, as in pycocotools."),
    ),
    _Check("boxes partly outside their image", "annotations", lambda a: np.flatnonzero(a.beyond), _KEPT, _KEPT),
)


def check_annotations(found: Annotations, split: str, path: Path, *, training: bool) -> Iterator[Row]:
    """Check everything but the masks, a row per check.

    Args:
        found: the content of the file.
        split: its name in the rows.
        path: the file, for messages.
        training: whether it is trained on, and not evaluated.
    """
    for section, wrong in found.malformed.items():
        yield found_row(split, f"{section} of another form than COCO's", _FORM, path, len(wrong), wrong)
    for check in _CHECKS:
        places = check.find(found)
        examples = (found.describe(check.section, int(place)) for place in places)
        outcome = check.training if training else check.evaluation
        yield found_row(split, check.name, outcome, path, len(places), examples)


def check_masks(found: Annotations, split: str, path: Path, *, needed: bool) -> Iterator[Row]:
    """Check the masks, a row per check; arguments as above, and whether anything is done with them."""
    for fault, places in found.mask_faults().items():
        outcome = _KEPT if fault == OUTSIDE else _MASKS_NEEDED if needed else _MASKS_UNUSED
        examples = (found.describe("annotations", int(place)) for place in places)
        yield found_row(split, fault, outcome, path, len(places), examples)
