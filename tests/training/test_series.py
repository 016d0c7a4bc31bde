"""A series of runs by its command line: planned, run, failing in part, killed and resumed to the same end."""

import json
import os
import signal
import time
from pathlib import Path

import kills
import pytest
from helpers import call_tool, preloaded, run_tool, started_tool, wait_for
from make_layouts import make_layout

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("data_cache")]
QUICK = ("--cfg-options", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0")


@pytest.fixture(scope="module")
def shapes(demo_data, tmp_path_factory) -> Path:
    return make_layout("yolo", demo_data, tmp_path_factory.mktemp("own") / "shapes")


def command(shapes: Path, folder: Path, *more: str, budget: int = 3, backbones: str = "mobilenet_v3_small") -> list:
    return [
        *("--dataset", shapes, "--backbones", backbones, "--budget", budget, "--seeds", 2, "--batch-size", 2),
        *("--pretrained", "none", "--work-dir", folder, *QUICK, "train_dataloader.sampler.type=SampleStream", *more),
    ]


def results(folder: Path) -> dict[str, tuple]:
    found = {}
    for path in sorted(folder.glob("*/result.json")):
        content = json.loads(path.read_text())
        found[path.parent.name] = (content["metrics"], content["data"], content["config"], content["training"]["seed"])
    return found


@pytest.fixture(scope="module")
def whole(shapes, tmp_path_factory) -> Path:
    """A series that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "series"
    outcome = run_tool("bench.py", *map(str, command(shapes, folder)))
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    assert "2 runs of 3 iterations: 1 backbones, 2 seeds; 0 are finished." in outcome.stdout
    assert "s a step" in outcome.stdout and "for what is left" in outcome.stdout
    assert "[2/2," in outcome.stdout and "shapes val" in outcome.stdout
    decision = json.loads((folder / "decision.json").read_text())
    assert decision["taken"] is None and decision["sentence"].startswith("None can be taken yet: ")  # three steps
    assert decision["candidates"][0]["ms"]["median"] > 0
    assert decision["sentence"] in " ".join(outcome.stdout.split()) and (folder / "decision.html").is_file()
    return folder


def test_finished_runs_are_not_run_again(whole, shapes):
    written = {path: path.stat().st_mtime_ns for path in whole.glob("*/result.json")}
    assert len(written) == 2
    outcome = run_tool("bench.py", *map(str, command(shapes, whole)))
    assert outcome.returncode == 0 and "2 are finished." in outcome.stdout
    assert {path: path.stat().st_mtime_ns for path in whole.glob("*/result.json")} == written


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_series_that_is_stopped_ends_as_one_that_is_not(number, whole, shapes, tmp_path):
    folder, out = tmp_path / "series", tmp_path / "out"
    arguments = command(shapes, folder)
    with started_tool("bench.py", *arguments, out=out) as process:
        wait_for(out, "[1/2,")
        time.sleep(1)
        os.kill(process.pid, number)
        process.join(120)
    assert process.exitcode == (130 if number == signal.SIGINT else -number)
    assert len(results(folder)) == 1
    outcome = run_tool("bench.py", *map(str, arguments))
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    assert results(folder) == results(whole)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_series_that_is_killed_ten_times_ends_as_one_that_is_not(tmp_path):
    hit, differences = kills.kill_series(tmp_path, kills=10, seed=1)
    assert differences == [] and hit >= 5


def test_runs_beside_one_another_are_those_that_follow_one_another(whole, shapes, tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers need two cores")
    outcome = run_tool("bench.py", *map(str, command(shapes, tmp_path / "series")), "--workers", "2")
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    assert results(tmp_path / "series") == results(whole)
    logs = [(tmp_path / f"series/logs/mobilenet_v3_small_seed{seed}.log").stat() for seed in (0, 1)]
    begins = [(tmp_path / f"series/mobilenet_v3_small_seed{seed}/config.py").stat().st_mtime for seed in (0, 1)]
    assert max(begins) < min(log.st_mtime for log in logs)  # both had begun when the first ended


def test_more_workers_than_cores_are_refused(shapes, tmp_path):
    outcome = call_tool("bench.py", *command(shapes, tmp_path / "series"), "--workers", "4096")
    assert outcome.returncode == 1 and "--workers 4096" in outcome.stderr and not (tmp_path / "series").exists()


def test_a_tool_that_a_test_starts_has_the_tests_environment(shapes, tmp_path, monkeypatch):
    preloaded()  # the server that it is forked from runs already
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with started_tool("check_data.py", shapes, out=tmp_path / "out") as process:
        process.join(120)
    assert list((tmp_path / "cache/rexnet-benchmark/data").iterdir())


def test_a_run_that_fails_is_listed_and_stops_no_other(shapes, tmp_path):
    folder = tmp_path / "series"
    nan = "optim_wrapper.optimizer.lr=1e30"
    outcome = run_tool("bench.py", *map(str, command(shapes, folder, nan, budget=4)))
    failed = [line for line in outcome.stderr.splitlines() if line.startswith("failed: ")]
    assert outcome.returncode == 1 and len(failed) == 2 and "seed 1" in failed[1], outcome.stderr
    assert "[2/2," in outcome.stdout


def test_another_series_and_changed_data_are_refused(whole, demo_data, shapes, tmp_path):
    outcome = call_tool("bench.py", *command(shapes, whole, budget=5))
    assert outcome.returncode == 1 and "steps: 3 then, 5 now" in outcome.stderr
    other = make_layout("yolo", demo_data, tmp_path / "own")
    arguments = [*map(str, command(other, tmp_path / "series", budget=1)), "--seeds", "1"]
    assert run_tool("bench.py", *arguments).returncode == 0
    label = next(path for path in sorted((other / "labels/train").iterdir()) if path.read_text())
    label.write_text("")
    outcome = call_tool("bench.py", *arguments)
    assert outcome.returncode == 1 and "has changed since" in outcome.stderr


@pytest.mark.parametrize(
    ("backbones", "words"), [("rexnet_1.0", "rexnet_x1.0"), ("resnet50,resnet50", "twice")], ids=["unknown", "twice"]
)
def test_backbones_that_cannot_be_are_refused_before_anything(backbones, words, shapes, tmp_path):
    outcome = call_tool("bench.py", *command(shapes, tmp_path / "series", backbones=backbones))
    assert outcome.returncode == 1 and words in outcome.stderr and not (tmp_path / "series").exists()
