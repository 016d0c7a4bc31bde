"""Reading COCO annotation files."""

import gc
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from backbones.errors import UserError

REMEDY = "Give --data-root DIR or set DATA_ROOT to where the data lie; --demo needs none."
LARGEST = 1e6  # px, of a number in a box; where it is larger or not finite the box is none
SECTIONS = ("images", "categories", "annotations")


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
