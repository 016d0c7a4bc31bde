"""Clear losers of a series are dropped, by results that an engine of this test writes in place of trainings."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers import call_tool, result

from benchmark.files.run_folder import CONFUSION, SERIES
from benchmark.training.series.plan import Job, Recipe, Series, read_series
from benchmark.training.series.run import failures, run_series

IMAGES = 400
# Right answers in percent by backbone and seed. "good" and "close" cannot be told apart, "bad" and "worse" can.
FIGURES = {
    "bad": (60.0, 61.0, 60.5),
    "good": (90.0, 91.0, 90.5),
    "close": (89.0, 90.5, 90.0),
    "worse": (30.0, 31.0, 30.0),
}


class Written:
    """An engine that writes results in place of training; some runs fail, and it may stop at a start."""

    pause = 0.0
    times_here = False

    def __init__(
        self,
        places: int = 1,
        failing: tuple[str, ...] = (),
        stops_at: int | None = None,
        figures: Mapping[str, Sequence[float]] = FIGURES,
    ) -> None:
        self.figures = figures
        self.places, self.failing, self.stops_at = places, failing, stops_at
        self.started: list[str] = []
        self.over: list[Job] = []

    def start(self, job: Job, log: Path) -> str:
        if len(self.started) == self.stops_at:
            raise KeyboardInterrupt
        self.started.append(job.name)
        if job.name not in self.failing:
            write_run(job, self.figures[job.backbone][job.seed])
        self.over.insert(0, job)  # the last to begin ends first
        return ""

    def ended(self) -> list[tuple[Job, str]]:
        over, self.over = [(job, "no memory") for job in self.over], []
        return over

    def stop(self) -> str:
        return "stopped"


def write_run(job: Job, figure: float) -> None:
    right = round(IMAGES * figure / 100)
    job.folder.mkdir(parents=True)
    rows = [["true class", "a", "b"], ["a", right // 2, IMAGES // 2 - right // 2]]
    rows.append(["b", IMAGES // 2 - (right - right // 2), right - right // 2])
    (job.folder / CONFUSION).write_text("\n".join(",".join(map(str, row)) for row in rows))
    metrics = {"top1": 100 * right / IMAGES, "top5": None, "mean_per_class": None}
    result(task="finegrained", backbone=job.backbone, metrics=metrics).write(job.folder)


def make_series(backbones: tuple[str, ...] = tuple(FIGURES), seeds: int = 3, *, dropping: bool = True) -> Series:
    given = {"template": "configs/finetune.py", "dataset": None, "data_root": None, "data_sha256": {}, "steps": 1}
    given |= {"batch_size": None, "pretrained": None, "precision": "fp32", "subset": None, "cfg_options": ()}
    return Series(
        recipe=Recipe(**given), backbones=backbones, seeds=seeds, seconds={}, drop_clear_losers=dropping
    )  # fmt: skip


def run(series: Series, folder: Path, engine: Written) -> tuple[list[str], list[dict]]:
    """Return what was said, and the record of who was dropped."""
    said: list[str] = []
    if (folder / SERIES).is_file():  # as the plan of a series that is started again has it
        series = series.model_copy(update={"dropped": read_series(folder / SERIES).dropped})
    run_series(series, folder, engine=engine, say=said.append)
    return said, json.loads((folder / SERIES).read_text())["dropped"]


def test_what_is_clearly_behind_gets_no_more_runs(tmp_path):
    engine = Written()
    said, dropped = run(make_series(), tmp_path, engine)
    assert [(each["backbone"], each["runs"], each["leader"]) for each in dropped] == [
        ("bad", 1, "good"),
        ("worse", 1, "good"),
    ]
    # The halves of the first seed's figures: what is ahead goes first.
    assert engine.started[4:] == ["good, seed 1", "close, seed 1", "good, seed 2", "close, seed 2"]
    bad = dropped[0]
    assert bad["difference"] == pytest.approx(60 - 90.5) and bad["figure"] == "top1"
    low, high = bad["interval"]
    assert low < bad["difference"] < high < 0 and low + high == pytest.approx(2 * bad["difference"])
    assert "dropped after 1 of 3 runs: bad, top1 60.0 against 90.5 of good" in said[-1]
    assert "--drop-clear-losers" in said[0] and "[8/8," in said[-2]


def test_the_interval_covers_pictures_and_seeds(tmp_path):
    figures = {**FIGURES, "good": (90.0, 94.0, 90.0), "close": (89.0, 83.0, 90.0)}
    _, (_, worse) = run(make_series(), tmp_path, Written(figures=figures))
    pictures = (92 * 8 + 30 * 70) / IMAGES  # the two accuracies' variances
    seeds = (8 + 18) / 2  # pooled over the upper half, two runs each
    reach = 4.303 * np.sqrt(pictures + seeds * (1 / 2 + 1))  # Student's t of 2 degrees of freedom
    assert (worse["interval"][1] - worse["interval"][0]) / 2 == pytest.approx(reach, rel=0.05)


def test_what_seeds_could_explain_is_not_dropped_nor_is_anything_behind_a_run_that_failed(tmp_path):
    figures = {"good": (90.0, 70.0), "close": (88.0, 90.0), "bad": (40.0, 41.0, 40.0)}
    failing = ("good, seed 2", "close, seed 2")
    engine = Written(failing=failing, figures=figures)
    _, dropped = run(make_series(tuple(figures)), tmp_path, engine)
    assert dropped == [] and engine.started[-1] == "bad, seed 2"


def test_without_the_option_all_are_run(tmp_path):
    engine = Written()
    _, dropped = run(make_series(dropping=False), tmp_path, engine)
    assert dropped == [] and len(engine.started) == 12


@pytest.mark.parametrize("stops_at", range(8))
def test_interrupted_anywhere_it_drops_the_same(stops_at, tmp_path):
    _, whole = run(make_series(), tmp_path / "whole", Written())
    first, second = Written(stops_at=stops_at), Written()
    with pytest.raises(KeyboardInterrupt):
        run(make_series(), tmp_path / "series", first)
    _, dropped = run(make_series(), tmp_path / "series", second)
    assert dropped == whole and len(first.started) + len(second.started) == 8


def test_runs_beside_one_another_drop_the_same(tmp_path):
    _, whole = run(make_series(), tmp_path / "one", Written())
    _, dropped = run(make_series(), tmp_path / "four", Written(places=4))
    assert dropped == whole


def test_a_backbone_with_a_run_that_failed_neither_leads_nor_is_dropped(tmp_path):
    said: list[str] = []
    engine = Written(failing=("worse, seed 0", "good, seed 1"))
    outcome = run_series(make_series(), tmp_path, engine=engine, say=said.append)
    dropped = json.loads((tmp_path / SERIES).read_text())["dropped"]
    assert len(failures(outcome)) == 2 and "worse, seed 2" in engine.started
    assert all(each["leader"] != "good" and each["backbone"] != "worse" for each in dropped)


def test_more_seeds_later_are_judged_likewise(tmp_path):
    run(make_series(seeds=2), tmp_path / "series", Written())
    engine = Written()
    _, dropped = run(make_series(seeds=3), tmp_path / "series", engine)
    _, whole = run(make_series(seeds=3), tmp_path / "whole", Written())
    assert dropped == whole and engine.started == ["good, seed 2", "close, seed 2"]


def test_one_seed_has_nothing_to_drop(tmp_path):
    arguments = ("--backbones", "resnet50,resnet18", "--budget", "1", "--seeds", "1", "--work-dir", tmp_path / "new")
    outcome = call_tool("bench.py", *arguments, "--drop-clear-losers")
    assert outcome.returncode == 1 and "2 backbones and 2 seeds" in outcome.stderr
    assert not (tmp_path / "new").exists()
