"""Detections in COCO's results format, as hotcoco reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.records.figures import IouType

_FIRST_INEXACT = 2**53  # whole numbers from here on may have no float64 of their own
Detection = dict[str, Any]


def as_results(detections: Sequence[Mapping[str, Any]], iou_type: IouType) -> np.ndarray | list[Detection]:
    """Return detections, in COCO's results format, as hotcoco reads them fastest."""
    if iou_type == "segm":  # without the box: COCO's reader would take the mask's area from it
        return [{key: d[key] for key in ("image_id", "category_id", "score", "segmentation")} for d in detections]
    rows = np.empty((len(detections), 7))
    rows[:, 1:5] = np.array([d["bbox"] for d in detections]).reshape(-1, 4)
    for column, key in ((0, "image_id"), (5, "score"), (6, "category_id")):
        rows[:, column] = [d[key] for d in detections]
    if np.abs(rows[:, (0, 6)]).max(initial=0) >= _FIRST_INEXACT:
        return [{key: d[key] for key in ("image_id", "category_id", "score", "bbox")} for d in detections]
    return rows
