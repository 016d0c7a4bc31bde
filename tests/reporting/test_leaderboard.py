"""Leaderboards of every format against recorded output, and what they make of runs.

``python dev/golden.py leaderboard`` rewrites the recorded output.
"""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from golden import LEADERBOARD, LEADERBOARDS, leaderboard
from helpers import call_tool

from backbones.errors import UserError
from benchmark.records.result import Result
from benchmark.reporting.leaderboard import FORMATS, find_runs, make_report, render, write
from benchmark.reporting.offline.charts import Point, frontier

COCO = {"name": "coco2017", "split": "val2017", "images": 5000, "annotations_sha256": "1" * 64}
DEMO = {"name": "demo", "split": "val2017", "images": 100, "annotations_sha256": "", "demo": True}
TRAINING = {
    "iterations": 100, "batch_size": 8, "learning_rate": 0.1, "precision": "fp32", "pretrained": None, "seed": 0,
    "world_size": 1,
}  # fmt: skip


def save(folder: Path, *, ap: float | None = 25.0, date: str = "2026-01-01T00:00:00+00:00", **changes) -> Path:
    """Write a run's result into a folder."""
    content = {
        "task": "ssdlite",
        "backbone": "rexnet_x1.0",
        "config": {"name": "ssdlite_rexnet_x1.0", "sha256": "0" * 64},
        "data": COCO,
        "metrics": {"box_AP": ap},
        "cost": {"params": 5_688_574, "macs": 1_007_918_560, "input": (1, 3, 320, 320)},
        "training": None,
        "provenance": {
            "git_commit": "abc", "git_dirty": False, "versions": {}, "python": "3.11", "device": "CPU",
            "precision": "fp32", "world_size": 1, "date": date,
        },
        **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    Result.model_validate(content).write(folder)
    return folder


def boards(folder: Path, **options) -> list[dict]:
    """The leaderboards of a folder, as in JSON."""
    return json.loads(render(make_report(find_runs([folder]), **options), "json"))["leaderboards"]


def backbones(board: dict) -> list[str]:
    return [row["backbone"] for row in board["rows"]]


@pytest.mark.parametrize("name", LEADERBOARDS)
def test_output_is_the_recorded_one(name):
    assert leaderboard(name) == (LEADERBOARD / name).read_text(encoding="utf-8")


def test_the_tool_writes_the_recorded_output_and_fails_for_what_it_skipped(tmp_path):
    out = tmp_path / "new" / "table.md"
    run = call_tool("summarize.py", LEADERBOARD / "runs", "--out", out)
    assert run.returncode == 1
    skipped = [line for line in run.stderr.splitlines() if line.startswith("skipped: ")]
    named = ("latency_broken.json", "broken/result.json", "foreign/result.json")
    assert len(skipped) == 3 and all(name in line for name, line in zip(named, skipped, strict=True))
    recorded = (LEADERBOARD / "plain.md").read_text().replace("runs/", f"{LEADERBOARD}/runs/")
    assert out.read_text().replace("of runs/", f"of {LEADERBOARD}/runs/") == (
        f"<!-- leaderboard:begin -->\n{recorded}<!-- leaderboard:end -->\n"
    )


def test_seeds_become_mean_and_sample_standard_deviation(tmp_path):
    figures = [25.0, 25.5, 27.25]
    for seed, ap in enumerate(figures):
        save(tmp_path / f"run{seed}", ap=ap, training=TRAINING | {"seed": seed, "hours": seed + 1.0})
    [row] = boards(tmp_path)[0]["rows"]
    assert row["box_AP"]["mean"] == pytest.approx(np.mean(figures))
    assert row["box_AP"]["std"] == pytest.approx(np.std(figures, ddof=1))
    assert (row["n"], row["seed"], row["hours"]) == (3, "0, 1, 2", 2.0)
    assert [member["box_AP"]["mean"] for member in row["members"]] == figures


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"name": "ssdlite_rexnet_x1.0_long", "sha256": "0" * 64}},
        {"config": {"name": "ssdlite_rexnet_x1.0", "sha256": "1" * 64}},  # changed on the command line
        {"backbone": "rexnet_x1.3"},
        {"data": COCO | {"images": 79, "partial": True}},
        {"data": COCO | {"annotations_sha256": "2" * 64}},
        {"cost": {"params": 1, "macs": 1_007_918_560, "input": (1, 3, 320, 320)}},
        *({"training": TRAINING | {"seed": 1, key: value}} for key, value in (
            ("iterations", 200), ("batch_size", 16), ("learning_rate", 0.2), ("precision", "bf16"),
            ("pretrained", "imagenet"), ("partial", True),
        )),
    ],
)  # fmt: skip
def test_runs_that_differ_in_more_than_the_seed_are_rows_of_their_own(tmp_path, change):
    save(tmp_path / "a", training=TRAINING)
    save(tmp_path / "b", **{"training": TRAINING | {"seed": 1}, **change})
    assert [row["n"] for row in boards(tmp_path)[0]["rows"]] == [1, 1]


def test_seeds_that_searched_alike_are_one_row_whatever_rate_each_found(tmp_path):
    search = {"iterations": 2, "rates": (0.01, 0.1), "losses": (2.0, 1.0)}
    for seed, rate in enumerate((0.02, 0.05)):
        found = search if seed else search | {"iterations": 1, "rates": (0.01,), "losses": (2.0,)}  # it ended early
        save(tmp_path / f"run{seed}", training=TRAINING | {"seed": seed, "learning_rate": rate, "search": found})
    other = search | {"rates": (0.02, 0.2)}
    save(tmp_path / "other", training=TRAINING | {"seed": 2, "learning_rate": 0.05, "search": other})
    assert sorted(row["n"] for row in boards(tmp_path)[0]["rows"]) == [1, 2]


def test_a_seed_counts_once_with_its_newest_run(tmp_path):
    save(tmp_path / "a", ap=30.0, training=TRAINING, date="2026-01-03T00:00:00+00:00")
    save(tmp_path / "b", ap=20.0, training=TRAINING, date="2026-01-02T00:00:00+00:00")
    [board] = boards(tmp_path)
    [row] = board["rows"]
    assert (row["box_AP"], row["n"]) == ({"mean": 30.0, "std": None, "interval": None}, 1)
    assert row["older"] == [str(tmp_path / "b")] and str(tmp_path / "b") in board["notes"][0]


@pytest.mark.parametrize("training", [None, TRAINING | {"seed": None}])
def test_runs_of_unknown_seed_are_never_merged(tmp_path, training):
    for name in "ab":
        save(tmp_path / name, training=training)
    assert len(boards(tmp_path)[0]["rows"]) == 2
    assert f"{tmp_path}/b" in render(make_report(find_runs([tmp_path])))  # only the folder tells them apart


def test_ranking_puts_the_best_first_the_partial_below_and_the_unmeasured_last(tmp_path):
    save(tmp_path / "a", ap=22.0, backbone="mobilenet_v2")
    save(tmp_path / "b", ap=None, backbone="mnasnet_a1")
    save(tmp_path / "c", ap=90.0, backbone="fbnet_c", data=COCO | {"images": 79, "partial": True})
    save(tmp_path / "d", ap=25.0)
    [board] = boards(tmp_path)
    assert backbones(board) == ["rexnet_x1.0", "mobilenet_v2", "fbnet_c", "mnasnet_a1"]
    assert board["rows"][2]["marks"] == ["partial (79 images)"]


def test_generated_data_never_share_a_table_with_real_ones(tmp_path):
    save(tmp_path / "real")
    save(tmp_path / "demo", ap=80.0, data=COCO | {"demo": True})  # even under the name of a real data set
    report = make_report(find_runs([tmp_path]), paper=True)
    real, demo = json.loads(render(report, "json"))["leaderboards"]
    assert (real["demo"], demo["demo"]) == (False, True)
    assert demo["rows"][0]["paper"] == {} and demo["rows"][0]["marks"] == ["demo"]
    assert [line["demo"] for line in csv.DictReader(io.StringIO(render(report, "csv")))] == ["0", "1"]
    assert render(report).count("generated data, not comparable") == 1


def test_sort_and_metric_order_the_rows(tmp_path):
    metrics = {"box_AP": 30.0, "box_AP50": 40.0}
    save(tmp_path / "a", backbone="a", metrics=metrics, cost={"params": 9, "macs": 9, "input": (1, 3, 320, 320)})
    save(tmp_path / "b", backbone="b", metrics={"box_AP": 20.0, "box_AP50": 50.0})
    save(tmp_path / "c", task="finegrained", metrics={"top1": 80.0})
    assert [backbones(boards(tmp_path, **option)[0]) for option in ({}, {"metric": "box_AP50"}, {"sort": "macs"})] == [
        ["a", "b"],
        ["b", "a"],
        ["a", "b"],
    ]
    other = boards(tmp_path, metric="box_AP50")[1]
    assert other["ranking"] == "top1" and other["notes"] == ["No box_AP50 here: ranked by top1."]
    with pytest.raises(UserError, match=r"--metric box_ap50: .* Did you mean 'box_AP50'"):
        boards(tmp_path, metric="box_ap50")
    with pytest.raises(UserError, match="--sort latency: no leaderboard has it"):
        boards(tmp_path, sort="latency")


@pytest.mark.parametrize(("data", "paper"), [("Food-101", 88.4), ("Aircraft", 89.5), ("ImageFolder", None)])
def test_a_data_set_stands_beside_its_own_figure_of_the_paper(tmp_path, data, paper):
    save(tmp_path / "run", task="finegrained", data=COCO | {"name": data}, metrics={"top1": 88.0, "top5": None})
    [row] = boards(tmp_path, paper=True)[0]["rows"]
    assert row["paper"].get("top1") == (paper and {"figure": paper, "difference": pytest.approx(88.0 - paper)})
    assert row["top5"] is None
    assert boards(tmp_path)[0]["rows"][0]["paper"] == {}


def test_a_detector_on_other_pictures_does_not_stand_beside_the_papers(tmp_path):
    save(tmp_path / "run", data=COCO | {"name": "my_pictures"})
    assert boards(tmp_path, paper=True)[0]["rows"][0]["paper"] == {}


def test_a_mark_says_how_many_seeds_it_is_of(tmp_path):
    for seed, pictures in enumerate((0, 3)):
        save(tmp_path / str(seed), training=TRAINING | {"seed": seed, "partial": True, "unreadable_images": pictures})
    [row] = boards(tmp_path)[0]["rows"]
    assert row["marks"] == ["trained on a part", "unreadable pictures skipped (1 of 2)"]


def test_figures_without_some_pictures_are_marked_and_never_mixed_with_whole_ones(tmp_path):
    save(tmp_path / "whole", training=TRAINING | {"seed": 0})
    save(tmp_path / "fewer", training=TRAINING | {"seed": 1}, data=COCO | {"unreadable": ["a.jpg", "b.jpg"]})
    marks = [row["marks"] for row in boards(tmp_path)[0]["rows"]]
    assert sorted(marks) == [[], ["without 2 unreadable pictures"]]


def test_trials_of_a_sweep_are_left_out_and_its_final_training_is_not(tmp_path):
    from benchmark.files.run_folder import FINAL, JOURNAL

    save(tmp_path / "sweep" / "trials" / "lr0.1_wd0", ap=99.0)
    save(tmp_path / "sweep" / FINAL, ap=80.0)
    pruned = tmp_path / "sweep" / "trials" / "lr1_wd0"
    pruned.mkdir()
    for name in ("config.py", "run.log"):
        (pruned / name).touch()
    (tmp_path / "sweep" / JOURNAL).touch()
    found = find_runs([tmp_path])
    assert [run.folder.name for run in found.runs] == [FINAL] and not found.unfinished
    assert found.trials == {tmp_path / "sweep": 2}
    assert find_runs([pruned.parent]).trials == {tmp_path / "sweep": 2}
    save(tmp_path / "trials" / "mine")  # a folder's name alone makes no sweep
    assert len(find_runs([tmp_path]).runs) == 2


def test_a_training_without_a_result_is_named_and_other_configs_are_not(tmp_path):
    for name, files in {"died": ("config.py", "run.log", "iter_9.pth", "iter_10.pth"), "code": ("config.py",)}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    text = render(make_report(find_runs([tmp_path])))
    assert "No results." in text and f"- {tmp_path}/died (newest checkpoint iter_10.pth)\n" in text
    assert "code" not in text


def test_a_folder_given_twice_is_read_once_and_an_absent_one_is_named(tmp_path):
    save(tmp_path / "work" / "run")
    found = find_runs([tmp_path, tmp_path / "work", tmp_path / "absent"])
    assert len(found.runs) == 1 and found.problems == [f"Folder not found: {tmp_path / 'absent'}."]


def time(model: str, milliseconds: float = 40.0, side: int = 320, timed: str = "network") -> dict:
    """A measured time as tools/latency.py prints it."""
    from benchmark.records.latency import Latency

    record = Latency(
        model=model, timed=timed, input=(1, 3, side, side), device="CPU", threads=1, precision="fp32",
        memory_format="channels_last", compiled=False, norms_folded=None, norms_left=None, warm_up=10, stable=True,
        runs=50, median_ms=milliseconds, p95_ms=50.0, images_per_second=25.0, ratio=None, peak_memory=None,
        joules_per_image=None,
    )  # fmt: skip
    return json.loads(record.model_dump_json())


def save_times(path: Path, *times: dict) -> None:
    path.write_text(json.dumps({"latencies": times, "pairs": []}))


def test_a_measured_time_stands_at_the_result_of_its_config(tmp_path):
    save(tmp_path / "run")
    save_times(tmp_path / "latency_cpu.json", time("ssdlite_rexnet_x1.0"), time("ssdlite_resnet50"))
    report = make_report(find_runs([tmp_path]))
    [row] = json.loads(render(report, "json"))["leaderboards"][0]["rows"]
    assert row["latency"] == 40.0 and row["latencies"][0]["p95_ms"] == 50.0
    assert report.notes[-1] == "Times of models that no result here is of: ssdlite_resnet50."


@pytest.mark.parametrize(
    ("change", "record"),
    [
        ({"backbone": "resnet50"}, {"model": "ssdlite_rexnet_x1.0"}),  # changed on the command line
        ({"data": DEMO}, {"model": "ssdlite_rexnet_x1.0"}),
        ({}, {"model": "ssdlite_rexnet_x1.0", "side": 640}),
        ({}, {"model": "rexnet_x1.0", "timed": "classifier"}),  # the backbone alone is not the detector
    ],
)
def test_a_result_does_not_get_the_time_of_another_model(tmp_path, change, record):
    save(tmp_path / "run", **change)
    save_times(tmp_path / "latency.json", time(**record))
    assert boards(tmp_path)[0]["rows"][0]["latencies"] == []


def test_a_time_measured_twice_is_named(tmp_path):
    save(tmp_path / "run")
    save_times(tmp_path / "latency_a.json", time("ssdlite_rexnet_x1.0", 40.0))
    save_times(tmp_path / "latency_b.json", time("ssdlite_rexnet_x1.0", 60.0))
    found = find_runs([tmp_path])
    assert [timing.median_ms for timing in found.timings] == [40.0]
    assert "latency_b.json times ssdlite_rexnet_x1.0 again" in found.problems[0]


def test_markdown_replaces_only_what_stands_between_the_markers_of_a_file(tmp_path):
    save(tmp_path / "run")
    report, readme = make_report(find_runs([tmp_path])), tmp_path / "README.md"
    readme.write_text("mine\n")
    with pytest.raises(UserError, match="leaderboard:begin"):
        write(report, "markdown", readme)
    readme.write_text("mine\n<!-- leaderboard:begin -->\n<!-- leaderboard:end -->\nmine too\n")
    write(report, "markdown", readme)
    assert readme.read_text().startswith("mine\n") and readme.read_text().endswith("mine too\n")
    assert "| rexnet_x1.0 " in readme.read_text()


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_found_is_said_in_every_format(tmp_path, format):
    text = render(make_report(find_runs([tmp_path])), format)
    expected = {"csv": "task,data,split,demo,line", "json": '"leaderboards": []'}
    assert expected.get(format, "No results.") in text


def test_a_pages_links_lead_from_its_place_to_the_runs(tmp_path):
    run = save(tmp_path / "runs" / "a#b ä")
    (run / "config.py").touch()
    page = render(make_report(find_runs([tmp_path])), "html", tmp_path / "pages")
    assert '<a href="../runs/a%23b%20%C3%A4/config.py">config</a>' in page
    assert ">pictures</a>" not in page


def test_the_frontier_is_what_no_point_beats():
    generator = np.random.default_rng(0)
    for _ in range(50):
        costs, accuracies = generator.integers(0, 6, (2, 8)).tolist()
        points = [Point("", cost, accuracy) for cost, accuracy in zip(costs, accuracies, strict=True)]
        beaten = {
            a for a in points for b in points
            if b.cost <= a.cost and b.figure >= a.figure and (b.cost, b.figure) != (a.cost, a.figure)
        }  # fmt: skip
        assert set(frontier(points)) == set(points) - beaten
