"""A task and a figure are a row each: toy rows put in appear everywhere, with no, one or two tables of the paper."""

import csv
import io
import json

import pytest
from test_leaderboard import COCO, TRAINING, boards, save, save_times, time

from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.measuring import golden
from benchmark.measuring.complexity import Complexity, Part, config_complexity, count_input
from benchmark.records.figures import FIGURES, Figure
from benchmark.reporting.leaderboard import FORMATS, find_runs, make_report, render
from benchmark.reporting.leaderboard.plots import plots
from benchmark.reporting.paper.counts import Comparison, describe_table
from benchmark.reporting.paper.tables import TABLES, PaperTable, read_table, table_task
from benchmark.reporting.reproduce import Verdict, read_state, state
from benchmark.reporting.reproduce import render as render_state
from benchmark.tasks import TASKS, Task

TOYS = COCO | {"name": "toys"}
LONG = TRAINING | {"iterations": 200_000, "batch_size": 256, "pretrained": "imagenet"}


@pytest.fixture
def toy(monkeypatch) -> Task:
    """A classifier's task that the paper has no table of, with a figure of its own: the lower the better."""
    row = Figure("error", "error", "toy error, per mille", "‰", best="low", scale=0.001, digits=2)
    monkeypatch.setitem(FIGURES, "error", row)
    task = Task("classifier", "Toys", "eval_finegrained.py", ("error", "top1"), "toys", "demo/finetune.py")
    monkeypatch.setitem(TASKS, "toy", task)
    return task


def save_toys(folder) -> None:
    for backbone, error, params in (("resnet50", 0.012, 25e6), ("rexnet_x1.0", 0.01, 5e6), ("fbnet_c", 0.5, 4e6)):
        cost = {"params": round(params), "macs": round(100 * params), "input": (1, 3, 224, 224)}
        metrics = {"error": error, "top1": 80.0}
        save(folder / backbone, task="toy", backbone=backbone, data=TOYS, metrics=metrics, cost=cost)


def test_a_figure_that_is_only_a_row_is_in_every_format(toy, tmp_path):
    save_toys(tmp_path)
    report = make_report(find_runs([tmp_path]), paper=True)
    texts = {format: render(report, format) for format in FORMATS}
    for format in ("markdown", "latex", "html"):
        assert "error (‰)" in texts[format] and "12.00" in texts[format]
    assert 'data-best="low" title="toy error, per mille"' in texts["html"] and "‰ (%)" not in texts["html"]
    [board] = json.loads(texts["json"])["leaderboards"]
    assert board["ranking"] == "error"
    assert [row["error"]["mean"] for row in board["rows"]] == [0.01, 0.012, 0.5]  # the best first
    assert [line["error"] for line in csv.DictReader(io.StringIO(texts["csv"]))] == ["0.01", "0.012", "0.5"]


def test_a_classifiers_result_has_the_time_of_its_backbone_whatever_the_task(toy, tmp_path):
    save_toys(tmp_path)
    save_times(tmp_path / "latency.json", time("resnet50", 40.0, side=224, timed="classifier"))
    [board] = boards(tmp_path)
    assert [row.get("latency") for row in board["rows"]] == [None, 40.0, None]


def test_the_frontier_of_a_figure_whose_low_end_is_best(toy, tmp_path):
    save_toys(tmp_path)
    plot = plots(make_report(find_runs([tmp_path])).boards[0])["params (M)"]
    line, marks = plot["datasets"].values()
    assert plot["layer"][0]["encoding"]["y"]["title"] == "error (‰)"
    assert sorted(mark["figure"] for mark in marks) == [10.0, 12.0, 500.0]
    # The cheapest and ReXNet; ResNet costs more and errs more.
    assert line == [{"cost": 4.0, "figure": 500.0}, {"cost": 5.0, "figure": 10.0}]


def test_a_task_without_a_table_stands_beside_nothing(toy, tmp_path):
    save_toys(tmp_path)
    [board] = boards(tmp_path, paper=True)
    assert {str(row["paper"]) for row in board["rows"]} == {"{}"}
    assert make_report(find_runs([tmp_path])).boards[0].paper_points == ()


def test_a_task_without_a_table_is_counted_at_its_configs_own_input(toy, tmp_path, monkeypatch):
    text = f'_base_ = "{CONFIGS}/_base_/data/finetune_food101.py"\ntask = "toy"\n'
    text += 'model = dict(backbone=dict(name="mobilenet_v3_small", pretrained=None))\n'
    (tmp_path / "toy_mobilenet_v3_small.py").write_text(text)
    monkeypatch.setattr(golden, "list_leaves", lambda: list(tmp_path.glob("*.py")))
    monkeypatch.setattr(golden, "list_backbones", lambda: [])
    found = golden.count_everything()["configs"]
    assert found.keys() == {"toy_mobilenet_v3_small"}
    assert found["toy_mobilenet_v3_small"]["input"] == "1x3x224x224"


def test_a_detector_may_leave_its_input_to_its_config(monkeypatch):
    cfg = load_config(CONFIGS / "ssdlite_mobilenet_v3_large.py")
    complete_model(cfg)
    fixed = config_complexity(cfg)
    monkeypatch.setitem(
        TASKS, "toy", Task("detector", "Toys", "eval_detection.py", ("box_AP",), "coco2017", "demo/detection.py")
    )
    cfg.task = "toy"
    assert config_complexity(cfg) == fixed
    cfg.val_dataloader.dataset.pipeline = [
        {**step, "scale": (640, 320)} if "scale" in step else step for step in cfg.val_dataloader.dataset.pipeline
    ]
    assert count_input(cfg) == (320, 640)


@pytest.fixture
def two_tables(monkeypatch, tmp_path_factory):
    """A detector's task with two tables, which share a label."""
    folder = tmp_path_factory.mktemp("tables")
    files = {
        101: "backbone,label,ap,params,flops\nrexnet_x1.0,ReXNet x1.0,25.3,5.7,1.01\n,Other,20.0,1.0,0.5\n",
        102: "backbone,label,ap,ap50,params,flops\n"
        "rexnet_x1.0,ReXNet x1.0,99.0,42.3,9.9,9.9\nmobilenet_v2,MobileNetV2,22.1,38.0,4.3,0.79\n",
    }
    for number, text in files.items():
        path = folder / f"{number}.csv"
        path.write_text(text)
        row = PaperTable(str(path), f"Toys {number}", "ssdlite_{backbone}.py", {"ap": "AP", "ap50": "AP"})
        monkeypatch.setitem(TABLES, number, row)
    task = Task("detector", "Toys", "eval_detection.py", ("box_AP", "box_AP50"), "coco2017", "demo/detection.py")
    monkeypatch.setitem(TASKS, "toy", Task(**{**vars(task), "tables": (101, 102)}))
    monkeypatch.setattr(state, "compare_complexity", counts)
    monkeypatch.setattr(state, "load_config", as_a_toy)


def as_a_toy(path):
    cfg = load_config(path)
    cfg.task = "toy"
    return cfg


def counts(number: int) -> list[Comparison]:
    """Counts without models."""
    rows = [row for row in read_table(number) if row["backbone"]]
    return [Comparison(row, Complexity((1, 3, 320, 320), {"all": Part(1, 1)}), False, "yes") for row in rows]


def test_a_task_with_two_tables_stands_beside_both(two_tables, tmp_path):
    for backbone in ("rexnet_x1.0", "mobilenet_v2"):
        save(tmp_path / backbone, task="toy", backbone=backbone, metrics={"box_AP": 25.0, "box_AP50": 42.0})
    [board] = boards(tmp_path, paper=True)
    printed = {row["backbone"]: {key: paper["figure"] for key, paper in row["paper"].items()} for row in board["rows"]}
    assert printed["rexnet_x1.0"] == {"box_AP": 25.3, "box_AP50": 42.3, "params": 5_700_000, "macs": 1_010_000_000}
    assert printed["mobilenet_v2"]["box_AP"] == 22.1
    labels = [point.label for point in make_report(find_runs([tmp_path])).boards[0].paper_points]
    assert labels == ["ReXNet x1.0", "Other", "MobileNetV2"]  # one point per label
    text = render(make_report(find_runs([tmp_path]), paper=True), "html")
    assert '"Other"' in text and "20.0, in the paper" in text


def test_a_run_fills_the_cells_of_both_tables_of_its_task(two_tables, tmp_path):
    save(tmp_path / "run", task="toy", training=LONG, metrics={"box_AP": 25.0, "box_AP50": 42.0})
    save(tmp_path / "other", task="ssdlite", training=LONG, metrics={"box_AP": 1.0, "box_AP50": 1.0})
    first, second = (read_state(number, [tmp_path]) for number in (101, 102))
    assert (table_task(101), table_task(102)) == ("toy", "toy")
    assert [(cell.column.heading, cell.ours, cell.verdict) for cell in first.cells[:1]] == [
        ("AP", 25.0, Verdict.AGREES)
    ]
    assert [(cell.column.heading, cell.ours, cell.verdict) for cell in second.cells[:2]] == [
        ("AP", 25.0, Verdict.DISAGREES),
        ("AP50", 42.0, Verdict.AGREES),
    ]
    assert "Table 102, Toys 102" in render_state(second)
    assert describe_table(101).startswith("Table 101, Toys 101. Agrees: to the printed digits.")


def test_an_evaluation_of_other_weights_fills_no_cell(two_tables, tmp_path):
    early = {"file": "iter_20.pth", "sha256": "2" * 64, "iteration": 20}
    save(tmp_path / "run", task="toy", training=LONG, checkpoint=early, metrics={"box_AP": 25.0})
    found = read_state(101, [tmp_path])
    assert found.skipped == (f"{tmp_path / 'run'}: not of its final weights (iteration 20 of 200000)",)
