"""A series on a real Slurm of one node: requeued, cancelled, and left by who submitted it, it ends as one that is not.

``dev/slurm.sh install`` and ``dev/slurm.sh start`` make such a Slurm where they can.
"""

import os
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import kills
import pytest
from helpers import REPOSITORY, call_tool, run_tool, started_tool, wait_for, wait_until
from make_layouts import make_layout
from test_series import QUICK, results

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("data_cache")]
BUDGET = 40
SMALL = "mobilenet_v3_small"


@pytest.fixture(scope="module")
def shapes(demo_data, tmp_path_factory) -> Path:
    return make_layout("yolo", demo_data, tmp_path_factory.mktemp("own") / "shapes")


@pytest.fixture(scope="module")
def slurm() -> None:
    if find_spec("submitit") is None:
        pytest.skip("no submitit: pip install 'rexnet-benchmark[cluster]'")
    if subprocess.run([REPOSITORY / "dev/slurm.sh", "status"]).returncode:
        pytest.skip("no Slurm answers: dev/slurm.sh install, then dev/slurm.sh start (as root)")


def command(shapes: Path, folder: Path, *more: str) -> list[str]:
    options = ("train_dataloader.sampler.type=SampleStream", "default_hooks.logger.interval=1")
    arguments = [
        *("--dataset", shapes, "--backbones", SMALL, "--budget", BUDGET, "--seeds", 2, "--batch-size", 2),
        *("--pretrained", "none", "--work-dir", folder, *QUICK, *options, *more),
    ]
    return [str(argument) for argument in arguments]


@pytest.fixture(scope="module")
def alone(shapes, tmp_path_factory) -> Path:
    """A series on this machine that nothing disturbed, two runs at a time where it has two cores."""
    folder = tmp_path_factory.mktemp("alone") / "series"
    workers = str(min(2, len(os.sched_getaffinity(0))))
    outcome = run_tool("bench.py", *command(shapes, folder), "--workers", workers)
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    return folder


def assert_equal(folder: Path, alone: Path) -> None:
    """Hold results, and what the trainings ended with bit for bit, against those of a series that nothing disturbed."""
    assert results(folder) == results(alone)
    for run in results(alone):
        assert kills.differences(kills.state(folder / run), kills.state(alone / run)) == []


def job_of(out: Path, run: str) -> str:
    """Slurm's number of a run's job, as the series said it when it was submitted."""
    text = f"{SMALL}, {run}: submitted as Slurm's job "
    wait_for(out, text)
    return out.read_text().split(text)[1].split()[0]


def now(job: str) -> None:
    """Have a requeued job begin as soon as it can: by itself it waits two minutes."""
    wait_until(lambda: state_of(job) == "PENDING")
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)


def state_of(job: str) -> str:
    answer = subprocess.run(["squeue", f"--jobs={job}", "--noheader", "--format=%T"], capture_output=True, text=True)
    return answer.stdout.strip()


def log_of(folder: Path, seed: int) -> Path:
    return folder / f"logs/{SMALL}_seed{seed}.log"


def test_jobs_that_are_requeued_and_a_submitter_that_is_killed_change_nothing(slurm, alone, shapes, tmp_path):
    folder, out = tmp_path / "series", tmp_path / "out"
    on_slurm = command(shapes, folder, "--cluster", "slurm", "--minutes", "10", "--sbatch", "cpus-per-task=1")
    with started_tool("bench.py", *on_slurm, out=out) as process:
        first, second = job_of(out, "seed 0"), job_of(out, "seed 1")
        wait_for(log_of(folder, 0), f" 2/{BUDGET}  loss")
        subprocess.run(["scontrol", "requeue", first], check=True)  # by an operator, or for other jobs
        wait_for(log_of(folder, 1), f" 2/{BUDGET}  loss")
        subprocess.run(["scancel", "--signal=USR2", second], check=True)  # Slurm's warning
        for number in (first, second):
            now(number)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    outcome = run_tool("bench.py", *on_slurm, timeout=400)
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    assert_equal(folder, alone)
    assert "submitted as" not in outcome.stdout  # what ran on was found in the queue, or had finished
    for seed in (0, 1):
        assert "resumed epoch" in (folder / f"{SMALL}_seed{seed}/run.log").read_text()
    written = {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}
    again = run_tool("bench.py", *on_slurm)
    assert again.returncode == 0 and "2 are finished." in again.stdout and "Slurm's job" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")} == written


def test_a_cancelled_job_is_listed_and_goes_on_when_the_series_is_started_again(slurm, alone, shapes, tmp_path):
    folder, out = tmp_path / "series", tmp_path / "out"
    on_slurm = command(shapes, folder, "--cluster", "slurm", "--workers", "1")
    with started_tool("bench.py", *on_slurm, out=out) as process:
        first = job_of(out, "seed 0")
        wait_for(log_of(folder, 0), f" 2/{BUDGET}  loss")
        subprocess.run(["scancel", first], check=True)
        second = job_of(out, "seed 1")  # the place is free
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
    assert process.exitcode == 130
    said = out.with_suffix(".err").read_text()
    assert f"seed 0: failed: job {first} is CANCELLED" in out.read_text()
    assert f"1 jobs go on in Slurm's queue ({second})" in said and f"scancel {second}" in said
    outcome = run_tool("bench.py", *on_slurm, timeout=400)
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    assert_equal(folder, alone)


def test_a_run_that_fails_on_slurm_says_why(slurm, shapes, tmp_path):
    folder = tmp_path / "series"
    nan = ("optim_wrapper.optimizer.lr=1e30", "--seeds", "1", "--cluster", "slurm")
    outcome = run_tool("bench.py", *command(shapes, folder, *nan))
    assert outcome.returncode == 1 and "loss" in outcome.stderr, outcome.stderr
    assert "CANCELLED" not in outcome.stderr and str(log_of(folder, 0)) in outcome.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--partition", "nowhere"), "partition"),
        (("--sbatch", "nonsense=1"), "nonsense"),
        (("--sbatch", "time=3"), "--sbatch time"),
    ],
    ids=["partition", "unknown", "own"],
)
def test_what_slurm_refuses_is_refused_before_anything(options, words, slurm, shapes, tmp_path):
    outcome = call_tool("bench.py", *command(shapes, tmp_path / "series", "--cluster", "slurm", *options))
    assert outcome.returncode == 1 and words in outcome.stderr and not (tmp_path / "series").exists()


def test_without_slurm_the_option_says_what_is_missing(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = call_tool("bench.py", *command(shapes, tmp_path / "series", "--cluster", "slurm"))
    assert outcome.returncode == 1 and "sbatch is not here" in outcome.stderr and not (tmp_path / "series").exists()


def test_options_of_jobs_are_for_jobs(shapes, tmp_path):
    outcome = call_tool("bench.py", *command(shapes, tmp_path / "series", "--gpus", "1"))
    assert outcome.returncode == 1 and "--gpus" in outcome.stderr and "--cluster" in outcome.stderr
