"""The diagnosis of a detector: its errors against TIDE's own package, its figures against COCO's, its page."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from detector_runs import make_detections, make_run
from helpers import call_tool, result
from hostile_world import fingerprint

from benchmark.data.annotations import read_annotations
from benchmark.evaluation.coco_ap import coco_ap
from benchmark.evaluation.diagnosis import ERRORS, Diagnosis, diagnose_run
from benchmark.records.figures import IOU_TYPES

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ANNOTATIONS = "annotations/instances_val2017.json"


@pytest.fixture(scope="module")
def runs(demo_data, tmp_path_factory) -> Path:
    """A run of boxes and one of boxes and masks, on generated data with crowds."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATA_ROOT", raising=False)
        for name, masks in (("boxes", False), ("masks", True)):
            found = make_detections(demo_data / ANNOTATIONS, seed=1, masks=masks)
            make_run(root / name, demo_data, found, masks=masks)
    return root


@pytest.fixture(scope="module")
def without_crowds(demo_data, tmp_path_factory) -> Path:
    """A run of boxes and masks on the generated data without crowds, of which the packages have different ideas."""
    root = tmp_path_factory.mktemp("plain")
    shutil.copytree(demo_data, root / "data")
    path = root / "data" / ANNOTATIONS
    content = read_annotations(path)
    content["annotations"] = [each for each in content["annotations"] if not each["iscrowd"]]
    path.write_text(json.dumps(content))
    make_run(root / "run", root / "data", make_detections(path, seed=3, masks=True), masks=True)
    return root


def of(diagnoses: list[Diagnosis], group: str) -> Diagnosis:
    return next(each for each in diagnoses if each.group == group)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["box", "mask"])
def test_errors_and_their_costs_are_those_of_tides_own_package(group, without_crowds):
    tidecv = pytest.importorskip("tidecv", reason="no tidecv here (pip install -e .[dev])")
    run = without_crowds / "run"
    ours = of(diagnose_run(run), group)
    detections = json.loads((run / "detections.json").read_text())
    if group == "box":
        detections = [{key: value for key, value in each.items() if key != "segmentation"} for each in detections]
    (without_crowds / f"{group}.json").write_text(json.dumps(detections))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = tidecv.datasets.COCO(str(without_crowds / "data" / ANNOTATIONS))
        found = tidecv.datasets.COCOResult(str(without_crowds / f"{group}.json"))
        tide = tidecv.TIDE()
        theirs = tide.evaluate(truth, found, mode=tidecv.TIDE.MASK if group == "mask" else tidecv.TIDE.BOX)
    costs = next(iter(tide.get_all_errors()["main"].values()))
    counts = {kind.short_name: len(errors) for kind, errors in theirs.error_dict.items()}
    assert ours.figures["AP50"] == pytest.approx(theirs.ap)
    assert {kind: ours.errors[kind]["count"] for kind in ERRORS} == {kind: counts[kind] for kind in ERRORS}
    assert {kind: ours.errors[kind]["cost"] for kind in ERRORS} == pytest.approx({kind: costs[kind] for kind in ERRORS})
    assert sum(count > 0 for count in counts.values()) >= 5  # a case in which nearly every kind happens


@pytest.mark.parametrize("group", ["box", "mask"])
def test_figures_are_those_of_cocos_evaluation(group, runs, demo_data):
    detections = json.loads((runs / "masks/detections.json").read_text())
    figures, classes = coco_ap(demo_data / ANNOTATIONS, detections, IOU_TYPES[group])
    found = of(diagnose_run(runs / "masks"), group)
    assert found.figures == pytest.approx({name: figures[name] for name in ("AP", "AP50", "AP75")})
    assert {name: row["AP"] for name, row in found.classes.items()} == pytest.approx(classes)
    for size, name in (("small", "APs"), ("medium", "APm"), ("large", "APl"), ("all", "AP")):
        assert found.sizes[size]["AP"] == pytest.approx(figures[name])
    objects = [each for each in read_annotations(demo_data / ANNOTATIONS)["annotations"] if not each["iscrowd"]]
    assert found.sizes["all"]["objects"] == sum(row["objects"] for row in found.classes.values()) == len(objects)
    assert found.figures["AP50"] == pytest.approx(sum(found.curves[0.5]) / 101)


@pytest.fixture
def one_of_each(tmp_path, monkeypatch) -> Path:
    """A run with one error of each kind on one picture: by position from left to right, as in ``ERRORS``."""
    monkeypatch.delenv("DATA_ROOT", raising=False)
    places = {kind: 100.0 * place for place, kind in enumerate(ERRORS)}
    boxes = {kind: [left, 10.0, 50.0, 50.0] for kind, left in places.items() if kind != "Bkg"}
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 640, "height": 100}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": number, "image_id": 7, "category_id": 1, "bbox": box, "area": 2500.0, "iscrowd": 0}
            for number, box in enumerate(boxes.values(), 1)
        ],
    }
    (tmp_path / "data/annotations").mkdir(parents=True)
    (tmp_path / "data" / ANNOTATIONS).write_text(json.dumps(content))
    off = 25.0  # of 50 pixels: IoU 1/3
    shown = [
        ("Cls", 2, 0.0), ("Loc", 1, off), ("Both", 2, off), ("Dupe", 1, 0.0), ("Dupe", 1, 0.0), ("Bkg", 1, 0.0)
    ]  # fmt: skip
    detections = [
        {"image_id": 7, "category_id": named, "score": 0.9 - 0.1 * i, "bbox": [places[kind] + shift, 10.0, 50.0, 50.0]}
        for i, (kind, named, shift) in enumerate(shown)
    ]
    return make_run(tmp_path / "run", tmp_path / "data", detections)


def test_one_error_of_each_kind_is_seen_as_that(one_of_each):
    (found,) = diagnose_run(one_of_each, score=0.0)
    counts = {kind: found.errors[kind]["count"] for kind in ERRORS}
    # The object behind Both is missed as well: nothing that mends another error finds it.
    assert counts == {"Cls": 1, "Loc": 1, "Both": 1, "Dupe": 1, "Bkg": 1, "Miss": 2}
    (worst,) = found.worst
    assert (worst.found, worst.false, worst.missed) == (1, 5, 4) and worst.file_name == "a.jpg"
    assert [each["status"] for each in worst.detections] == ["false", "false", "false", "found", "false", "false"]
    assert [each["status"] for each in worst.objects] == ["missed", "missed", "missed", "found", "missed"]
    # Rows are objects, columns detections, and what meets nothing is in the last ones.
    assert found.confusion["matrix"].tolist() == [[1, 1, 3], [0, 0, 0], [3, 1, 0]]


def test_low_scores_are_neither_confused_nor_drawn_but_count_in_ap(one_of_each):
    low, high = (diagnose_run(one_of_each, score=score)[0] for score in (0.0, 0.85))
    assert low.figures == high.figures and low.errors == high.errors
    assert high.confusion["matrix"].sum() == 5 + 0 and len(high.worst[0].detections) == 1


@pytest.mark.slow
def test_the_tool_prints_tables_and_writes_a_page_and_leaves_the_runs_as_they_are(runs, tmp_path):
    before = fingerprint(runs)
    out = tmp_path / "out"
    outcome = call_tool("diagnose.py", runs / "boxes", runs / "masks/result.json", "--out", out, "--worst", "2")
    assert outcome.returncode == 0, outcome.stderr
    assert fingerprint(runs) == before
    records = json.loads((out / "diagnosis.json").read_text())
    assert [(Path(each["run"]).name, each["of"]) for each in records] == [
        ("boxes", "box"), ("masks", "box"), ("masks", "mask")
    ]  # fmt: skip
    assert all(len(each["worst_pictures"]) == 2 and len(each["precision_at_recall"]["0.5"]) == 101 for each in records)
    cost = records[0]["errors"]["Miss"]
    assert f"{cost['cost']:.1f} ({cost['count']})" in outcome.stdout and "ellipse" in outcome.stdout
    page = (out / "diagnosis.html").read_text()
    assert page.count("data:image/png") == 3 * 4 and page.count("data:image/jpeg") == 3 * 2
    assert "Not drawn" not in page and not re.search(r"(src|href)=\"(?!data:)", page)
    again = call_tool("diagnose.py", runs / "boxes", "--out", out)  # one of its own is replaced
    assert again.returncode == 0 and len(json.loads((out / "diagnosis.json").read_text())) == 1


def test_pictures_that_are_gone_are_named_on_the_page(runs, demo_data, tmp_path):
    shutil.copytree(runs / "boxes", tmp_path / "run")
    config = tmp_path / "run/config.py"
    config.write_text(config.read_text().replace(str(demo_data), str(tmp_path)))
    given = ("--annotations", demo_data / ANNOTATIONS, "--out", tmp_path / "out", "--worst", "1")
    outcome = call_tool("diagnose.py", tmp_path / "run", *given)
    assert outcome.returncode == 0, outcome.stderr
    page = (tmp_path / "out/diagnosis.html").read_text()
    assert "Not drawn" in page and page.count("data:image/png") == 4


@pytest.mark.slow
def test_detections_of_nothing_are_diagnosed(demo_data, tmp_path, monkeypatch):
    monkeypatch.delenv("DATA_ROOT", raising=False)
    run = make_run(tmp_path / "run", demo_data, [])
    outcome = call_tool("diagnose.py", run, "--out", tmp_path / "out")
    assert outcome.returncode == 0, outcome.stderr
    assert "| 0.0" in outcome.stdout


def test_what_cannot_be_diagnosed_is_refused(runs, demo_data, tmp_path):
    result(task="finegrained", metrics={"top1": 1.0}).write(tmp_path)
    changed = tmp_path / "changed"
    shutil.copytree(runs / "boxes", changed)
    (changed / "detections.json").write_text("[]")
    other = demo_data / "annotations/instances_train2017.json"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for arguments, words in (
        ((tmp_path,), "only detectors"),
        ((changed,), "does not belong"),
        ((runs / "boxes", "--annotations", other), "SHA-256"),
        ((runs / "boxes", "--worst", "3"), "--worst is for the page"),
        ((runs / "boxes", "--out", mine), "notes.txt"),
    ):
        outcome = call_tool("diagnose.py", *arguments)
        assert outcome.returncode == 1 and words in outcome.stderr, outcome.stderr
    assert fingerprint(mine).keys() == {"notes.txt"}
