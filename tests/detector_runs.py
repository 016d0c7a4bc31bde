"""Runs of detectors that nobody trained: their detections are made from the annotations, with errors of all kinds."""

import json
from pathlib import Path

import numpy as np
from helpers import REPOSITORY, result
from hotcoco import COCO
from pycocotools import mask as mask_codec

from backbones.tensors import file_sha256
from benchmark.data.annotations import read_annotations
from benchmark.evaluation.coco_ap import coco_ap
from benchmark.evaluation.detections import Detection
from benchmark.records.figures import IOU_TYPES


def make_detections(annotations: Path, seed: int, *, masks: bool = False, noise: float = 0.12) -> list[Detection]:
    """Detections that lie off, carry wrong names, come twice, are of nothing, or are absent."""
    content, rng = read_annotations(annotations), np.random.default_rng(seed)
    truth, sizes = COCO(content), {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    numbers = [category["id"] for category in content["categories"]]
    found: list[Detection] = []
    for each in content["annotations"]:
        for again in range(int(rng.choice([0, 1, 1, 1, 2]))):
            x, y, w, h = each["bbox"]
            dx, dy, dw, dh = rng.normal(0, noise * (1 + again), 4)
            box = [x + dx * w, y + dy * h, max(w * np.exp(dw), 2), max(h * np.exp(dh), 2)]
            named = each["category_id"] if rng.random() < 0.8 else int(rng.choice(numbers))
            # A different number each: of equal scores no referee says which goes first.
            detection = {
                "image_id": each["image_id"],
                "category_id": named,
                "score": float(rng.beta(4, 2)),
                "bbox": box,
            }
            if masks:
                shifted = np.roll(truth.ann_to_mask(each), (round(dy * h), round(dx * w)), axis=(0, 1))
                code = mask_codec.encode(np.asfortranarray(shifted))
                detection["segmentation"] = {"size": code["size"], "counts": code["counts"].decode()}
            found.append(detection)
    for number, (width, height) in sizes.items():
        side = rng.uniform(0.1, 0.4, 2) * (width, height)
        box = [*(rng.random(2) * ((width, height) - side)).tolist(), *side.tolist()]
        detection = {
            "image_id": number,
            "category_id": int(rng.choice(numbers)),
            "score": float(rng.beta(2, 4)),
            "bbox": box,
        }
        if masks:
            blank = np.zeros((height, width), np.uint8, order="F")
            left, top, wide, high = (round(value) for value in box)
            blank[top : top + high, left : left + wide] = 1
            code = mask_codec.encode(blank)
            detection["segmentation"] = {"size": code["size"], "counts": code["counts"].decode()}
        found.append(detection)
    return found


def make_run(folder: Path, root: Path, detections: list[Detection], *, masks: bool = False) -> Path:
    """Write a run on the validation split of a data set in COCO's layout."""
    annotations = root / "annotations/instances_val2017.json"
    folder.mkdir(parents=True)
    config = (REPOSITORY / "configs" / ("mask_rcnn" if masks else "ssdlite")).with_suffix(".py").as_posix()
    (folder / "config.py").write_text(
        f"_base_ = {config!r}\ndata_root = {str(root)!r}\nmodel = dict(backbone=dict(name='resnet50'))\n"
    )
    (folder / "detections.json").write_text(json.dumps(detections))
    metrics: dict[str, float | None] = {}
    for group in ("box", "mask") if masks else ("box",):
        figures, _ = coco_ap(annotations, detections, IOU_TYPES[group])
        metrics |= {f"{group}_{name}": value for name, value in figures.items()}
    images = len(read_annotations(annotations)["images"])
    data = {"name": "coco", "split": "val2017", "images": images, "annotations_sha256": file_sha256(annotations)}
    result(task="mask_rcnn" if masks else "ssdlite", data=data, metrics=metrics).write(folder)
    return folder
