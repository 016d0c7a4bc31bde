"""Charts of a diagnosis, by hotcoco, and its worst pictures."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from hotcoco import COCO
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from benchmark.data.decode import read_image
from benchmark.evaluation.diagnosis import IOU, Diagnosis, WorstPicture
from benchmark.evaluation.pictures import FONT

matplotlib.use("Agg")
from hotcoco import plot
from matplotlib import pyplot as plt

# Of what a picture shows, by what became of it: found, false, missed.
COLOURS: Mapping[str, str] = {"found": "#1b9e4b", "false": "#d9251d", "missed": "#f2a900"}
_IOUS = [0.5, 0.75, 0.9]
_SIDE = 720  # px, of a picture's longer side on the page
_CLASSES = 20  # of the confusion matrix; of more, those that take part in most errors
_DPI = 110


def draw_charts(each: Diagnosis) -> dict[str, bytes]:
    """Return PNGs of a diagnosis by title."""
    evaluation, per_class = each.evaluation, _per_class(each)
    most = _CLASSES if len(each.classes) > _CLASSES else None
    with _quiet():
        drawn = {
            "Precision against recall, by IoU": plot.pr_curve_iou_sweep(evaluation, iou_thrs=_IOUS),
            "What each kind of error costs in AP at IoU 0.5": plot.tide_errors(evaluation.tide_errors(pos_thr=IOU)),
            f"What objects are taken for, in shares, by detections from a score of {each.score:g} on": (
                plot.confusion_matrix(each.confusion, top_n=most)
            ),
        }
        if per_class["per_class"]:
            drawn["AP by class"] = plot.per_category_ap(per_class, top_n=_CLASSES, bottom_n=_CLASSES)
        return {title: _png(figure) for title, (figure, _) in drawn.items()}


def draw_worst(picture: WorstPicture, folder: Path, of: Diagnosis) -> bytes:
    """Return a JPEG of a picture with the objects that were missed and all detections, in ``COLOURS``.

    Args:
        picture: which one.
        folder: what its name is relative to.
        of: the diagnosis that it belongs to.

    Raises:
        UserError: it cannot be read.
    """
    truth = of.evaluation.coco_gt
    (annotated,) = truth.load_imgs([picture.image_id])
    names = {number: category["name"] for number, category in truth.cats.items()}
    size = annotated["height"], annotated["width"]
    image = Image.fromarray(read_image(str(folder / picture.file_name), "RGB", size))
    scale = min(1.0, _SIDE / max(image.size))
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    shown = [each for each in picture.objects if each["status"] == "missed"]
    shown += sorted((each for each in picture.detections if each["status"] in COLOURS), key=lambda each: each["score"])
    pixels = pil_to_tensor(image)  # (3, H, W)
    if shown:
        colours: Any = [COLOURS[each["status"]] for each in shown]
        if of.group == "mask":
            masks = np.stack([_mask(each, truth, image.size) for each in shown])
            pixels = draw_segmentation_masks(pixels, torch.from_numpy(masks), 0.5, colours)
        ends = [[x, y, x + w, y + h] for x, y, w, h in (np.multiply(each["bbox"], scale) for each in shown)]
        boxes = torch.tensor(ends).clamp(min=0)
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        pixels = draw_bounding_boxes(
            pixels,
            boxes,
            labels=[_label(each, names) for each in shown],
            colors=colours,
            width=2,
            font=FONT,
            font_size=13,
            fill_labels=True,
        )
    file = BytesIO()
    to_pil_image(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def _label(each: Mapping[str, Any], names: Mapping[int, str]) -> str:
    name = names[each["category_id"]]
    return f"{name} {100 * each['score']:.0f}%" if "score" in each else f"missed {name}"


def _mask(each: dict[str, Any], truth: COCO, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of an object or a detection, scaled to a picture's (width, height), as (H, W) of bool."""
    return np.array(Image.fromarray(truth.ann_to_mask(each) * 255).resize(size)) > 127


def _per_class(each: Diagnosis) -> dict[str, Any]:
    """Return AP by class as hotcoco draws it, as shares."""
    return {"per_class": {name: row["AP"] / 100 for name, row in each.classes.items() if row["AP"] is not None}}


def _png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    plt.close(figure)
    return file.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the terminal that a font has not the weight that hotcoco asks for."""
    logger = logging.getLogger("matplotlib.font_manager")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
