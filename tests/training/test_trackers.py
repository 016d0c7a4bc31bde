"""Trackers beside TensorBoard: what they are told, offline and for real, and that none stops or slows a training."""

import json
import sqlite3
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from finegrained_layouts import MAKERS
from mmengine.config import Config
from test_finegrained_runs import options

from backbones.errors import UserError
from benchmark.config.load import load_config
from benchmark.files.run_folder import remove_run
from benchmark.training import trackers
from benchmark.training.tracker_process import OPEN, PROJECT
from benchmark.training.trackers import MlflowTracker, WandbTracker
from benchmark.training.train import train

pytestmark = pytest.mark.slow

# A W&B that writes what it is told into a file, or fails as it is asked to.
FAKE = """
import json, os, sys, time
out = open(os.environ["FAKE_OUT"], "a", buffering=1)
fails = os.environ.get("FAKE_FAILS", "")
if fails == "import":
    raise RuntimeError("no such plan")
def init(project, name, config, dir):
    if fails == "start":
        raise ConnectionError("api.wandb.ai is not reachable")
    if fails == "hangs":
        time.sleep(600)
    out.write(json.dumps([project, name, config["seed"] if "seed" in config else len(config)]) + "\\n")
    return sys.modules[__name__]
def log(scalars, step):
    if fails == "log":
        raise OSError(28, "No space left on device")
    if fails == "hangs later":
        time.sleep(600)
    out.write(json.dumps([step, scalars]) + "\\n")
def finish():
    if fails == "end":
        sys.exit("cannot sync")
    out.write('"finished"\\n')
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    MAKERS["imagefolder"](root)
    return root


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Path:
    """Put the fake in W&B's place; returns the file that it writes."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake/wandb.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path / "fake")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("FAKE_OUT", str(tmp_path / "told"))
    monkeypatch.setattr(trackers, "_LONGEST_WAIT", 5.0)
    return tmp_path / "told"


def told(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(root: Path, folder: Path, **changes):
    more = ("default_hooks.logger.interval=1", "log_processor.window_size=1")
    return train(
        options(root, folder, "imagefolder", *more),
        **{"pretrained": "none", "steps": 3, "save_interval": "1", **changes},
    )


def warnings(folder: Path) -> list[str]:
    return [line for line in (folder / "run.log").read_text().splitlines() if "The training goes on without it" in line]


def test_a_tracker_is_told_what_tensorboard_is(folders, fake, tmp_path):
    result = run(folders, tmp_path / "run", trackers=["wandb"])
    begun, *scalars, last = told(fake)
    assert begun[:2] == [PROJECT, "run"] and last == "finished"
    assert [step for step, figures in scalars if "loss" in figures] == [1, 2, 3]
    (evaluated,) = [figures for _, figures in scalars if "val/top1" in figures]
    assert evaluated["val/top1"] == pytest.approx(result.metrics["top1"])
    assert not warnings(tmp_path / "run")
    kept = load_config(tmp_path / "run/config.py").visualizer.vis_backends
    assert [backend.type for backend in kept] == ["TensorboardVisBackend"]  # an evaluation by it tracks nothing
    remove_run(tmp_path / "run")
    assert not list((tmp_path / "run").rglob("tracker_*"))


def test_a_training_that_resumes_tells_what_is_new(folders, fake, tmp_path):
    run(folders, tmp_path / "run")
    for name in ("iter_3.pth", "result.json"):
        (tmp_path / "run" / name).unlink()
    run(folders, tmp_path / "run", trackers=["wandb"], resume=True)  # also one that had no tracker before
    assert [step for step, figures in told(fake)[1:-1] if "loss" in figures] == [3]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("import", "no such plan"),
        ("start", "api.wandb.ai is not reachable"),
        ("hangs", "did not start"),
        ("log", "No space left on device"),
        ("end", "cannot sync"),
    ],
)
def test_a_tracker_that_fails_costs_one_warning(folders, fake, tmp_path, monkeypatch, how, words):
    monkeypatch.setenv("FAKE_FAILS", how)
    if how == "hangs":
        monkeypatch.setattr(trackers, "_LONGEST_WAIT", 0.5)
    result = run(folders, tmp_path / "run", trackers=["wandb"])
    assert result.training.iterations == 3
    (warning,) = warnings(tmp_path / "run")
    assert words in warning and "--tracker wandb" in warning


def started(folder: Path) -> WandbTracker:
    tracker = WandbTracker(str(folder))
    tracker.add_config(Config(dict(work_dir=str(folder / "run"), a=dict(b=1))))
    return tracker


def test_nothing_waits_for_a_tracker_that_hangs(fake, tmp_path, monkeypatch):
    """Ten megabytes in a moment, to one that reads none of them; then it is given up, once."""
    monkeypatch.setenv("FAKE_FAILS", "hangs later")
    tracker, seen = started(tmp_path), []
    monkeypatch.setattr(tracker, "_give_up", lambda why: (seen.append(why), setattr(tracker, "_failed", True)))
    begun = time.perf_counter()
    for step in range(1000):
        tracker.add_scalars({f"{'x' * 10_000}": 1.0}, step)
    tracker.close()
    assert time.perf_counter() - begun < 2
    assert seen == ["does not keep up"]
    assert tracker.experiment.wait(10) == -9


def test_a_place_that_cannot_be_written_is_one_warning(fake, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    tracker = WandbTracker(str(tmp_path / "file"))
    tracker.add_config(Config(dict(work_dir="run")))
    tracker.add_scalars({"loss": 1.0}, 1)
    tracker.close()
    assert tracker.experiment is None


def test_what_is_no_figure_is_left_out(fake, tmp_path):
    tracker = started(tmp_path)
    tracker.add_scalars({"loss": float("nan"), "step": 3, "name": "text", "none": None})
    tracker.add_scalar("top1", 5, 7)
    tracker.close()
    assert told(fake)[1:] == [[7, {"top1": 5.0}], "finished"]


@pytest.mark.parametrize(
    ("names", "words"),
    [(["wandb", "wandb"], "--tracker wandb is given twice"), (["mlflow"], "the package mlflow is not installed")],
)
def test_what_cannot_track_is_refused(folders, fake, tmp_path, monkeypatch, names, words):
    monkeypatch.setattr(trackers, "find_spec", lambda name: find_spec(name) if name == "wandb" else None)
    with pytest.raises(UserError, match=words):
        run(folders, tmp_path / "run", trackers=names)
    assert not (tmp_path / "run").exists()


# For real, without a network.


def installed(name: str) -> str:
    return pytest.param(
        name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"the package {name} is not installed")
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [installed(name) for name in OPEN])
def test_a_tracker_offline_for_real(folders, tmp_path, monkeypatch, name):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setattr(trackers, "_LONGEST_WAIT", 200.0)
    monkeypatch.chdir(tmp_path)
    result = run(folders, tmp_path / "run", trackers=[name])
    assert not warnings(tmp_path / "run")
    assert READ[name](tmp_path) == {1, 2, 3}, result


def _wandb_steps(folder: Path) -> set[int]:
    (file,) = (folder / "run/vis_data/wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    assert b"val/top1" in content and b"loss_cls" in content
    return {1, 2, 3}  # of its own format only the names are plain


def _mlflow_steps(folder: Path) -> set[int]:
    with sqlite3.connect(folder / "store.db") as store:
        assert store.execute("select count(*) from metrics where key = 'val/top1'").fetchone() == (1,)
        assert store.execute("select value from params where key = 'model.backbone.name'").fetchone() == (
            "mobilenet_v3_small",
        )
        return {step for (step,) in store.execute("select step from metrics where key = 'loss'")}


def _trackio_steps(folder: Path) -> set[int]:
    with sqlite3.connect(folder / f"trackio/{PROJECT}.db") as store:
        rows = store.execute("select step, metrics from metrics").fetchall()
    assert any("val/top1" in json.loads(metrics) for _, metrics in rows)
    return {step for step, metrics in rows if "loss" in json.loads(metrics)}


READ = {"wandb": _wandb_steps, "mlflow": _mlflow_steps, "trackio": _trackio_steps}


def test_every_tracker_has_its_back_end():
    assert set(OPEN) == set(trackers._TYPES) == set(READ)
    assert MlflowTracker.name == "mlflow"
