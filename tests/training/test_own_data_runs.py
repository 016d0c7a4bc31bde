"""Trainings, evaluations, predictions and comparisons on a user's own folder, by their command lines."""

import json
from pathlib import Path

import pytest
from helpers import call_tool
from hostile_world import fingerprint
from make_layouts import make_layout

from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("data_cache")]
QUICK = ("--cfg-options", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0")
SMALL = ("--backbone", "mobilenet_v3_small", "--batch-size", "2")
SSDLITE = (CONFIGS / "ssdlite.py", *SMALL)


@pytest.fixture(scope="module")
def shapes(demo_data, tmp_path_factory) -> Path:
    return make_layout("yolo", demo_data, tmp_path_factory.mktemp("own") / "my shapes")


@pytest.fixture(scope="module")
def runs(shapes, tmp_path_factory) -> Path:
    """Two trainings, on all pictures and on a part."""
    root = tmp_path_factory.mktemp("runs")
    before = fingerprint(shapes)
    for name, part in {"all": (), "part": ("--images", "8")}.items():
        place = ("--work-dir", root / name, "--pretrained", "none", "--steps", "1")
        outcome = call_tool("train.py", *SSDLITE, "--dataset", shapes, *place, *part, *QUICK)
        assert outcome.returncode == 0, outcome.stderr
    assert fingerprint(shapes) == before
    return root


def read(run: Path) -> dict:
    return json.loads((run / "result.json").read_text())


def test_a_result_says_on_what_it_stands(runs):
    found, part = read(runs / "all"), read(runs / "part")
    assert found["config"]["name"] == "ssdlite_my-shapes_mobilenet_v3_small"
    assert found["data"]["name"] == "my shapes" and found["data"]["images"] == 6 and not found["data"]["partial"]
    assert found["data"]["own"] == {"layout": "YOLO", "validation": "val", "seed": None}
    assert found["training"]["subset_of"] is None
    trained = {key: part["training"][key] for key in ("images", "subset_of", "subset_seed")}
    assert trained == {"images": 8, "subset_of": found["training"]["images"], "subset_seed": 0}
    assert found["config"]["sha256"] != part["config"]["sha256"]


def test_a_part_of_a_fraction_is_within_a_larger_one(shapes):
    from helpers import build_dataset

    chosen = []
    for fraction in (0.25, 0.5):
        cfg = load_config(
            CONFIGS / "ssdlite.py", backbone="mobilenet_v3_small", dataset=str(shapes), subset={"fraction": fraction}
        )
        dataset = build_dataset(cfg.train_dataloader.dataset, pipeline=[])
        chosen.append({dataset.get_data_info(place)["img_path"] for place in range(len(dataset))})
        assert len(chosen[-1]) == round(fraction * dataset.subset_of)
    assert chosen[0] < chosen[1]


def test_a_part_larger_than_the_whole_is_refused(shapes, tmp_path):
    arguments = ("--work-dir", tmp_path / "run", "--pretrained", "none", "--images", "500")
    outcome = call_tool("train.py", *SSDLITE, "--dataset", shapes, *arguments)
    assert outcome.returncode == 1 and "pictures to train on" in outcome.stderr and not (tmp_path / "run").exists()


def test_a_checkpoint_is_evaluated_on_the_same_data(runs, shapes):
    outcome = call_tool(
        "eval_detection.py", *SSDLITE, runs / "all/iter_1.pth", "--dataset", shapes, "--per-class", *QUICK
    )
    assert outcome.returncode == 0, outcome.stderr
    found = read(runs / "all/eval_iter_1")
    assert found["metrics"] == read(runs / "all")["metrics"] and found["data"] == read(runs / "all")["data"]
    assert set(found["per_class"]["box"]) == {"ellipse", "rectangle", "triangle", "star", "cross", "crescent"}


def test_a_runs_own_config_needs_no_folder_and_takes_no_other(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    cfg = load_config(runs / "all/config.py")
    assert cfg.name == "ssdlite_my-shapes_mobilenet_v3_small"
    assert Path(cfg.val_evaluator.ann_file).is_file()


def test_predictions_have_the_names_of_the_data(runs, shapes, tmp_path):
    arguments = (runs / "all/iter_1.pth", shapes / "images/val", "--out", tmp_path / "out", "--dataset", shapes)
    outcome = call_tool("predict.py", CONFIGS / "ssdlite.py", *SMALL, *arguments)
    assert outcome.returncode == 0, outcome.stderr
    names = [category["name"] for category in json.loads((tmp_path / "out/images.json").read_text())["categories"]]
    assert names == ["ellipse", "rectangle", "triangle", "star", "cross", "crescent"]


def test_a_comparison_says_what_was_trained_on(runs, shapes):
    arguments = (runs / "all", runs / "part", "--resamples", "100")
    outcome = call_tool("compare.py", *arguments, "--dataset", shapes)
    assert outcome.returncode == 0, outcome.stderr
    images = read(runs / "all")["training"]["images"]
    assert f"A was trained on all {images} images, B on 8 of {images} images." in outcome.stdout
    assert json.loads(call_tool("compare.py", *arguments, "--json").stdout)["notes"]


def test_a_run_is_diagnosed_with_and_without_its_folder(runs, shapes, tmp_path):
    outcomes = [
        call_tool("diagnose.py", runs / "all", *more) for more in ((), ("--dataset", shapes, "--out", tmp_path / "out"))
    ]
    assert [outcome.returncode for outcome in outcomes] == [0, 0], outcomes[1].stderr
    assert outcomes[1].stdout.startswith(outcomes[0].stdout.rstrip()) and "ellipse" in outcomes[0].stdout
    assert "Not drawn" not in (tmp_path / "out/diagnosis.html").read_text()


def test_the_leaderboard_marks_a_part(runs):
    outcome = call_tool("summarize.py", runs)
    assert "my shapes val" in outcome.stdout and "trained on 8 of" in outcome.stdout


def test_a_training_of_own_data_resumes_and_refuses_other_data(shapes, demo_data, tmp_path):
    other = make_layout("yolo", demo_data, tmp_path / "my shapes")
    place = ("--work-dir", tmp_path / "run", "--pretrained", "none", "--steps", "1", *QUICK)
    assert call_tool("train.py", *SSDLITE, "--dataset", other, *place).returncode == 0
    label = next(path for path in sorted((other / "labels/train").iterdir()) if path.read_text())
    label.write_text("")
    outcome = call_tool("train.py", *SSDLITE, "--dataset", other, *place, "--resume")
    assert outcome.returncode == 1 and "training data" in outcome.stderr


@pytest.mark.parametrize("layout", ["folders_flat", "csv_classes"])
def test_a_classifier_is_trained_on_folders_and_tables(layout, demo_data, tmp_path):
    folder = make_layout(layout, demo_data, tmp_path / "crops")
    arguments = ("--dataset", folder, "--work-dir", tmp_path / "run", "--pretrained", "none", "--steps", "1")
    command = (CONFIGS / "finetune.py", *SMALL, *arguments, "--fraction", "0.5", *QUICK)
    outcome = call_tool("train.py", *command)
    assert outcome.returncode == 0, outcome.stderr
    found = read(tmp_path / "run")
    assert found["config"]["name"] == "finetune_crops_mobilenet_v3_small"
    assert found["data"]["own"]["validation"] == "drawn" and found["data"]["own"]["seed"] == 0
    assert found["training"]["images"] == pytest.approx(found["training"]["subset_of"] / 2, abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--demo",), "leave one out"),
        (("--data-root", "data"), "leave --data-root out"),
        (("--fraction", "2"), "--fraction"),
    ],
    ids=["demo", "data root", "fraction"],
)
def test_options_that_contradict_a_folder_are_refused(arguments, words, shapes, tmp_path):
    outcome = call_tool("train.py", *SSDLITE, "--dataset", shapes, "--work-dir", tmp_path / "run", *arguments)
    assert outcome.returncode != 0 and words in outcome.stderr and not (tmp_path / "run").exists()


def test_boxes_are_not_for_a_classifier(shapes, tmp_path):
    outcome = call_tool(
        "train.py", CONFIGS / "finetune.py", *SMALL, "--dataset", shapes, "--work-dir", tmp_path / "run"
    )
    assert "holds pictures with boxes (YOLO)" in outcome.stderr and not (tmp_path / "run").exists()
