"""COCO's average precision, by hotcoco: pycocotools' figures to the last bit, a hundred times as fast."""

import contextlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import orjson
from hotcoco import COCO, COCOeval
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from pycocotools import mask as mask_codec
from torch import Tensor

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.data.annotations import check_ids, leave_out, read_annotations
from benchmark.data.unreadable import warn_of_unreadable
from benchmark.evaluation.detections import Detection, as_results
from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import DETECTIONS
from benchmark.records.figures import IOU_TYPES, IouType

# Our name of a figure -> its place among COCO's twelve.
STATS = {
    "AP": 0,
    "AP50": 1,
    "AP75": 2,
    "APs": 3,
    "APm": 4,
    "APl": 5,
}
PREFIXES = {iou_type: group for group, iou_type in IOU_TYPES.items()}


def coco_ap(
    annotations: Path,
    detections: Sequence[Detection],
    iou_type: IouType = "bbox",
    *,
    left_out: Collection[int] = (),
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Evaluate detections in COCO's results format.

    Args:
        annotations: a COCO annotation file.
        detections: dicts of ``image_id``, ``category_id``, ``score``, ``bbox`` (x, y, width, height in pixels) and for
            masks ``segmentation`` (run lengths).
        iou_type: ``bbox`` or ``segm``.
        left_out: ids of images that were not evaluated.

    Returns:
        AP, AP50, AP75, APs, APm, APl as in ``STATS``, and AP by class name; in percent, None where the annotations
        have no object to find.

    Raises:
        UserError: unreadable annotations, or detections of another data set.
    """
    content = leave_out(read_annotations(annotations), left_out)
    check_ids(annotations, content, detections)
    names = {category["id"]: category["name"] for category in content["categories"]}
    truth = COCO(content)
    evaluation = COCOeval(truth, truth.load_res(as_results(detections, iou_type)), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    with contextlib.redirect_stdout(None):
        evaluation.summarize()
    assert evaluation.eval is not None  # it was accumulated
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (10 thresholds, 101 recalls, classes)
    classes = {names[i]: _mean_percent(precision[..., k]) for k, i in enumerate(evaluation.params.catIds)}
    return {name: _percent(evaluation.stats[place]) for name, place in STATS.items()}, classes


def _percent(value: float) -> float | None:
    return None if value < 0 else 100.0 * float(value)  # COCO writes -1 for "no object to find"


def _mean_percent(precision: np.ndarray) -> float | None:
    valid = precision[precision > -1]
    return 100.0 * float(valid.mean()) if valid.size else None


@METRICS.register_module()
class CocoAP(BaseMetric):
    """Collect a detector's predictions and evaluate them once all processes are done.

    Args:
        iou_types: ``bbox`` and, for instance segmentation, ``segm``.
        ann_file: the annotations; filled in from the data set's config.

    Attributes:
        detections: after an evaluation, on the main process, the detections in COCO's results format.
        not_finite: how many more there were, whose score or box is not finite; they do not count.
        unreadable: names of the pictures that could not be read; neither they nor their objects count.
        left_out: their ids.
        per_class: AP by class name, for each of box and mask.
    """

    default_prefix = ""  # the figures' names are whole
    file_name = DETECTIONS  # what a run's figures were counted from, kept beside its result

    def __init__(self, ann_file: str, iou_types: Sequence[IouType] = ("bbox",)) -> None:
        super().__init__(collect_device="cpu")
        self.ann_file = Path(ann_file)
        self.iou_types = tuple(iou_types)
        self.detections: list[Detection] = []
        self.not_finite = 0
        self.unreadable: tuple[str, ...] = ()
        self.per_class: dict[str, dict[str, float | None]] = {}
        self.left_out: frozenset[int] = frozenset()

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of one batch."""
        for sample in data_samples:
            if "unreadable" in sample:
                self.results.append({"image_id": sample["img_id"], "unreadable": True})
                continue
            predicted = sample["pred_instances"]
            record = {
                "image_id": sample["img_id"],
                "boxes": predicted["bboxes"].float().cpu().numpy(),
                "scores": predicted["scores"].float().cpu().numpy(),
                "labels": predicted["labels"].cpu().numpy(),
            }
            if "segm" in self.iou_types:
                record["masks"] = _encode_masks(predicted["masks"])
            self.results.append(record)

    def compute_metrics(self, results: list[dict]) -> dict[str, float | None]:
        """Evaluate all images of the data set; the figures are named ``box_AP``, ``mask_AP50`` and so on."""
        truth = read_annotations(self.ann_file)
        names = {image["id"]: image["file_name"] for image in truth["images"]}
        self._check_every_image_once(results, set(names))
        self.left_out = frozenset(record["image_id"] for record in results if "unreadable" in record)
        self.unreadable = tuple(sorted(names[image] for image in self.left_out))
        warn_of_unreadable(self.unreadable)
        results = [record for record in results if "unreadable" not in record]
        by_name = {category["name"]: category["id"] for category in truth["categories"]}
        category_ids = [by_name[name] for name in self.dataset_meta["classes"]]
        self.detections = [detection for record in results for detection in to_coco(record, category_ids)]
        self.not_finite = sum(len(record["scores"]) for record in results) - len(self.detections)
        if self.not_finite:
            print_log(
                f"{self.not_finite} detections have a score or a box that is not finite, and do not count.",
                logger="current",
                level=logging.WARNING,
            )
        figures: dict[str, float | None] = {}
        for iou_type in self.iou_types:
            prefix = PREFIXES[iou_type]
            summary, self.per_class[prefix] = coco_ap(self.ann_file, self.detections, iou_type, left_out=self.left_out)
            figures.update({f"{prefix}_{name}": value for name, value in summary.items()})
        return figures

    @property
    def split(self) -> str:
        """Name of the evaluated split."""
        return self.ann_file.stem.removeprefix("instances_")

    @property
    def annotations_sha256(self) -> str:
        """Hash of the annotation file."""
        return file_sha256(self.ann_file)

    def intervals(self, resamples: int) -> dict[str, tuple[float, float]]:
        """Return the 95% interval of each figure."""
        from benchmark.evaluation.bootstrap import bootstrap, match

        found: dict[str, tuple[float, float]] = {}
        for iou_type in self.iou_types:
            ends = bootstrap(match(self.ann_file, self.detections, iou_type, left_out=self.left_out), resamples)
            found |= {f"{PREFIXES[iou_type]}_{name}": interval for name, interval in ends.items() if interval}
        return found

    def save(self, path: Path) -> None:
        """Write the detections in COCO's results format."""
        write_atomically(path, lambda temporary: temporary.write_bytes(orjson.dumps(self.detections)))

    @staticmethod
    def _check_every_image_once(results: list[dict], expected: set[int]) -> None:
        found = [record["image_id"] for record in results]
        if len(found) != len(set(found)) or set(found) != expected:
            raise UserError(
                f"Evaluation saw {len(found)} images ({len(set(found))} different) of {len(expected)} annotated ones; "
                "the figures would be wrong. Evaluate without a filter, each image once."
            )


def _encode_masks(masks: Tensor) -> list[dict]:
    encoded = []
    for mask in masks.cpu().numpy():  # (H, W), one at a time: a picture's hundred masks can be gigabytes
        code = mask_codec.encode(np.asfortranarray(mask, dtype=np.uint8))
        counts = cast(bytes, code["counts"])  # the stubs allow for the strings of COCO's files as well
        encoded.append({"size": code["size"], "counts": counts.decode()})
    return encoded


def to_coco(record: dict, category_ids: Sequence[int]) -> list[Detection]:
    """Return one image's detections in COCO's results format, without those that are not finite.

    Args:
        record: ``image_id``, ``boxes`` (N, 4; x1, y1, x2, y2 in pixels), ``scores`` (N,), ``labels`` (N,) and, for
            masks, ``masks`` (N run lengths).
        category_ids: the category of every label.
    """
    corners, scores = record["boxes"].astype(float), record["scores"].astype(float)  # (N, 4), (N,)
    finite = np.isfinite(corners).all(axis=1) & np.isfinite(scores)
    with np.errstate(invalid="ignore"):  # of those that are left out
        bboxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()  # (N, 4)
    labels, scores = record["labels"].tolist(), scores.tolist()
    masks = record.get("masks")
    return [
        {
            "image_id": record["image_id"],
            "category_id": category_ids[labels[i]],
            "bbox": bboxes[i],
            "score": scores[i],
            **({"segmentation": masks[i]} if masks is not None else {}),
        }
        for i in finite.nonzero()[0].tolist()
    ]
