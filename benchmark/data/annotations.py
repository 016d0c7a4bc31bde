"""Reading COCO annotation files."""

import gc
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from backbones.errors import UserError

REMEDY = "Give --data-root DIR or set DATA_ROOT to where the data lie, --dataset DIR for your own; --demo needs none."
LARGEST = 1e6  # px, of a number in a box; where it is larger or not finite the box is none
SECTIONS = ("images", "categories", "annotations")
_SHOWN = 3


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO annotation file.

    Raises:
        UserError: missing, unreadable, truncated, or without one of COCO's sections.
    """
    if not path.is_file():
        raise UserError(f"Annotation file not found: {path.absolute()}. {REMEDY}")
    try:
        with _no_garbage_collection():
            content = _parse(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); was its download cut off? Fetch it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    missing = [name for name in SECTIONS if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if missing:
        raise UserError(f"{path} is not a COCO annotation file: it has no list {', '.join(map(repr, missing))}.")
    return content


def leave_out(content: Mapping[str, Any], images: Collection[int]) -> dict[str, Any]:
    """Return the content of an annotation file without some images and their objects, by the images' ids."""
    kept = {
        "images": [image for image in content["images"] if image["id"] not in images],
        "annotations": [entry for entry in content["annotations"] if entry["image_id"] not in images],
    }
    return {**content, **(kept if images else {})}


def check_ids(annotations: Path, content: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> None:
    """Refuse detections on images, or of categories, that an annotation file with this content does not have.

    Raises:
        UserError: there are such.
    """
    for key, section in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in content[section]}
        foreign = sorted({detection[key] for detection in detections} - known)
        if foreign:
            raise UserError(
                f"{len(foreign)} values of {key} in the detections are not in {annotations} (first: "
                f"{', '.join(map(str, foreign[:_SHOWN]))}): they belong to another data set."
            )


def is_countable(box: Sequence[float], area: float) -> bool:
    """Tell whether box and area are finite, and small enough for single precision to hold their squares."""
    return math.isfinite(area) and all(abs(number) <= LARGEST for number in box)


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if b"NaN" not in text and b"Infinity" not in text:
            raise
        return json.loads(text)  # what Python writes for them is no JSON, but pycocotools reads it


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Millions of new containers would be searched for cycles again and again, which is two thirds of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
