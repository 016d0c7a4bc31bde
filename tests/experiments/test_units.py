"""Units of work: each kept as soon as it is done, a folder of one config, and what is refused in a line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import REPOSITORY

from backbones.errors import UserError
from benchmark.experiments import rank
from benchmark.experiments.artefact import read_artefact
from benchmark.experiments.run import run_experiment
from benchmark.experiments.table import EXPERIMENTS
from benchmark.experiments.units import do_units
from benchmark.files.run_folder import EXPERIMENT, UNITS


def double(number: int) -> dict[str, np.ndarray]:
    if number < 0:
        raise ValueError("negative")
    return {"value": np.array(2 * number)}


def marked(path: str) -> dict[str, np.ndarray]:
    """Leave a mark that this unit was worked on."""
    with open(path, "a") as file:
        file.write("x")
    return {"value": np.array(len(path))}


def test_units_come_back_by_name_and_are_kept(tmp_path):
    units = {"a": str(tmp_path / "mark_a"), "b": str(tmp_path / "mark_b")}
    first = do_units(tmp_path, units, marked, processes=0)
    again = do_units(tmp_path, units, marked, processes=0)
    assert first.keys() == again.keys() == units.keys()
    assert [values["value"] for values in again.values()] == [len(path) for path in units.values()]
    assert (tmp_path / "mark_a").read_text() == "x"


def test_a_unit_that_fails_costs_no_other(tmp_path):
    with pytest.raises(ValueError, match="negative"):
        do_units(tmp_path, {"a": 1, "b": -1, "c": 2}, double, processes=0)
    assert [path.name for path in (tmp_path / UNITS).iterdir()] == ["a.npz"]
    assert do_units(tmp_path, {"a": 1, "c": 2}, double, processes=0)["c"]["value"] == 4


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off"])
def test_a_damaged_unit_is_done_again(tmp_path, damage):
    do_units(tmp_path, {"a": 1}, double, processes=0)
    (tmp_path / UNITS / "a.npz").write_bytes(damage)
    assert do_units(tmp_path, {"a": 1}, double, processes=0)["a"]["value"] == 2


@pytest.fixture
def tiny(monkeypatch):
    """The rank of a few tiny networks in place of the quick run."""
    small = {"networks": 4, "networks_per_unit": 2, "d_out": [8, 12], "ratios": [0.2, 0.5, 1.0], "tolerances": [0.01]}
    for key, value in small.items():
        monkeypatch.setitem(rank.QUICK, key, value)
    monkeypatch.setattr("benchmark.experiments.run.available_cores", lambda: 0)


@pytest.mark.slow
def test_a_folder_is_resumed_and_one_of_another_config_refused(tiny, tmp_path):
    made, folder = run_experiment("rank", work_dir=tmp_path / "run", quick=True)
    assert read_artefact(folder / "artefact.json") == made
    assert made.title.endswith("quick run") and len(made.claims) == len(rank.CLAIMS)
    assert sorted(path.name for path in folder.iterdir() if path.suffix) == [
        "artefact.json", "experiment.json", "figure.png", "figure.svg",
    ]  # fmt: skip
    units = {path.name: path.stat().st_mtime_ns for path in (folder / UNITS).iterdir()}
    assert len(units) == 6 * 3 * 2
    again, _ = run_experiment("rank", work_dir=folder, quick=True)
    assert again.claims == made.claims and again.series == made.series
    assert {path.name: path.stat().st_mtime_ns for path in (folder / UNITS).iterdir()} == units
    with pytest.raises(UserError, match=r"belongs to another config: its ratios is \[0.2, 0.5, 1.0\], this one's"):
        run_experiment("rank", work_dir=folder)


def test_what_cannot_be_is_refused_in_a_line(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'rank'"):
        run_experiment("ranks", work_dir=tmp_path / "run")
    with pytest.raises(UserError, match="Did you mean 'expansion_harms'"):
        run_experiment("rank", work_dir=tmp_path / "run", claims=["expansion_harm"])
    with pytest.raises(UserError, match="takes no data"):
        run_experiment("rank", work_dir=tmp_path / "run", data_root=tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    with pytest.raises(UserError, match="holds something else"):
        run_experiment("rank", work_dir=tmp_path / "other")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / EXPERIMENT).write_text("[]")
    with pytest.raises(UserError, match="not readable"):
        run_experiment("rank", work_dir=tmp_path / "damaged")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_experiment_leaves_no_process_and_loses_no_unit(tmp_path):
    command = [sys.executable, str(REPOSITORY / "tools/experiment.py"), "rank", "--quick", "--work-dir", str(tmp_path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(f"{UNITS}/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.1)
    children = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name for path in tmp_path.glob(f"{UNITS}/*.npz")}
    assert kept and children
    while any(map(_lives, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_lives, children))
    assert json.loads((tmp_path / EXPERIMENT).read_text())["experiment"] == "rank"
    assert kept <= {path.name for path in tmp_path.glob(f"{UNITS}/*.npz")}


def _children(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _lives(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_every_row_leads_to_an_experiment_with_claims():
    from benchmark.experiments.run import find_experiment, plain

    for name in EXPERIMENTS:
        experiment = find_experiment(name)
        assert experiment.claims and plain(experiment.config) == experiment.config, name
        assert experiment.quick.keys() <= experiment.config.keys(), name
        assert os.path.exists(f"{REPOSITORY}/benchmark/experiments/{EXPERIMENTS[name].module}.py")
