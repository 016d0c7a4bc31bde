"""The tools as a user meets them: quick help, plain errors, and whole runs, alone and under torchrun."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import REPOSITORY, SMALL, call_tool, run_tool

from benchmark.records.result import read_result

pytestmark = pytest.mark.slow

SSDLITE = "configs/ssdlite_rexnet_x1.0.py"
TOOLS = sorted(path.name for path in (REPOSITORY / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", TOOLS)
def test_help_answers_at_once(tool):
    start = time.perf_counter()
    command = [sys.executable, "-X", "importtime", str(REPOSITORY / "tools" / tool), "--help"]
    run = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    assert run.returncode == 0
    assert "usage:" in run.stdout
    assert "| torch" not in run.stderr
    assert seconds < 5  # a second on an idle machine; nothing heavy is imported


def assert_plain_error(run: subprocess.CompletedProcess, *words: str) -> None:
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.startswith("error: ")
    assert len(run.stderr.splitlines()) <= 2
    for word in words:
        assert word in run.stderr


def test_missing_data_are_named_with_the_ways_out(tmp_path):
    start = time.perf_counter()
    run = run_tool("train.py", SSDLITE, "--data-root", tmp_path / "nowhere", "--work-dir", tmp_path / "run")
    assert_plain_error(run, "nowhere", "--data-root", "DATA_ROOT", "--demo")
    assert time.perf_counter() - start < 10


def test_an_unknown_config_suggests_the_nearest():
    assert_plain_error(
        call_tool("train.py", "configs/ssdlite_rexnet_1.0.py"), "Did you mean 'configs/ssdlite_rexnet_x1.0.py'"
    )


def test_an_unknown_backbone_suggests_the_nearest(demo_data, tmp_path):
    small = ["train_images=16", "val_images=6", "model.backbone.name=rexnet_1.0"]
    arguments = [SSDLITE, "--demo", "--data-root", demo_data, "--work-dir", tmp_path, "--cfg-options", *small]
    assert_plain_error(call_tool("train.py", *arguments), "Did you mean 'rexnet_x1.0'")


def test_a_checkpoint_that_is_none_is_named(demo_data, tmp_path):
    (tmp_path / "x.pth").write_text("hello")
    small = ["train_images=16", "val_images=6", *SMALL, "val_dataloader.num_workers=0"]
    arguments = [SSDLITE, tmp_path / "x.pth", "--demo", "--data-root", demo_data, "--work-dir", tmp_path / "eval"]
    assert_plain_error(call_tool("eval_detection.py", *arguments, "--cfg-options", *small), "x.pth", "not a checkpoint")


def test_an_absent_result_folder_fails_the_summary(tmp_path):
    run = call_tool("summarize.py", tmp_path / "absent")
    assert run.returncode == 1
    assert "absent" in run.stderr


@pytest.fixture(scope="module")
def two_process_run(demo_data, tmp_path_factory) -> Path:
    """A short training by two processes; 7 validation images do not divide by two."""
    from benchmark.data.demo.pictures import make_demo_data

    folder = tmp_path_factory.mktemp("torchrun")
    make_demo_data(folder / "data", train_images=16, val_images=7)
    small = [
        "train_images=16",
        "val_images=7",
        *SMALL,
        "train_dataloader.num_workers=1",
        "val_dataloader.num_workers=1",
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    command += ["tools/train.py", SSDLITE, "--demo", "--data-root", str(folder / "data"), "--batch-size", "4"]
    command += ["--work-dir", str(folder / "run"), "--steps", "2", "--cfg-options", *small]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count("box  AP") == 1  # one process speaks
    return folder


def test_two_processes_count_every_image_once(two_process_run):
    result = read_result(two_process_run / "run" / "result.json")
    assert (result.provenance.world_size, result.training.world_size, result.data.images) == (2, 2, 7)
    assert result.training.batch_size == 8
    assert result.training.learning_rate == pytest.approx(0.04)  # 8 images: twice the demo's own batch


def test_one_process_gives_the_figures_of_two(two_process_run, tmp_path):
    small = ["train_images=16", "val_images=7", *SMALL, "val_dataloader.num_workers=0"]
    arguments = [SSDLITE, two_process_run / "run/iter_2.pth", "--demo", "--data-root", two_process_run / "data"]
    arguments += ["--work-dir", tmp_path, "--per-class", "--out", tmp_path / "found.json", "--pictures", "2"]
    run = call_tool("eval_detection.py", *arguments, "--cfg-options", *small)
    assert run.returncode == 0, run.stderr
    alone, together = read_result(tmp_path / "result.json"), read_result(two_process_run / "run" / "result.json")
    assert alone.metrics == pytest.approx(together.metrics)
    assert len(json.loads((tmp_path / "found.json").read_text())) > 0
    assert (tmp_path / "pictures" / "sheet.png").stat().st_size > 1000
    summary = call_tool("summarize.py", two_process_run, tmp_path)
    assert summary.returncode == 0
    assert summary.stdout.count("mobilenet_v3_small") == 2


def test_data_root_may_come_from_the_environment(tmp_path):
    run = run_tool(
        "train.py", SSDLITE, "--work-dir", tmp_path, env={**os.environ, "DATA_ROOT": str(tmp_path / "moved")}
    )
    assert_plain_error(run, "moved")
