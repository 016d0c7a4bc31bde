"""The paper's tables cell by cell: verdicts, what fills a cell, and what --run measures and leaves alone."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_leaderboard import COCO, DEMO, TRAINING, save

from backbones.errors import UserError
from benchmark.measuring.latency import Settings
from benchmark.preflight import Split
from benchmark.records.latency import Latency, LatencyFile, Pair
from benchmark.reporting.leaderboard import find_runs
from benchmark.reporting.paper.tables import read_table
from benchmark.reporting.reproduce import Cell, State, Verdict, read_state, render, run, run_table, state_json, summary

pytestmark = pytest.mark.slow

SSDLITE = {"iterations": 200_000, "batch_size": 256, "pretrained": "imagenet"}
REXNET = "ReXNet x1.0"


@pytest.fixture(autouse=True)
def counts(monkeypatch):
    """Params and multiply-adds as printed, so that no model is built; 1 where nothing is."""
    from benchmark.measuring.complexity import Complexity, Part
    from benchmark.reporting.paper.counts import Comparison
    from benchmark.reporting.reproduce import state

    def compare(number: int) -> list[Comparison]:
        return [
            Comparison(row, Complexity((1, 3, 320, 320), {"all": Part(*printed(row))}), False, "yes")
            for row in read_table(number)
            if row["backbone"]
        ]

    def printed(row: dict[str, str]) -> tuple[int, int]:
        return round(float(row.get("params") or 1e-6) * 1e6), round(float(row.get("flops") or 1e-9) * 1e9)

    monkeypatch.setattr(state, "compare_complexity", compare)


def train_result(folder: Path, *, training: dict | None = None, **changes) -> Path:
    return save(folder, training={**TRAINING, **SSDLITE, **(training or {})}, **changes)


def cell(state: State, column: str, row: str = REXNET) -> Cell:
    return next(found for found in state.cells if (found.row, found.column.name) == (row, column))


def latency(backbone: str, side: int, milliseconds: float, **changes) -> Latency:
    content = {
        "model": backbone, "timed": "classifier", "input": (1, 3, side, side), "device": "CPU", "threads": 1,
        "precision": "fp32", "memory_format": "channels_last", "compiled": False, "norms_folded": None,
        "norms_left": None, "warm_up": 10, "stable": True, "runs": 50, "median_ms": milliseconds,
        "p95_ms": milliseconds, "images_per_second": 1000 / milliseconds, "ratio": None, "peak_memory": None,
        "joules_per_image": None,
    }  # fmt: skip
    return Latency.model_validate({**content, **changes})


def save_times(path: Path, *times: Latency, pairs: tuple[dict, ...] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"latencies": [time.model_dump() for time in times], "pairs": pairs}))


def pair(ratio: str, printed: str) -> dict:
    return {
        "device": "CPU",
        "batch": 1,
        "pair": "B / x",
        "top-1": "2 / 1",
        "ratio": ratio,
        "quartiles": "1 to 2",
        "in the paper": printed,
    }


@pytest.mark.parametrize(
    ("number", "rows", "cells"),
    [(1, 10, 50), ("A", 11, 88), (4, 23, 138), (5, 9, 54), (6, 10, 50), (7, 6, 30), (8, 12, 36), (9, 5, 40)],
)
def test_every_cell_of_a_table_is_listed(tmp_path, number, rows, cells):
    state = read_state(number, [tmp_path])
    assert (state.rows, len(state.cells)) == (rows, cells)
    assert summary(state).startswith(f"{rows} rows, {cells} cells: ")
    table = render(state).split("\n\n")[1]
    assert len(table.splitlines()) == 2 + cells


def test_stems_and_blocks_are_compared_as_text(tmp_path):
    state = read_state(1, [tmp_path])
    found = [cell(state, "blocks", row) for row in ("MobileNetV2", "FBNet-C", "FairDARTS-C")]
    assert [one.verdict for one in found] == [Verdict.AGREES, Verdict.DISAGREES, Verdict.NOT_IN_THE_CATALOGUE]
    assert "a block of the second stage" in render(state)
    assert state_json(state)["cells"][3]["ours"] == "32"


def test_rows_that_the_catalogue_lacks_are_shown_as_missing(tmp_path):
    state = read_state(4, [tmp_path])
    lacking = [found for found in state.cells if found.row == "FairDARTS-C"]
    assert {found.verdict for found in lacking} == {Verdict.NOT_IN_THE_CATALOGUE}
    assert {found.command for found in lacking} == {None}
    assert "98 missing (18 of them not in the catalogue)" in summary(state)
    assert cell(state, "top1").verdict == Verdict.MISSING


IMAGENET = {"name": "ImageNet", "split": "val", "images": 50_000, "annotations_sha256": "1" * 64}
RECIPE = {"iterations": 1_000_912, "batch_size": 512, "pretrained": None}
AUGMENTED = "ReXNet x1.0 (RandAug)"


def imagenet_result(folder: Path, *, weights: str | None = "timm rexnet_100 (licence mit)", **changes) -> Path:
    """An evaluation of weights from elsewhere, or a training by the recipe."""
    content = {
        "task": "imagenet",
        "config": {"name": "imagenet_rexnet_x1.0", "sha256": "0" * 64},
        "data": IMAGENET,
        "metrics": {"top1": 77.86, "top5": 93.87},
        "cost": {"params": 4_796_873, "macs": 398_000_000, "input": (1, 3, 224, 224)},
        "checkpoint": {"file": weights, "sha256": "2" * 64, "iteration": None} if weights else None,
        "training": None if weights else {**TRAINING, **RECIPE},
        **changes,
    }
    return save(folder, **content)


@pytest.mark.parametrize(("number", "row"), [(4, AUGMENTED), (5, REXNET)])
def test_an_evaluation_of_weights_fills_the_row_with_most_augmentation(tmp_path, number, row):
    imagenet_result(tmp_path / "run")
    state = read_state(number, [tmp_path])
    found = [cell(state, column, row) for column in ("top1", "top5")]
    assert [(one.ours, one.verdict) for one in found] == [(77.86, Verdict.AGREES), (93.87, Verdict.AGREES)]
    assert sum(one.ours is not None for one in state.cells if one.column.kind == "accuracy") == 2
    assert f"Weights that were not trained here: {row} of timm rexnet_100 (licence mit)." in render(state)
    assert state.skipped == ()


def test_weights_are_held_against_what_the_paper_prints(tmp_path):
    imagenet_result(tmp_path / "run", metrics={"top1": 77.4, "top5": 93.9})
    state = read_state(4, [tmp_path])
    assert [cell(state, column, AUGMENTED).verdict for column in ("top1", "top5")] == [Verdict.NEAR, Verdict.AGREES]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": IMAGENET | {"images": 248, "partial": True}}, "evaluated on a part of the split (248 images)"),
        (
            {"cost": {"params": 1, "macs": 1, "input": (1, 3, 288, 288)}},
            "evaluated at 288x288, not 224x224",
        ),
        (
            {
                "checkpoint": {"file": "iter_5.pth", "sha256": "2" * 64, "iteration": 5},
                "config": {"name": "imagenet_randaug_rexnet_x1.0", "sha256": "0" * 64},
            },
            "nothing is known of its training",
        ),
    ],
)
def test_an_evaluation_that_is_not_the_tables_is_skipped_by_name(tmp_path, changes, reason):
    imagenet_result(tmp_path / "run", **changes)
    state = read_state(5, [tmp_path])
    assert cell(state, "top1").verdict == Verdict.MISSING
    assert state.skipped == (f"{tmp_path / 'run'}: {reason}",)


def test_generated_pictures_stand_beside_no_figure_of_the_paper(tmp_path):
    imagenet_result(tmp_path / "run", data=IMAGENET | {"demo": True})
    state = read_state(4, [tmp_path])
    assert (cell(state, "top1", AUGMENTED).verdict, state.skipped) == (Verdict.MISSING, ())


def test_trainings_fill_the_rows_of_their_recipes_and_go_before_weights(tmp_path):
    imagenet_result(tmp_path / "weights")
    imagenet_result(tmp_path / "plain", weights=None, metrics={"top1": 77.2, "top5": 93.4})
    before = read_state(4, [tmp_path])
    assert [cell(before, "top1", row).ours for row in (REXNET, AUGMENTED)] == [77.2, 77.86]
    name = {"name": "imagenet_randaug_rexnet_x1.0", "sha256": "0" * 64}
    imagenet_result(tmp_path / "more", weights=None, config=name, metrics={"top1": 77.7, "top5": 93.7})
    state = read_state(4, [tmp_path])
    assert [cell(state, "top1", row).ours for row in (REXNET, AUGMENTED)] == [77.2, 77.7]
    assert state.skipped == ()
    assert "not trained here" not in render(state)


def test_a_training_from_pretrained_weights_is_not_the_recipe(tmp_path):
    training = {**TRAINING, **RECIPE, "pretrained": "imagenet"}
    run = imagenet_result(tmp_path / "run", weights=None, training=training)
    state = read_state(4, [tmp_path])
    assert state.skipped == (f"{run}: trained from pretrained weights",)


def test_accuracy_is_measured_by_known_weights_or_else_by_training(tmp_path):
    state = read_state(4, [tmp_path], Path("/data"))
    evaluation = "python tools/eval_imagenet.py configs/imagenet.py --backbone rexnet_x1.0 --pretrained imagenet"
    training = "python tools/train.py configs/{}.py --backbone {} --batch-size 512 --data-root /data"
    assert cell(state, "top1", AUGMENTED).command == f"{evaluation} --data-root /data"
    assert cell(state, "top1", REXNET).command == training.format("imagenet", "rexnet_x1.0")
    assert cell(state, "top5", "DARTS").command == training.format("imagenet", "darts")
    assert cell(state, "top1", "FairNAS-A").command == training.format("imagenet_randaug", "fairnas_a_se_half")
    assert "On 8 GPUs" in render(state)


@pytest.mark.parametrize(
    ("ap", "verdict"),
    [
        (25.8, Verdict.AGREES),
        (24.8, Verdict.AGREES),
        (24.7, Verdict.NEAR),
        (24.3, Verdict.NEAR),
        (24.2, Verdict.DISAGREES),
        (25.9, Verdict.NEAR),
        (40.0, Verdict.NEAR),  # better, however far
    ],
)
def test_ap_is_held_against_its_tolerance(tmp_path, ap, verdict):
    train_result(tmp_path / "run", ap=ap)
    state = read_state(6, [tmp_path])
    found = cell(state, "ap")
    assert (found.ours, found.tolerance, found.verdict) == (ap, 0.5, verdict)
    assert found.difference == pytest.approx(ap - 25.3)
    assert state.count(Verdict.DISAGREES) == (verdict == Verdict.DISAGREES)


def test_a_quoted_row_is_near_within_5_percent(tmp_path):
    found = cell(read_state(6, [tmp_path]), "ap", "MobileNetV1")
    assert (found.tolerance, found.near) == pytest.approx((0.5, 1.11))
    assert cell(read_state(6, [tmp_path]), "ap50", "MobileNetV1").tolerance is None  # not printed


def test_what_the_paper_leaves_blank_stands_without_a_verdict(tmp_path):
    metrics = {"box_AP": 22.0, "box_AP50": 38.0, "box_AP75": None}
    config = {"name": "ssdlite_mobilenet_v1", "sha256": "0" * 64}
    train_result(tmp_path / "run", backbone="mobilenet_v1", config=config, metrics=metrics)
    state = read_state(6, [tmp_path])
    found = [cell(state, column, "MobileNetV1") for column in ("ap", "ap50", "ap75")]
    assert [one.verdict for one in found] == [Verdict.AGREES, Verdict.NOT_PRINTED, Verdict.MISSING]
    assert "| not printed    | 38.0" in render(state)
    assert summary(state) == "10 rows, 50 cells: 22 measured, 21 agree, 0 near, 0 disagree, 28 missing"


def test_seeds_become_a_mean_and_the_newest_of_a_seed_counts(tmp_path):
    train_result(tmp_path / "old", ap=1.0, date="2025-01-01T00:00:00+00:00")
    train_result(tmp_path / "a", ap=25.0)
    train_result(tmp_path / "b", ap=26.0, training={"seed": 1})
    found = cell(read_state(6, [tmp_path]), "ap")
    assert (found.ours, found.runs) == (25.5, 2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": COCO | {"images": 79, "partial": True}}, "evaluated on a part of the split (79 images)"),
        ({"training": {"iterations": 20_000}}, "trained on 0.1 times the recipe's images"),
        ({"training": {"pretrained": None}}, "trained from random weights"),
        ({"training": {"partial": True}}, "trained on a part of the split"),
        ({"config": {"name": "mine", "sha256": "0" * 64}}, "its config is mine, not ssdlite_rexnet_x1.0"),
    ],
)
def test_a_run_that_is_not_the_tables_is_skipped_by_name(tmp_path, changes, reason):
    train_result(tmp_path / "run", **changes)
    state = read_state(6, [tmp_path])
    assert cell(state, "ap").verdict == Verdict.MISSING
    assert state.skipped == (f"{tmp_path / 'run'}: {reason}",)
    assert reason in render(state)


def test_a_run_of_unknown_training_fills_no_cell(tmp_path):
    save(tmp_path / "run")
    assert read_state(6, [tmp_path]).skipped == (f"{tmp_path / 'run'}: nothing is known of its training",)


def test_generated_data_and_other_data_sets_fill_no_cell(tmp_path):
    train_result(tmp_path / "demo", data=DEMO)
    train_result(tmp_path / "other", data=COCO | {"name": "mine"})
    state = read_state(6, [tmp_path])
    assert (cell(state, "ap").verdict, state.skipped) == (Verdict.MISSING, ())


def test_a_fine_grained_run_fills_the_cell_of_its_data_set(tmp_path):
    train_result(
        tmp_path / "run",
        task="finegrained",
        config={"name": "finetune_cars_rexnet_x1.0", "sha256": "0" * 64},
        data={"name": "Stanford Cars", "split": "test", "images": 8041, "annotations_sha256": "1" * 64},
        metrics={"top1": 91.0},
        training={"iterations": 20_000},
    )
    state = read_state(8, [tmp_path], Path("/data"))
    assert cell(state, "top1", "ReXNet x1.0, Stanford Cars").verdict == Verdict.AGREES
    missing = cell(state, "top1", "ReXNet x1.0, Food-101")
    assert missing.verdict == Verdict.MISSING
    assert missing.command == "python tools/train.py configs/finetune_food101_rexnet_x1.0.py --data-root /data"


def test_a_training_line_has_the_recipes_batch(tmp_path):
    command = "python tools/train.py configs/ssdlite_rexnet_x1.0.py --batch-size 256"
    assert cell(read_state(6, [tmp_path]), "ap").command == command
    assert command in render(read_state(6, [tmp_path]))


def test_times_have_no_verdict_and_clear_ratios_have(tmp_path):
    times = latency("rexnet_x1.0", 224, 20.0), latency("efficientnet_b1", 224, 30.0)  # its own input is 240
    others = {"C / x": pair("0.98", "1.00"), "D / x": pair("0.99", "1.27"), "E / x": pair("0.90", "1.27")}
    pairs = pair("1.41", "1.45"), *(other | {"pair": name} for name, other in others.items())
    save_times(tmp_path / "latency.json", *times, pairs=pairs)
    state = read_state(5, [tmp_path])
    assert (cell(state, "cpu_ms_batch1").ours, cell(state, "cpu_ms_batch1").verdict) == (20.0, Verdict.NOT_COMPARED)
    assert cell(state, "cpu_ms_batch1", "EfficientNet-B1").verdict == Verdict.MISSING
    assert [ratio.verdict for ratio in state.ratios] == [
        Verdict.AGREES,
        Verdict.NOT_COMPARED,
        Verdict.NEAR,
        Verdict.DISAGREES,
    ]
    assert state.count(Verdict.DISAGREES) == 1
    assert summary(state).endswith("; 4 ratios: 1 agree, 1 near, 1 disagree, 1 not compared")
    assert "CPU, batch 1 (ms): classifier, batch 1, CPU (1 thread), fp32" in render(state)
    assert json.loads(json.dumps(state_json(state)))["ratios"][3]["verdict"] == "disagrees"


def test_times_of_one_table_share_their_conditions(tmp_path):
    one = [latency(name, 224, 20.0) for name in ("rexnet_x0.9", "rexnet_x1.0")]
    two = latency("rexnet_x1.3", 224, 10.0, threads=2)
    folded = latency("rexnet_x1.5", 224, 10.0, norms_folded=60)
    save_times(tmp_path / "latency.json", two, *one, folded)
    state = read_state(5, [tmp_path])
    measured = [found.backbone for found in state.cells if found.column.name == "cpu_ms_batch1" and found.ours]
    assert measured == ["rexnet_x0.9", "rexnet_x1.0"]


def test_a_file_of_times_that_is_none_is_a_problem(tmp_path):
    save_times(tmp_path / "latency.json", pairs=({"pair": "B / x"},))
    (problem,) = read_state(5, [tmp_path]).problems
    assert "latency.json" in problem


@pytest.fixture
def timing(monkeypatch) -> list[list[str]]:
    """Times without measuring; what was timed together."""
    timed = []

    def ratios(settings: Settings) -> LatencyFile:
        rows = read_table(5)
        timed.append([row["backbone"] for row in rows])
        records = [latency(row["backbone"], int(row["input_size"]), 20.0) for row in rows]
        return LatencyFile(latencies=records, pairs=[Pair.model_validate(pair("1.41", "1.45"))])

    def measure(models: list[str], settings: Settings) -> list[Latency]:
        timed.append(models)
        return [latency(model, 224, 20.0) for model in models]

    monkeypatch.setattr(run, "paper_ratios", ratios)
    monkeypatch.setattr(run, "measure", measure)
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: False)
    return timed


def test_times_are_measured_once_and_shared_rows_with_table_5(tmp_path, timing):
    assert run_table(4, [tmp_path]) == []
    shared = {row["backbone"] for row in read_table(5)}
    others = [row["backbone"] for row in read_table(4) if row["backbone"] and row["backbone"] not in shared]
    assert timing == [[row["backbone"] for row in read_table(5)], others]
    for number in (4, 5):
        run_table(number, [tmp_path])
        state = read_state(number, [tmp_path])
        cells = [found for found in state.cells if found.column.name == "cpu_ms_batch1" and found.backbone]
        assert all(found.ours == 20.0 for found in cells)
    assert len(timing) == 2
    assert find_runs([tmp_path]).problems == []  # nothing is timed twice
    assert [ratio.ours for ratio in state.ratios] == [1.41]


def found(images: int) -> SimpleNamespace:
    """What a check of the data returns."""
    return SimpleNamespace(splits={"val_dataloader": Split("val", images, images, (), None, "0" * 64)})


@pytest.fixture
def trainings(monkeypatch) -> list[dict]:
    """Trainings that only leave their result, on data that are whole; how each was called."""
    calls = []

    def train(options, **keywords) -> None:
        calls.append({"options": options, **keywords})
        backbone = options.config.stem.removeprefix("ssdlite_")
        config = {"name": options.config.stem, "sha256": "0" * 64}
        save_into = options.work_dir.parent / "results" / options.config.stem
        train_result(save_into, ap=25.0, backbone=backbone, config=config)

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(run, "check_data", lambda cfg: found(5000))
    return calls


def test_rows_are_trained_by_their_recipe_and_only_once(tmp_path, trainings):
    assert run_table(6, [tmp_path], data_root=Path("/data"), precision="bf16") == []
    assert [call["options"].config.stem for call in trainings] == [
        f"ssdlite_{row['backbone']}" for row in read_table(6)
    ]
    options = trainings[0]["options"]
    assert options.work_dir == tmp_path / "reproduce" / "table6" / "ssdlite_mobilenet_v1"
    assert (options.batch_size, options.data_root, options.precision) == (256, Path("/data"), "bf16")
    assert {key: trainings[0][key] for key in ("steps", "resume", "overwrite")} == {
        "steps": 200_000, "resume": False, "overwrite": True,
    }  # fmt: skip
    run_table(6, [tmp_path])
    assert len(trainings) == 10


def test_a_smaller_batch_sees_as_many_images(tmp_path, trainings, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    run_table(6, [tmp_path], batch_size=32)
    assert (trainings[0]["options"].batch_size, trainings[0]["steps"]) == (32, 800_000)


def test_an_interrupted_training_resumes(tmp_path, trainings):
    folder = tmp_path / "reproduce" / "table6" / "ssdlite_mobilenet_v2"
    folder.mkdir(parents=True)
    (folder / "iter_500.pth").touch()
    run_table(6, [tmp_path])
    assert [(call["resume"], call["overwrite"]) for call in trainings[:3]] == [
        (False, True), (True, False), (False, True),
    ]  # fmt: skip


def test_a_finished_run_that_fills_no_cell_is_not_replaced(tmp_path, trainings):
    train_result(tmp_path / "reproduce" / "table6" / "ssdlite_rexnet_x1.0", training={"iterations": 10})
    (problem,) = run_table(6, [tmp_path])
    assert problem.startswith("ssdlite_rexnet_x1.0: ")
    assert len(trainings) == 9


def test_what_cannot_be_trained_is_said_once_with_its_reason(tmp_path, trainings, monkeypatch):
    monkeypatch.setattr(run, "check_data", lambda cfg: found(79))
    (problem,) = run_table(6, [tmp_path], data_root=Path("/data"))
    assert problem.startswith("ssdlite_mobilenet_v1, ssdlite_mobilenet_v2, ")
    assert problem.endswith("/data has 79 of 5000 validation images.")

    def refuse(cfg):
        raise UserError("No data.")

    monkeypatch.setattr(run, "check_data", refuse)
    assert [problem.rpartition(": ")[2] for problem in run_table(6, [tmp_path])] == ["No data."]
    assert trainings == []


def test_the_tool_fails_for_a_cell_outside_and_names_what_it_skips(tmp_path, reproduce_tool, capsys):
    save_times(tmp_path / "latency.json", latency("rexnet_x1.0", 224, 20.0), pairs=(pair("0.90", "1.45"),))
    (tmp_path / "result.json").write_text("{")
    assert reproduce_tool("table5", tmp_path) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith("9 rows, 54 cells: 19 measured, 18 agree, 0 near, 0 disagree")
    assert "skipped: " in printed.err
    assert "result.json" in printed.err


def test_the_tool_measures_when_asked_to(tmp_path, reproduce_tool, timing, capsys):
    assert reproduce_tool("table5", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["summary"]["measured"] == 18
    assert reproduce_tool("table5", tmp_path, "--run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["summary"]["measured"] == 27


def test_the_tool_says_what_it_did_not_train(tmp_path, reproduce_tool, trainings, monkeypatch, capsys):
    monkeypatch.setattr(run, "check_data", lambda cfg: found(79))
    assert reproduce_tool("table9", tmp_path, "--run") == 0
    assert "not trained: mask_rcnn_efficientnet_b0, " in capsys.readouterr().err
