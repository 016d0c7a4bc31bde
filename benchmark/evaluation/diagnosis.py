"""Why a detector fails: its AP by class and object size, its errors by kind, what it confuses, its worst pictures.

hotcoco counts all of it. The kinds of errors, and what AP at IoU 0.5 each costs, are those of TIDE (Bolya et al., TIDE:
A General Toolbox for Identifying Object Detection Errors, ECCV 2020).
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval

from backbones.errors import UserError
from benchmark.data.annotations import check_ids, leave_out, read_annotations
from benchmark.evaluation.compare import check_recount, find_annotations, left_out, read_detections, read_run
from benchmark.evaluation.detections import as_results
from benchmark.files.run_folder import DETECTIONS
from benchmark.records.figures import IOU_TYPES, IouType
from benchmark.records.runs import Run

# TIDE's kinds of errors, and what each means.
ERRORS: Mapping[str, str] = {
    "Cls": "found, but called another class",
    "Loc": "right class, but the box or mask lies off (IoU 0.1 to 0.5)",
    "Both": "another class, and it lies off",
    "Dupe": "an object found once more",
    "Bkg": "found where no object is",
    "Miss": "an object that nothing found",
}
# Its two sums: what AP would gain without any false detection, and with every object found.
SUMS: Mapping[str, str] = {"FP": "all false detections", "FN": "all objects not found"}
SIZES: Mapping[str, str] = {
    "small": "below 32x32 pixels",
    "medium": "to 96x96 pixels",
    "large": "above",
}
IOU = 0.5  # of what counts as found, but in AP
_CURVES = {0.5: 0, 0.75: 5}  # IoU threshold -> its place among COCO's ten


@dataclass(frozen=True)
class WorstPicture:
    """A picture with many errors among the detections that score enough to be shown.

    Attributes:
        file_name: relative to the data set's folder of pictures.
        found: number of objects found.
        false: number of false detections.
        missed: number of objects not found.
        objects: the annotations, each with ``status``: ``found``, ``missed`` or ``ignored``.
        detections: in COCO's results format, each with ``status``: ``found``, ``false`` or ``ignored``.
    """

    image_id: int
    file_name: str
    found: int
    false: int
    missed: int
    objects: tuple[dict[str, Any], ...] = field(repr=False)
    detections: tuple[dict[str, Any], ...] = field(repr=False)


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a detector's boxes or masks; figures in percent, None where there is no object to find.

    Attributes:
        group: ``box`` or ``mask``.
        score: below it detections are left out of ``confusion`` and ``worst``.
        figures: ``AP``, ``AP50``, ``AP75``.
        sizes: by size of the objects: ``AP``, and how many ``objects`` there are.
        classes: by name: ``AP``, ``AP50``, AP by size, and the number of ``objects``.
        errors: by TIDE's kind, and of its sums: ``cost`` in AP at IoU 0.5, and their ``count`` (None for a sum).
        curves: by IoU threshold the precision at recalls 0, 0.01 .. 1, mean over the classes.
        confusion: hotcoco's matrix: a row per class of an object, a column per class of the detection, background last.
        worst: the pictures with most errors, worst first.
        evaluation: what the figures come from.
    """

    run: Run
    group: str
    score: float
    figures: dict[str, float | None]
    sizes: dict[str, dict[str, float | int | None]]
    classes: dict[str, dict[str, float | int | None]]
    errors: dict[str, dict[str, float | int | None]]
    curves: dict[float, list[float | None]]
    confusion: dict[str, Any]
    worst: tuple[WorstPicture, ...]
    evaluation: COCOeval

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        names = [*self.confusion["cat_names"], "background"]
        return {
            "run": str(self.run.folder),
            "backbone": self.run.result.backbone,
            "of": self.group,
            "score": self.score,
            "images": self.run.result.data.images,
            "figures": self.figures,
            "sizes": self.sizes,
            "classes": self.classes,
            "errors": self.errors,
            "precision_at_recall": {f"{iou:g}": values for iou, values in self.curves.items()},
            "confusion": {"classes": names, "objects_by_detections": self.confusion["matrix"].tolist()},
            "worst_pictures": [
                {key: getattr(picture, key) for key in ("image_id", "file_name", "found", "false", "missed")}
                for picture in self.worst
            ],
        }


def diagnose_run(path: Path, *, annotations: Path | None = None, score: float = 0.3, worst: int = 8) -> list[Diagnosis]:
    """Diagnose a detector's run: its boxes, and its masks where it has any.

    Args:
        path: folder of the run, or its result.json; ``detections.json`` lies beside it.
        annotations: the COCO annotation file; by default what the run's config names.
        score: lowest score of a detection that would be shown to anybody.
        worst: number of pictures to return.

    Raises:
        UserError: no detector, no detections, or files that do not belong together.
    """
    run = read_run(path)
    groups = [group for group in IOU_TYPES if f"{group}_AP" in run.result.metrics]
    if not groups:
        raise UserError(f"{path} is a run of {run.result.task}: only detectors are diagnosed.")
    annotations = find_annotations(run, annotations)
    content = read_annotations(annotations)
    content = leave_out(content, left_out(run, content["images"]))
    detections = read_detections(run)
    try:
        check_ids(annotations, content, detections)
    except UserError as error:
        raise UserError(f"{run.folder / DETECTIONS}: {error}") from error
    return [_diagnose(run, group, content, detections, score, worst) for group in groups]


def _diagnose(
    run: Run, group: str, content: dict[str, Any], detections: Sequence[Any], score: float, worst: int
) -> Diagnosis:
    truth, iou_type = COCO(content), IOU_TYPES[group]
    evaluation = COCOeval(truth, truth.load_res(as_results(detections, iou_type)), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    with contextlib.redirect_stdout(None):
        evaluation.summarize()  # without which hotcoco draws no curve
    assert evaluation.eval is not None  # it was accumulated
    # (10 IoU thresholds, 101 recalls, classes, 4 area ranges); -1 where there is no object
    precision = evaluation.eval["precision"][..., -1]
    figures = {
        "AP": _mean(precision[:, :, :, 0]),
        "AP50": _mean(precision[0, :, :, 0]),
        "AP75": _mean(precision[5, :, :, 0]),
    }
    check_recount(run, f"{group}_AP", figures["AP"])
    counts = _count_objects(content, evaluation)
    return Diagnosis(
        run=run,
        group=group,
        score=score,
        figures=figures,
        sizes={
            size: {"AP": _mean(precision[:, :, :, place]), "objects": sum(counts[size].values())}
            for place, size in enumerate(evaluation.params.area_rng_lbl)
        },
        classes=_by_class(content, evaluation, precision, counts),
        errors=_errors(evaluation),
        curves={
            iou: [_mean(precision[place, recall, :, 0]) for recall in range(precision.shape[1])]
            for iou, place in _CURVES.items()
        },
        confusion=evaluation.confusion_matrix(IOU, min_score=score),
        worst=_worst_pictures(content, [each for each in detections if each["score"] >= score], iou_type, worst),
        evaluation=evaluation,
    )


def _mean(precision: np.ndarray) -> float | None:
    valid = precision[precision > -1]
    return 100 * float(valid.mean()) if valid.size else None


def _count_objects(content: Mapping[str, Any], evaluation: COCOeval) -> dict[str, Counter[int]]:
    """Return the number of objects to find by size and category id."""
    objects = [each for each in content["annotations"] if not each["iscrowd"]]
    params = evaluation.params
    return {
        size: Counter(each["category_id"] for each in objects if low <= each["area"] <= high)
        for size, (low, high) in zip(params.area_rng_lbl, params.area_rng, strict=True)
    }


def _by_class(
    content: Mapping[str, Any], evaluation: COCOeval, precision: np.ndarray, counts: Mapping[str, Counter[int]]
) -> dict[str, dict[str, float | int | None]]:
    names = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[str, dict[str, float | int | None]] = {}
    for k, number in enumerate(evaluation.params.cat_ids):
        by_size = {
            f"AP {size}": _mean(precision[:, :, k, place])
            for place, size in enumerate(evaluation.params.area_rng_lbl)
            if size in SIZES
        }
        found[names[number]] = {
            "AP": _mean(precision[:, :, k, 0]),
            "AP50": _mean(precision[0, :, k, 0]),
            **by_size,
            "objects": counts["all"][number],
        }
    return found


def _errors(evaluation: COCOeval) -> dict[str, dict[str, float | int | None]]:
    found = evaluation.tide_errors(pos_thr=IOU)
    return {
        kind: {"cost": 100 * found["delta_ap"][kind], "count": found["counts"].get(kind)} for kind in (*ERRORS, *SUMS)
    }


def _worst_pictures(
    content: Mapping[str, Any], detections: Sequence[Any], iou_type: IouType, count: int
) -> tuple[WorstPicture, ...]:
    truth = COCO(dict(content))
    evaluation = COCOeval(truth, truth.load_res(as_results(detections, iou_type)), iou_type)
    evaluation.evaluate()
    known = evaluation.image_diagnostics(IOU, score_thr=1.0)
    summaries = known["img_summary"]
    order = sorted(
        summaries, key=lambda image: (-summaries[image]["fp"] - summaries[image]["fn"], summaries[image]["f1"], image)
    )
    chosen = [image for image in order if summaries[image]["fp"] + summaries[image]["fn"]][:count]
    names = {image["id"]: image["file_name"] for image in content["images"]}
    # hotcoco numbers detections from 1, as they come.
    numbered = (
        {**each, "status": _DETECTED.get(known["dt_status"].get(i), _IGNORED)} for i, each in enumerate(detections, 1)
    )
    annotated = (
        {**each, "status": _ANNOTATED.get(known["gt_status"].get(each["id"]), _IGNORED)}
        for each in content["annotations"]
    )
    theirs, ours = _by_image(numbered, chosen), _by_image(annotated, chosen)
    return tuple(
        WorstPicture(
            image_id=image,
            file_name=names[image],
            found=summaries[image]["tp"],
            false=summaries[image]["fp"],
            missed=summaries[image]["fn"],
            objects=tuple(ours.get(image, ())),
            detections=tuple(theirs.get(image, ())),
        )
        for image in chosen
    )


# hotcoco's words for what became of a detection and of an object; crowds, and detections of them, have none.
_DETECTED = {"tp": "found", "fp": "false"}
_ANNOTATED = {"matched": "found", "fn": "missed"}
_IGNORED = "ignored"


def _by_image(entries: Iterable[dict[str, Any]], images: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    own = sorted((each for each in entries if each["image_id"] in images), key=lambda each: each["image_id"])
    return {image: list(group) for image, group in groupby(own, key=lambda each: each["image_id"])}
