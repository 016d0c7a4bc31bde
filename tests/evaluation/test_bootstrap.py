import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import binom

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.evaluation.bootstrap import (
    FIGURES,
    Category,
    Curve,
    Matches,
    average_precision,
    bootstrap,
    match,
    paired_difference,
    resample,
)
from benchmark.evaluation.coco_ap import coco_ap
from benchmark.evaluation.compare import compare_runs, comparison_rows
from benchmark.records.result import Result

ROOT = Path(__file__).parents[2]
SIZE = 640
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def rectangle(box: list[float]) -> dict:
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8, order="F")
    x, y, width, height = (round(value) for value in box)
    mask[y : y + height, x : x + width] = 1
    code = mask_codec.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


def make_truth(rng: np.random.Generator, images: int, classes: int, objects: float = 6) -> dict:
    """Random boxes of all sizes; some are crowds, one class is on few images, and object ids begin with 0."""
    annotations = []
    for image in range(images):
        for _ in range(rng.poisson(objects)):
            side = np.exp(rng.normal(4, 0.9, 2)).clip(8, 400)
            box = [*(rng.random(2) * (SIZE - side)).tolist(), *side.tolist()]
            category = classes if rng.random() < 0.03 else int(rng.integers(1, classes))
            crowd = int(rng.random() < 0.08)
            annotation = {"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}
            annotations.append({"id": len(annotations), **annotation, "area": 0.8 * box[2] * box[3]})
    return {
        "images": [{"id": image, "width": SIZE, "height": SIZE} for image in range(images)],
        "categories": [{"id": category, "name": f"class {category}"} for category in range(1, classes + 1)],
        "annotations": annotations,
    }


def make_detections(
    rng: np.random.Generator, truth: dict, noise: float = 0.08, false_positives: int = 15
) -> list[dict]:
    classes = len(truth["categories"])
    detections = []
    for annotation in truth["annotations"]:
        x, y, width, height = annotation["bbox"]
        for _ in range(rng.integers(0, 4)):
            dx, dy, dw, dh = rng.normal(0, noise, 4)
            box = [x + dx * width, y + dy * height, width * np.exp(dw), height * np.exp(dh)]
            detections.append((annotation["image_id"], annotation["category_id"], box, rng.beta(4, 2)))
    for image in truth["images"]:
        for _ in range(rng.poisson(false_positives)):
            side = np.exp(rng.normal(4, 0.9, 2)).clip(8, 400)
            box = [*(rng.random(2) * (SIZE - side)), *side]
            detections.append((image["id"], int(rng.integers(1, classes + 1)), box, rng.beta(2, 4)))
    return [
        {
            "image_id": image,
            "category_id": category,
            "bbox": [max(0.0, float(box[0])), max(0.0, float(box[1])), float(box[2]), float(box[3])],
            "score": float(score),
        }
        for image, category, box, score in detections
    ]


def with_masks(truth: dict, detections: list[dict]) -> tuple[dict, list[dict]]:
    annotations = [{**one, "segmentation": rectangle(one["bbox"])} for one in truth["annotations"]]
    return {**truth, "annotations": annotations}, [
        {**one, "segmentation": rectangle(one["bbox"])} for one in detections
    ]


def reference(truth: dict, detections: list[dict], iou_type: str = "bbox") -> dict[str, float]:
    """Return pycocotools' own figures; it needs ids from 1, and takes a mask's area only without a box beside it."""
    annotations = [{**one, "id": number} for number, one in enumerate(truth["annotations"], start=1)]
    dropped = "bbox" if iou_type == "segm" else "segmentation"
    with contextlib.redirect_stdout(None):
        coco = COCO()
        coco.dataset = {**truth, "annotations": annotations}
        coco.createIndex()
        results = coco.loadRes([{k: v for k, v in one.items() if k != dropped} for one in detections])
        evaluation = COCOeval(coco, results, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: 100 * value for name, value in zip(FIGURES, evaluation.stats[:6], strict=True)}


def repeated(truth: dict, detections: list[dict], counts: np.ndarray) -> tuple[dict, list[dict]]:
    """Return a data set in which every image truly occurs as often as ``counts`` says."""
    copies = [
        (image["id"], copy) for image, count in zip(truth["images"], counts, strict=True) for copy in range(count)
    ]
    ids = {copy: number for number, copy in enumerate(copies, start=1)}

    def spread(records):
        return [{**one, "image_id": new} for (old, _), new in ids.items() for one in records if one["image_id"] == old]

    images = [{"id": new, "width": SIZE, "height": SIZE} for new in ids.values()]
    return {**truth, "images": images, "annotations": spread(truth["annotations"])}, spread(detections)


def write(folder: Path, truth: dict) -> Path:
    path = folder / "instances_val2017.json"
    path.write_text(json.dumps(truth))
    return path


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    rng = np.random.default_rng(0)
    truth = make_truth(rng, images=60, classes=5)
    return write(tmp_path_factory.mktemp("data"), truth), truth, make_detections(rng, truth)


@pytest.fixture(scope="module")
def matches(problem):
    path, _, detections = problem
    return match(path, detections)


def test_ap_is_pycocotools(problem, matches):
    _, truth, detections = problem
    assert any(one["iscrowd"] for one in truth["annotations"])
    expected = reference(truth, detections)
    assert all(value > 1 for value in expected.values())
    assert average_precision(matches) == pytest.approx(expected, abs=1e-6)


def test_mask_ap_is_pycocotools(tmp_path):
    rng = np.random.default_rng(1)
    truth = make_truth(rng, images=6, classes=3)
    truth, detections = with_masks(truth, make_detections(rng, truth, false_positives=3))
    found = average_precision(match(write(tmp_path, truth), detections, "segm"))
    assert found == pytest.approx(reference(truth, detections, "segm"), abs=1e-6)


def test_at_most_100_detections_an_image_and_class_count(tmp_path):
    rng = np.random.default_rng(2)
    truth = make_truth(rng, images=3, classes=2, objects=20)
    detections = make_detections(rng, truth, false_positives=400)
    found = average_precision(match(write(tmp_path, truth), detections))
    assert found == pytest.approx(reference(truth, detections), abs=1e-6)


def test_ties_are_ordered_as_pycocotools_orders_them(tmp_path):
    rng = np.random.default_rng(3)
    truth = make_truth(rng, images=20, classes=3)
    detections = [{**one, "score": round(one["score"], 1)} for one in make_detections(rng, truth)]
    found = average_precision(match(write(tmp_path, truth), detections))
    assert found == pytest.approx(reference(truth, detections), abs=1e-6)


def test_weights_are_repeated_images(problem, matches):
    _, truth, detections = problem
    counts = np.random.default_rng(4).multinomial(60, np.full(60, 1 / 60))
    expected = reference(*repeated(truth, detections, counts))
    assert average_precision(matches, counts) == pytest.approx(expected, abs=1e-6)


def test_no_detections_is_zero_and_no_objects_is_none(tmp_path):
    truth = make_truth(np.random.default_rng(5), images=3, classes=2, objects=20)
    path = write(tmp_path, truth)
    assert average_precision(match(path, [])) == dict.fromkeys(FIGURES, 0.0)
    detections = make_detections(np.random.default_rng(5), truth)
    empty = match(write(tmp_path, {**truth, "annotations": []}), detections)
    assert average_precision(empty) == dict.fromkeys(FIGURES)
    assert bootstrap(empty, 10) == dict.fromkeys(FIGURES)


def test_images_that_were_left_out_are_as_if_they_were_not_there(problem, tmp_path):
    path, truth, detections = problem
    gone = {image["id"] for image in truth["images"][::7]}
    kept = [found for found in detections if found["image_id"] not in gone]
    fewer = {
        **truth,
        "images": [image for image in truth["images"] if image["id"] not in gone],
        "annotations": [entry for entry in truth["annotations"] if entry["image_id"] not in gone],
    }
    expected = match(write(tmp_path, fewer), kept)
    found = match(path, kept, left_out=gone)
    assert found.image_ids == expected.image_ids
    assert bootstrap(found, 20) == bootstrap(expected, 20)
    assert coco_ap(path, kept, left_out=gone) == coco_ap(write(tmp_path, fewer), kept)


def test_detections_of_another_data_set_are_refused(problem):
    path, _, detections = problem
    with pytest.raises(UserError, match="image_id in the detections are not in"):
        match(path, [{**detections[0], "image_id": 12345}])


def test_seed_decides_the_draws(matches):
    first, again, other = (resample(matches, 40, seed)["AP"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_resamples_are_refused(matches):
    with pytest.raises(UserError, match="resamples from 1, found 0"):
        bootstrap(matches, 0)


def test_interval_is_the_reflected_percentiles(matches):
    samples, figures = resample(matches, 200, seed=3), average_precision(matches)
    low, high = np.percentile(samples["AP50"], [2.5, 97.5])
    expected = (2 * figures["AP50"] - high, 2 * figures["AP50"] - low)
    assert bootstrap(matches, 200, seed=3)["AP50"] == pytest.approx(expected)


def test_run_against_itself_differs_by_exactly_nothing(matches):
    for difference in paired_difference(matches, matches, 50).values():
        assert (difference.difference, difference.interval) == (0.0, (0.0, 0.0))
        assert (difference.probability, difference.decision) == (0.5, "not decided")


def test_clearly_better_run_is_found_either_way_round(problem, matches):
    path, truth, _ = problem
    sharper = match(path, make_detections(np.random.default_rng(6), truth, noise=0.02))
    ahead, behind = (paired_difference(*pair, 100)["AP"] for pair in ((sharper, matches), (matches, sharper)))
    assert ahead.decision == "A is better"
    assert behind.decision == "B is better"
    assert ahead.interval == pytest.approx([-limit for limit in behind.interval[::-1]])
    assert ahead.probability == 1.0


def test_runs_on_other_images_are_refused(problem, matches, tmp_path):
    path = write(tmp_path, make_truth(np.random.default_rng(7), images=3, classes=5))
    with pytest.raises(UserError, match="different images"):
        paired_difference(matches, match(path, []))


def simulate(rng: np.random.Generator, images: int) -> Matches:
    """Draw images whose difficulty varies, with their objects and detections already matched."""
    difficulty = rng.normal(size=images)
    categories = []
    for rate in (2.0, 1.0):
        objects = np.repeat(np.arange(images), rng.poisson(rate, images))
        seen = rng.random(len(objects)) < 1 / (1 + np.exp(-1.5 - 0.8 * difficulty[objects]))
        false = np.repeat(np.arange(images), rng.poisson(rate, images))
        detected = np.concatenate([objects[seen], false])
        scores = np.concatenate([rng.beta(4, 2, seen.sum()), rng.beta(2, 4, len(false))])
        ranked = np.argsort(-scores)
        hits = np.flatnonzero(ranked < seen.sum())
        categories.append(Category(objects, (Curve(detected[ranked], hits),) * 10))
    nothing = Category(np.array([], dtype=int), categories[0].curves[:10])
    return Matches(
        tuple(range(images)), {"all": tuple(categories), **dict.fromkeys(("small", "medium", "large"), (nothing,))}
    )


@pytest.mark.parametrize("trials", [60, pytest.param(200, marks=pytest.mark.long)])
def test_coverage_is_near_95_percent(trials):
    rng = np.random.default_rng(8)
    truth = np.mean([average_precision(simulate(rng, 20000))["AP"] for _ in range(3)])
    intervals = [bootstrap(simulate(rng, 200), 200, seed)["AP"] for seed in range(trials)]
    covered = sum(low <= truth <= high for low, high in intervals)
    assert binom.ppf(0.002, trials, 0.95) <= covered <= binom.ppf(0.998, trials, 0.95)
    assert np.mean([high - low for low, high in intervals]) < 15  # an interval of everything would cover too


@pytest.fixture
def runs(tmp_path, problem):
    """Return two run folders on one data set, and its annotations."""
    path, truth, detections = problem
    folders = []
    for name, found in (("a", make_detections(np.random.default_rng(6), truth, noise=0.02)), ("b", detections)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "detections.json").write_text(json.dumps(found))
        metrics = {f"box_{figure}": value for figure, value in average_precision(match(path, found)).items()}
        result = Result.model_validate(
            {
                "task": "ssdlite",
                "backbone": "rexnet_x1.0",
                "config": {"name": "ssdlite_rexnet_x1.0", "sha256": "0"},
                "data": {"name": "coco", "split": "val2017", "images": 60, "annotations_sha256": file_sha256(path)},
                "metrics": metrics,
                "cost": {"params": 1, "macs": 1, "input": (1, 3, 320, 320)},
                "training": None,
                "provenance": {
                    "git_commit": None,
                    "git_dirty": None,
                    "versions": {},
                    "python": "3.11",
                    "device": "CPU",
                    "precision": "fp32",
                    "world_size": 1,
                    "date": "2026-01-01T00:00:00+00:00",
                },
            }
        )
        result.write(folder)
        folders.append(folder)
    return *folders, path


def change_result(folder: Path, section: str, **changes: object) -> None:
    path = folder / "result.json"
    record = json.loads(path.read_text())
    record[section] |= changes
    path.write_text(json.dumps(record))


def test_compared_runs(runs):
    a, b, path = runs
    differences = compare_runs(a, b / "result.json", annotations=path, resamples=50)
    assert list(differences) == [f"box_{name}" for name in FIGURES]
    assert differences["box_AP"].decision == "A is better"
    row = comparison_rows(differences)[0]
    assert (row["figure"], row["the data say"]) == ("box_AP", "A is better")


def test_annotations_are_found_through_the_runs_config(runs, tmp_path, monkeypatch):
    a, b, path = runs
    monkeypatch.delenv("DATA_ROOT", raising=False)
    (tmp_path / "annotations").mkdir()
    shutil.copy(path, tmp_path / "annotations")
    config = (ROOT / "configs" / "ssdlite_rexnet_x1.0.py").as_posix()
    (a / "config.py").write_text(f"_base_ = {config!r}\ndata_root = {os.fspath(tmp_path)!r}\n")
    assert compare_runs(a, b, resamples=10)["box_AP"].decision == "A is better"


def test_comparison_refuses_what_does_not_belong_together(runs, tmp_path):
    a, b, path = runs
    other = tmp_path / "other.json"
    other.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match="SHA-256 differs"):
        compare_runs(a, b, annotations=other)
    with pytest.raises(UserError, match="give --annotations"):
        compare_runs(a, b)
    shutil.copy(a / "detections.json", b)
    with pytest.raises(UserError, match="does not belong to the result"):
        compare_runs(a, b, annotations=path, resamples=5)
    change_result(b, "data", unreadable=["1.jpg"])
    with pytest.raises(UserError, match=r"different pictures: .*a without none; .*b without 1\.jpg"):
        compare_runs(a, b, annotations=path, resamples=5)
    change_result(b, "data", unreadable=[])
    (b / "detections.json").unlink()
    with pytest.raises(UserError, match="Detections not found"):
        compare_runs(a, b, annotations=path)
    with pytest.raises(UserError, match="Result not found"):
        compare_runs(a, tmp_path / "c", annotations=path)
    change_result(b, "data", annotations_sha256="1")
    with pytest.raises(UserError, match="not on the same data"):
        compare_runs(a, b, annotations=path)


def test_tool_says_what_the_interval_covers(runs):
    a, b, path = runs
    command = [sys.executable, ROOT / "tools" / "compare.py", a, b, "--annotations", path, "--resamples", "100"]
    tool = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    assert tool.returncode == 0, tool.stderr
    assert "A is better" in tool.stdout
    assert "not of training seeds" in tool.stdout
