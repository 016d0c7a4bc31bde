"""Average precision: equal to pycocotools on the same detections, and defined where it has no answer."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import pycocotools_ap
from pycocotools import mask as mask_codec

from backbones.errors import UserError
from benchmark.evaluation.coco_ap import STATS, CocoAP, coco_ap


def noisy_detections(annotations: Path, seed: int = 0, masks: bool = False) -> list[dict]:
    """Jittered copies of the truth, crowds included, with some wrong classes and some boxes from nowhere."""
    rng = np.random.default_rng(seed)
    truth = json.loads(annotations.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    detections = []
    for annotation in truth["annotations"]:
        for _ in range(rng.integers(0, 4)):
            x, y, w, h = annotation["bbox"]
            shift = rng.normal(0, 0.15, 4) * [w, h, w, h]
            box = [x + shift[0], y + shift[1], max(w + shift[2], 1.0), max(h + shift[3], 1.0)]
            category = annotation["category_id"] if rng.random() < 0.8 else int(rng.choice(categories))
            found = {"image_id": annotation["image_id"], "category_id": category, "bbox": box, "score": rng.random()}
            if masks:
                found["segmentation"] = _box_mask(box, *sizes[annotation["image_id"]])
            detections.append(found)
    return detections


def _box_mask(box: list[float], height: int, width: int) -> dict:
    mask = np.zeros((height, width), np.uint8, order="F")
    x, y, w, h = (round(max(value, 0)) for value in box)
    mask[y : y + h, x : x + round(0.7 * w)] = 1  # not all of the box: sizes of masks and of boxes must not be confused
    code = mask_codec.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("source", ["generated", "real"])
def test_equal_to_pycocotools(source, iou_type, request):
    root = request.getfixturevalue("demo_data" if source == "generated" else "coco_mini")
    annotations = root / "annotations/instances_val2017.json"
    crowds = [a for a in json.loads(annotations.read_text())["annotations"] if a["iscrowd"]]
    assert crowds or source == "generated"
    detections = noisy_detections(annotations, masks=iou_type == "segm")
    figures, classes = coco_ap(annotations, detections, iou_type)
    assert all("area" not in detection for detection in detections)  # the caller's own are left as they are
    stats, precision = pycocotools_ap(annotations, detections, iou_type)
    assert 0 < figures["AP"] < 95
    for name, place in STATS.items():
        expected = None if stats[place] < 0 else pytest.approx(100 * stats[place], abs=1e-6)
        assert figures[name] == expected, name
    names = [category["name"] for category in json.loads(annotations.read_text())["categories"]]
    for k, name in enumerate(names):
        valid = precision[:, :, k][precision[:, :, k] > -1]
        assert classes[name] == (pytest.approx(100 * valid.mean(), abs=1e-6) if valid.size else None)


def write_truth(path: Path, annotations: list[dict], images: int = 1) -> Path:
    content = {
        "images": [{"id": i + 1, "width": 400, "height": 400, "file_name": f"{i}.jpg"} for i in range(images)],
        "annotations": [
            {"id": i + 1, "image_id": 1, "iscrowd": 0, "area": a["bbox"][2] * a["bbox"][3], **a}
            for i, a in enumerate(annotations)
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    path.write_text(json.dumps(content))
    return path


def test_no_detections_score_zero_where_there_is_something_to_find(tmp_path):
    truth = write_truth(tmp_path / "t.json", [{"category_id": 7, "bbox": [10, 10, 20, 20]}])
    figures, classes = coco_ap(truth, [])
    assert figures == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "APs": 0.0, "APm": None, "APl": None}
    assert classes == {"cat": 0.0, "dog": None}


def test_no_objects_have_no_figure(tmp_path):
    truth = write_truth(tmp_path / "t.json", [])
    detection = {"image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5], "score": 0.9}
    assert set(coco_ap(truth, [detection])[0].values()) == {None}
    assert set(coco_ap(truth, [])[1].values()) == {None}


def record(image_id: int) -> dict:
    return {"image_id": image_id, "boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, int)}


@pytest.mark.parametrize("seen", [[], [1, 1], [1, 2]], ids=["missing", "twice", "foreign"])
def test_every_image_counts_once(tmp_path, seen):
    truth = write_truth(tmp_path / "t.json", [{"category_id": 7, "bbox": [10, 10, 20, 20]}])
    metric = CocoAP(str(truth))
    metric.dataset_meta = {"classes": ("cat", "dog")}
    with pytest.raises(UserError, match="figures would be wrong"):
        metric.compute_metrics([record(i) for i in seen])


def test_labels_become_the_files_category_ids(tmp_path):
    truth = write_truth(tmp_path / "t.json", [{"category_id": 9, "bbox": [10, 20, 30, 40]}])
    metric = CocoAP(str(truth))
    metric.dataset_meta = {"classes": ("cat", "dog")}
    boxes = np.array([[10.0, 20.0, 40.0, 60.0]])
    figures = metric.compute_metrics([{**record(1), "boxes": boxes, "scores": np.ones(1), "labels": np.array([1])}])
    assert metric.detections == [{"image_id": 1, "category_id": 9, "bbox": [10.0, 20.0, 30.0, 40.0], "score": 1.0}]
    assert figures["box_AP"] == pytest.approx(100.0)


IMAGES = 8
CLASSES = {"classes": ("cat", "dog")}


def random_records(seed: int) -> tuple[list[dict], list[dict]]:
    """Objects and predictions: cats on images 1 to 4, nothing on 5 to 8, no dog anywhere, no prediction on 4 and 8.

    Scores repeat, within an image and between images.
    """
    rng = np.random.default_rng(seed)
    objects, records = [], []
    for image_id in range(1, IMAGES + 1):
        boxes = rng.uniform(0, 150, (6, 2)) @ np.eye(2, 4) + np.append([0, 0], rng.uniform(20, 200, 2))
        if image_id <= 4:
            objects += [{"image_id": image_id, "category_id": 7, "bbox": box} for box in boxes.tolist()]
        found = boxes[rng.integers(0, 6, 0 if image_id % 4 == 0 else 5)] + rng.normal(0, 8, 4)
        corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:].clip(1)], axis=1)
        scores, labels = rng.integers(1, 4, len(found)) / 4, rng.integers(0, 2, len(found))
        records.append({"image_id": image_id, "boxes": corners, "scores": scores, "labels": labels})
    return objects, records


def evaluate_records(truth: Path, records: list[dict]) -> tuple[dict[str, float | None], CocoAP]:
    metric = CocoAP(str(truth))
    metric.dataset_meta = CLASSES
    return metric.compute_metrics(records), metric


@pytest.mark.parametrize("seed", range(5))
def test_absent_objects_classes_and_detections_count_as_in_pycocotools(seed, tmp_path):
    objects, records = random_records(seed)
    truth = write_truth(tmp_path / "t.json", objects, IMAGES)
    figures, metric = evaluate_records(truth, records)
    stats, _ = pycocotools_ap(truth, metric.detections, "bbox")
    assert 0 < figures["box_AP50"] < 100
    for name, place in STATS.items():
        expected = None if stats[place] < 0 else pytest.approx(100 * stats[place], abs=1e-6)
        assert figures[f"box_{name}"] == expected
    assert metric.per_class["box"]["dog"] is None


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_images_makes_no_difference(seed, tmp_path):
    objects, records = random_records(seed)
    truth = write_truth(tmp_path / "t.json", objects, IMAGES)
    figures, _ = evaluate_records(truth, records)
    shuffled = [records[i] for i in np.random.default_rng(seed).permutation(IMAGES)]
    assert evaluate_records(truth, shuffled)[0] == figures


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["boxes", "scores"])
def test_detections_that_are_not_finite_are_counted_apart(field, value, tmp_path):
    objects, records = random_records(0)
    truth = write_truth(tmp_path / "t.json", objects, IMAGES)
    figures, metric = evaluate_records(truth, records)
    for record in records[:3]:
        broken = {name: np.concatenate([record[name], record[name][:2]]) for name in ("boxes", "scores", "labels")}
        broken[field][-2:] = value
        record.update(broken)
    again, broken_metric = evaluate_records(truth, records)
    assert again == figures and broken_metric.detections == metric.detections
    assert (metric.not_finite, broken_metric.not_finite) == (0, 6)


def test_only_detections_that_are_not_finite_are_none(tmp_path):
    objects, records = random_records(0)
    for record in records:
        record["scores"] = np.full_like(record["scores"], np.nan)
    figures, _ = evaluate_records(write_truth(tmp_path / "t.json", objects, IMAGES), records)
    assert figures["box_AP"] == 0.0 and figures["box_APs"] is None


def hostile_case(seed: int, masks: bool) -> tuple[dict, list[dict]]:
    """Objects and detections of all that is odd: ties, crowds, empty and tiny boxes, more than 100 detections an image.

    Category ids have gaps, some categories no objects, some images neither; areas are those of the file, not of the
    boxes; boxes reach out of their image.
    """
    rng = np.random.default_rng(seed)
    images = [{"id": int(i), "width": 120, "height": 90, "file_name": f"{i}.jpg"} for i in rng.permutation(9) + 3]
    categories = [{"id": i, "name": str(i)} for i in (3, 90, 4, 17)]

    def boxes(count: int) -> np.ndarray:
        corner = rng.integers(-2, 25, (count, 2)) * 4.0
        return np.concatenate([corner, rng.integers(0, 12, (count, 2)) * 4.0], axis=1)

    def shape(box: np.ndarray) -> dict:
        if not masks:
            return {}
        x, y, w, h = box.clip(0).astype(int)
        mask = np.zeros((90, 120), np.uint8, order="F")
        mask[y : y + h, x : x + max(w - 2, 0)] = 1
        code = mask_codec.encode(mask)
        return {"segmentation": {"size": code["size"], "counts": code["counts"].decode()}}

    objects, detections = [], []
    for image in images[:7]:
        for box in boxes(rng.integers(0, 9)):
            crowd, category = int(rng.random() < 0.2), int(rng.choice([3, 90]))
            area = float(rng.choice([box[2] * box[3], 32**2, 96**2, 5.0]))
            entry = {"image_id": image["id"], "category_id": category, "bbox": box.tolist(), "iscrowd": crowd}
            objects.append({**entry, "area": area, "id": len(objects) + 1, **shape(box)})
    for image in images[2:]:
        near = [o["bbox"] for o in objects if o["image_id"] == image["id"]] or [[0.0, 0.0, 8.0, 8.0]]
        count = int(rng.choice([0, 4, 40, 160]))
        jitter = rng.integers(-1, 2, (count, 4)) * 4.0
        for box in np.concatenate([boxes(count), np.array(near)[rng.integers(0, len(near), count)] + jitter]):
            box[2:] = box[2:].clip(0)
            category, score = int(rng.choice([3, 90, 4])), float(rng.integers(1, 6)) / 5
            detections.append(
                {"image_id": image["id"], "category_id": category, "bbox": box.tolist(), "score": score, **shape(box)}
            )
    return {"images": images, "annotations": objects, "categories": categories}, detections


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(8))
def test_hostile_cases_are_pycocotools_to_the_last_bit(seed, iou_type, tmp_path):
    content, detections = hostile_case(seed, masks=iou_type == "segm")
    truth = tmp_path / "t.json"
    truth.write_text(json.dumps(content))
    figures, classes = coco_ap(truth, detections, iou_type)
    stats, precision = pycocotools_ap(truth, detections, iou_type)
    assert {name: None if stats[place] < 0 else 100 * stats[place] for name, place in STATS.items()} == figures
    for k, category in enumerate(sorted(content["categories"], key=lambda each: each["id"])):
        valid = precision[:, :, k][precision[:, :, k] > -1]
        assert classes[category["name"]] == (100 * valid.mean() if valid.size else None)


def test_an_object_with_id_0_can_be_found(tmp_path):
    """pycocotools takes a match with it for none."""
    box = [10, 10, 20, 20]
    truth = write_truth(tmp_path / "t.json", [{"category_id": 7, "bbox": box, "id": 0}])
    found = [{"image_id": 1, "category_id": 7, "bbox": box, "score": 0.5}]
    assert coco_ap(truth, found)[0]["AP"] == pytest.approx(100.0)


@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_detections_of_another_data_set_are_refused(tmp_path, key):
    truth = write_truth(tmp_path / "t.json", [{"category_id": 7, "bbox": [10, 10, 20, 20]}])
    detection = {"image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5], "score": 0.9}
    with pytest.raises(UserError, match=rf"1 values of {key} .* \(first: 55\)"):
        coco_ap(truth, [{**detection, key: 55}])


def test_ids_that_no_float_holds_are_told_apart(tmp_path):
    first = 2**53  # the next one is equal to it as a float
    content = {
        "images": [{"id": first + i, "width": 100, "height": 100} for i in range(2)],
        "categories": [{"id": 1, "name": "shape"}],
        "annotations": [
            {"id": 1, "image_id": first + 1, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0}
        ],
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    found = {"image_id": first + 1, "category_id": 1, "score": 0.5, "bbox": [0.0, 0.0, 50.0, 50.0]}
    assert coco_ap(path, [found])[0]["AP"] == pytest.approx(100)
