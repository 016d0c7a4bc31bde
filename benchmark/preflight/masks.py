"""What is wrong with the masks of an annotation file."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

TOLERANCE = 1.0  # px that a box or a polygon may lie outside its image without a word
_CHUNK = 20_000  # annotations whose polygons are looked at together
_MOST_BITS = 60  # of one run length
# What can be wrong, as it is named in a row; a mask has one fault at most.
MISSING, MALFORMED, OTHER_SIZE, FAR, OUTSIDE = FAULTS = (
    "annotations without a mask",
    "masks that are no polygons from 3 points and no run lengths",
    "masks of another size than their image",
    "masks that reach far out of their image",  # by more than its longer side
    "masks partly outside their image",  # by more than TOLERANCE
)
Faults = Iterator[tuple[str, int]]  # what is wrong, and its place among the annotations


def find_mask_faults(segmentations: Sequence[Any], sizes: np.ndarray) -> dict[str, list[int]]:
    """Look at every mask and return the places of the faulty ones for each of ``FAULTS``, in order.

    Args:
        segmentations: of each annotation polygons (lists of x, y in pixels), run lengths, or anything else.
        sizes: (N, 2) width and height of each annotation's image in pixels.
    """
    found: dict[str, list[int]] = {fault: [] for fault in FAULTS}
    polygons = []
    for i, mask in enumerate(segmentations):
        if not mask:
            found[MISSING].append(i)
        elif type(mask) is list:
            polygons.append(i)
        elif fault := _run_length_fault(mask, *sizes[i].tolist()):
            found[fault].append(i)
    for begin in range(0, len(polygons), _CHUNK):
        for fault, i in _polygon_faults(segmentations, polygons[begin : begin + _CHUNK], sizes):
            found[fault].append(i)
    return {fault: sorted(places) for fault, places in found.items()}


def _polygon_faults(segmentations: Sequence[Any], places: Sequence[int], sizes: np.ndarray) -> Faults:
    coordinates = _coordinates([segmentations[i] for i in places])
    if coordinates is None:
        fit = [i for i in places if _coordinates([segmentations[i]]) is not None]
        yield from ((MALFORMED, i) for i in set(places) - set(fit))
        places, coordinates = fit, _coordinates([segmentations[i] for i in fit])
    if not places or coordinates is None:
        return
    polygons = list(chain.from_iterable(segmentations[i] for i in places))
    counts = np.fromiter(map(len, polygons), np.int64, len(polygons)) // 2  # points of each polygon
    owners = np.repeat(places, [len(segmentations[i]) for i in places])
    points = coordinates.reshape(-1, 2)
    by_point = np.maximum(-points, points - np.repeat(sizes[owners], counts, axis=0)).max(axis=1)
    by_polygon = np.maximum.reduceat(by_point, np.cumsum(counts) - counts)
    beyond = np.zeros(len(segmentations))  # px; a coordinate that is not a number makes it so
    with np.errstate(invalid="ignore"):
        np.maximum.at(beyond, owners, by_polygon)
    for i in np.asarray(places)[~(beyond[places] <= TOLERANCE)].tolist():
        if np.isnan(beyond[i]):
            yield MALFORMED, i
        else:
            yield (FAR if beyond[i] > sizes[i].max() else OUTSIDE), i


def _coordinates(masks: Sequence[list[Any]]) -> np.ndarray | None:
    """Return all coordinates in a row; None unless all masks are lists of lists of an even number, from 6, of them."""
    polygons = list(chain.from_iterable(masks))
    if not set(map(type, polygons)) <= {list} or any(n < 6 or n % 2 for n in set(map(len, polygons))):
        return None
    if not set(map(type, chain.from_iterable(polygons))) <= {int, float}:
        return None
    try:
        return np.fromiter(chain.from_iterable(polygons), np.float64)
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _run_length_fault(mask: Any, width: int, height: int) -> str | None:
    """Tell what is wrong with run lengths: pycocotools would read or write outside its memory with some."""
    if not isinstance(mask, dict) or not _are_whole(mask.get("size")):
        return MALFORMED
    if mask["size"] != [height, width]:
        return OTHER_SIZE
    counts = mask.get("counts")
    if isinstance(counts, str):
        counts = decode_counts(counts)
    elif not _are_whole(counts):
        return MALFORMED
    return None if counts and min(counts) >= 0 and sum(counts) == height * width else MALFORMED


def _are_whole(values: Any) -> bool:
    return isinstance(values, list) and set(map(type, values)) <= {int}


def decode_counts(text: str) -> list[int]:
    """Decode COCO's compressed run lengths: groups of 5 bits, and from the fourth on differences to the last but one.

    Returns:
        Nothing where the text is not in that code. Source: ``rleFrString`` of pycocotools.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > _MOST_BITS:
            return []
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts if shift == 0 else []
