"""Variances of a difference, over pictures and seeds, against closed forms and paired resamples."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import result
from test_bootstrap import make_detections, make_truth

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.evaluation.bootstrap import match, resample
from benchmark.evaluation.spread import picture_variance, seed_variance


def test_the_variance_over_seeds_is_pooled_over_models():
    variance, freedom = seed_variance([[1.0, 3.0], [10.0, 10.0, 13.0], [5.0], []])
    assert (variance, freedom) == (pytest.approx((2 + 6) / 3), 3)
    assert seed_variance([[5.0], []]) == (0.0, 0)


def classifier(folder: Path, right: int, images: int) -> Path:
    folder.mkdir()
    (folder / "confusion.csv").write_text(f"true class,a,b\na,{right},{images - right}\nb,0,0\n")
    return folder


def test_of_a_classifier_it_is_that_of_a_share(tmp_path):
    a = [classifier(tmp_path / "a0", 80, 100), classifier(tmp_path / "a1", 80, 100)]
    b = [classifier(tmp_path / "b", 50, 100)]
    expected = 100**2 * (0.8 * 0.2 + 0.5 * 0.5) / 100
    assert picture_variance(a, b, "top1") == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("text", ["", "true class,a\na,x\n", "true class,a,b\na,1,2\n"])
def test_what_is_no_confusion_matrix_is_named(text, tmp_path):
    (tmp_path / "confusion.csv").write_text(text)
    with pytest.raises(UserError, match=r"confusion\.csv"):
        picture_variance([tmp_path], [tmp_path], "top1")


@pytest.fixture
def detectors(tmp_path, monkeypatch) -> tuple[Path, list[list[dict]], list[Path]]:
    """Annotations, and three detectors of falling quality as runs on them."""
    monkeypatch.delenv("DATA_ROOT", raising=False)
    rng = np.random.default_rng(0)
    truth = make_truth(rng, images=30, classes=3)
    for image in truth["images"]:
        image["file_name"] = f"{image['id']}.jpg"
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations/instances_val2017.json"
    path.write_text(json.dumps(truth))
    found = [make_detections(rng, truth, noise) for noise in (0.05, 0.08, 0.3)]
    config = (Path(__file__).parents[2] / "configs/ssdlite_rexnet_x1.0.py").as_posix()
    runs = []
    for number, detections in enumerate(found):
        runs.append(tmp_path / f"run{number}")
        runs[-1].mkdir()
        (runs[-1] / "detections.json").write_text(json.dumps(detections))
        (runs[-1] / "config.py").write_text(f"_base_ = {config!r}\ndata_root = {str(tmp_path)!r}\n")
        data = {"name": "coco", "split": "val2017", "images": 30, "annotations_sha256": file_sha256(path)}
        result(data=data).write(runs[-1])
    return path, found, runs


def test_of_detectors_it_is_that_of_paired_resamples(detectors):
    path, found, runs = detectors
    drawn = [resample(match(path, detections), 800, seed=7)["AP"] for detections in found]
    expected = np.var((drawn[0] + drawn[1]) / 2 - drawn[2], ddof=1)
    assert picture_variance(runs[:2], runs[2:], "box_AP") == pytest.approx(expected, rel=0.3)
    unpaired = np.var((drawn[0] + drawn[1]) / 2, ddof=1) + np.var(drawn[2], ddof=1)
    assert picture_variance(runs[:1], runs[:1], "box_AP") == 0 < unpaired
