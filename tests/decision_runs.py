"""Runs to decide between, made without training: pictures, what was found on them, and results that say so."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from backbones.tensors import file_sha256
from benchmark.evaluation.bootstrap import average_precision, match
from benchmark.records.latency import Latency, LatencyFile, Ratio
from benchmark.records.result import Result

PARAMS = 4_000_000


def make_annotations(path: Path, images: int = 60, classes: int = 3, seed: int = 0) -> Path:
    """Write COCO annotations: pictures of 200x200 pixels with one to four objects."""
    rng, annotations = np.random.default_rng(seed), []
    for image in range(1, images + 1):
        for _ in range(rng.integers(1, 5)):
            x, y, side = *rng.uniform(0, 120, 2).tolist(), float(rng.uniform(20, 70))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(1, classes + 1)),
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                }
            )
    pictures = [{"id": n, "file_name": f"{n}.jpg", "width": 200, "height": 200} for n in range(1, images + 1)]
    names = [{"id": n, "name": f"class{n}"} for n in range(1, classes + 1)]
    path.write_text(json.dumps({"images": pictures, "annotations": annotations, "categories": names}))
    return path


def make_detector_run(folder: Path, annotations: Path, *, quality: float, seed: int = 0, **changes) -> Path:
    """Write a run whose detector finds about that share of the objects, and some that are none."""
    rng, detections = np.random.default_rng([seed, int(1000 * quality)]), []
    luck = np.random.default_rng(7)  # which objects are hard is a matter of the pictures
    truth = json.loads(annotations.read_text())
    for entry in truth["annotations"]:
        x, y, width, height = entry["bbox"]
        if 0.7 * luck.uniform() + 0.3 * rng.uniform() < quality:
            shift = rng.normal(0, 0.06) * width
            box = [x + shift, y, width, height]
        else:
            box = [float(rng.uniform(0, 150)), float(rng.uniform(0, 150)), 30.0, 30.0]
        detections.append(
            {
                "image_id": entry["image_id"],
                "category_id": entry["category_id"],
                "bbox": box,
                "score": float(rng.uniform(0.3, 1.0)),
            }
        )
    folder.mkdir(parents=True)
    (folder / "detections.json").write_text(json.dumps(detections))
    data = {
        "name": "shapes",
        "split": "val",
        "images": len(truth["images"]),
        "annotations_sha256": file_sha256(annotations),
    }
    ap = average_precision(match(annotations, detections))["AP"]
    return _save(folder, task="ssdlite", data=data, metrics={"box_AP": ap}, seed=seed, **changes)


def make_classifier_run(
    folder: Path, hits: Sequence[bool], *, seed: int = 0, classes: int = 2, answers: bool = True, **changes
) -> Path:
    """Write a classifier's run with these answers right; the classes of the pictures take turns."""
    folder.mkdir(parents=True)
    labels = [place % classes for place in range(len(hits))]
    given = [label if hit else (label + 1) % classes for label, hit in zip(labels, hits, strict=True)]
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (labels, given), 1)
    with (folder / "confusion.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["true class", *(f"class{n}" for n in range(classes))])
        writer.writerows([f"class{n}", *row] for n, row in enumerate(counts.tolist()))
    if answers:
        rows = [f"{place},{label},{answer}" for place, (label, answer) in enumerate(zip(labels, given, strict=True))]
        (folder / "answers.csv").write_text("\n".join(["image,true class,answer", *rows]) + "\n")
    data = {"name": "my_parts", "split": "val", "images": len(hits), "annotations_sha256": "3" * 64}
    metrics = {"top1": 100.0 * float(np.mean(hits))}
    return _save(folder, task="finegrained", data=data, metrics=metrics, seed=seed, **changes)


def make_times(path: Path, milliseconds: Mapping[str, float], template: str = "ssdlite", **changes) -> Path:
    """Write times of backbones, measured together; quartiles of the ratios lie 2% off."""
    first = next(iter(milliseconds.values()))
    records = [
        Latency(
            model=f"{template}_shapes_{backbone}", timed="network" if template == "ssdlite" else "classifier",
            input=(1, 3, 320, 320), device="CPU", threads=1, precision="fp32", memory_format="channels_last",
            compiled=False, norms_folded=None, norms_left=None, warm_up=10, stable=True, runs=50, median_ms=time,
            p95_ms=1.2 * time, images_per_second=1000 / time, peak_memory=None, joules_per_image=None,
            ratio=Ratio(median=time / first, low=0.98 * time / first, high=1.02 * time / first) if number else None,
            **changes,
        )
        for number, (backbone, time) in enumerate(milliseconds.items())
    ]  # fmt: skip
    LatencyFile(latencies=records).write(path)
    return path


def _save(
    folder: Path, *, task: str, data: dict, metrics: dict, seed: int | None, backbone: str = "rexnet_x1.0",
    params: int = PARAMS, training: dict | None = None, **changes,
) -> Path:  # fmt: skip
    content = {
        "task": task,
        "backbone": backbone,
        "config": {"name": f"{task}_shapes_{backbone}", "sha256": "0" * 64},
        "data": data,
        "metrics": metrics,
        "cost": {"params": params, "macs": 100 * params, "input": (1, 3, 320, 320)},
        "training": {
            "iterations": 100, "batch_size": 8, "learning_rate": 0.1, "precision": "fp32", "pretrained": None,
            "seed": seed, "world_size": 1, "hours": 0.5, "images_per_second": 40.0, "peak_memory": 10**9,
            **(training or {}),
        },
        "provenance": {
            "git_commit": "abc", "git_dirty": False, "versions": {}, "python": "3.11", "device": "CPU",
            "precision": "fp32", "world_size": 1, "date": "2026-01-01T00:00:00+00:00",
        },
        **changes,
    }  # fmt: skip
    Result.model_validate(content).write(folder)
    return folder
