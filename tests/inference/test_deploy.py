"""The table of formats: figures paired with PyTorch's, times in processes of their own, work that is not done twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import SMALL, build_detector, call_tool
from onnx import TensorProto, helper

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.evaluation.accuracy import Answers, paired_difference
from benchmark.inference.deploy import run as deploying
from benchmark.inference.deploy import workers
from benchmark.inference.deploy.labelled import calibration_pictures, label_pictures
from benchmark.inference.deploy.portable import write_bundle
from benchmark.inference.deploy.run import WORKER, check_quiet, choose_formats
from benchmark.inference.deploy.workers import Subject, Timed, time_subjects
from benchmark.inference.export.source import prepare, read_config
from benchmark.measuring import machine
from benchmark.records.deploy import DeployFile, DeployTable, TimedRow
from benchmark.reporting.deployed import render, write_reports

CONFIG = CONFIGS / "ssdlite_mobilenet_v3_large.py"
DEMO = ("train_images=16", "val_images=6")


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    """A folder with a file that doubles its input, its inputs, and a file that is none."""
    folder = tmp_path_factory.mktemp("doubling")
    graph = helper.make_graph(
        [helper.make_node("Add", ["image", "image"], ["logits"])],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"kind": "classifier"})
    onnx.save(model, folder / "double.onnx")
    (folder / "broken.onnx").write_text("no model")
    np.savez(folder / "sample.npz", image=np.zeros((1, 3), np.float32))
    return folder


@pytest.fixture(scope="module")
def options(demo_data):
    return Options(CONFIG, cfg_options=(*SMALL, *DEMO), demo=True, data_root=demo_data)


@pytest.fixture(scope="module")
def checkpoint(options, randomise, tmp_path_factory):
    detector = build_detector(deploying.read_config(options))
    path = tmp_path_factory.mktemp("run") / "iter_8.pth"
    torch.manual_seed(1)
    randomise(detector)
    for convs, std in ((detector.bbox_head.cls_convs, 1.0), (detector.bbox_head.reg_convs, 0.1)):
        for conv in convs:
            torch.nn.init.normal_(conv[-1].weight, std=std)
    torch.save({"state_dict": detector.state_dict(), "meta": {}}, path)
    return path


def table(*rows: TimedRow, **changes) -> DeployTable:
    return DeployTable(backbone="rexnet_x1.0", config="ssdlite_rexnet_x1.0", rows=rows, machine="Abacus", **changes)


def row(**changes) -> TimedRow:
    return TimedRow(**{"format": "onnx", "precision": "fp32", "figure": "box_AP", **changes})


def test_a_difference_of_accuracies_is_of_the_same_images_drawn_together():
    labels, other = np.arange(40) % 4, (np.arange(40) + 1) % 4
    many_wrong = labels[:, None].copy()
    many_wrong[:20, 0] = other[:20]  # the same ones in both
    one_more = many_wrong.copy()
    one_more[20] = other[20]
    a, b = Answers(labels, one_more, 4), Answers(labels, many_wrong, 4)
    difference, (low, high) = paired_difference(a, b, "top1", 500)
    assert difference == -2.5
    assert -7.6 < low < -2.5 < high < 2.6  # one image, drawn 0 to some times
    assert paired_difference(b, b, "top1", 100) == (0.0, (0.0, 0.0))


def test_formats_that_are_absent_are_listed_or_refused(monkeypatch):
    missing = {"openvino"}
    monkeypatch.setattr(
        deploying.FORMATS["onnx"].__class__, "missing", lambda self, **kwargs: sorted(missing & {self.module})
    )
    chosen, absent = choose_formats(["all"])
    assert {"pytorch", "pytorch_compiled", "onnx"} <= set(chosen) and "openvino" not in chosen
    assert "pip install 'rexnet-benchmark[openvino]'" in absent["openvino"]
    with pytest.raises(UserError, match="OpenVINO files need openvino, not installed here"):
        choose_formats(["onnx", "openvino"])
    with pytest.raises(UserError, match=r"Unknown format 'onx'\. Did you mean 'onnx'"):
        choose_formats(["onx"])
    assert choose_formats(["onnx", "pytorch"]) == (["pytorch", "onnx"], {})


def test_a_busy_machine_is_refused_unless_told(monkeypatch):
    monkeypatch.setattr(deploying, "busy_share", lambda: 0.6)
    with pytest.raises(UserError, match=r"Other processes take 60% of this machine.*--busy-ok"):
        check_quiet(False)
    assert check_quiet(True) == 0.6
    monkeypatch.setattr(deploying, "busy_share", lambda: 0.1)
    assert check_quiet(False) == 0.1


def test_the_share_of_others_is_read_from_the_kernel(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 800 0 0 0\ncpu0 1\n")
    monkeypatch.setattr(machine, "_STAT", stat)
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: stat.write_text("cpu  130 0 110 850 10 0 0\n"))
    assert machine.busy_share() == pytest.approx(0.4)  # of 100 ticks 40 were neither idle nor waiting for a disk
    monkeypatch.setattr(machine, "_STAT", tmp_path / "absent")
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (1.0, 0, 0))
    monkeypatch.setattr(machine, "available_cores", lambda: 4)
    assert machine.busy_share() == 0.25


def test_every_file_is_timed_in_a_process_of_its_own_and_one_that_cannot_run_says_why(doubling):
    sample = doubling / "sample.npz"
    subjects = [Subject("onnx", doubling / f"{name}.onnx", 1) for name in ("double", "broken", "double")]
    first, broken, second = time_subjects(subjects, sample, WORKER, 4)
    assert isinstance(broken, str) and "onnxruntime cannot run" in broken
    for timed in (first, second):
        assert isinstance(timed, Timed)
        assert timed.wall.shape == timed.cpu.shape == (4,)
        assert 0 < timed.median < 1000 and timed.quartiles[0] <= timed.median <= timed.quartiles[1]
        assert timed.peak < 500e6  # a process without PyTorch
    assert time_subjects([subjects[1]], sample, WORKER, 4) == [broken]


def test_a_folder_called_like_an_option_is_one(doubling, tmp_path, monkeypatch):
    shutil.copytree(doubling, tmp_path / "-folder")
    monkeypatch.chdir(tmp_path)
    folder = Path("-folder")
    [found] = time_subjects([Subject("onnx", folder / "double.onnx", 1)], folder / "sample.npz", WORKER, 1)
    assert isinstance(found, Timed)


def test_a_process_that_ends_is_named(doubling):
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    (found,) = time_subjects([Subject("onnx", doubling / "double.onnx", 1)], doubling / "sample.npz", killed, 1)
    assert found == "its process ended with status -9"
    leaves = [sys.executable, "-c", "print('[]')"]
    with pytest.raises(workers.WorkerError, match="its process ended with status 0"):
        time_subjects([Subject("onnx", doubling / "double.onnx", 1)], doubling / "sample.npz", leaves, 1)


def test_text_and_markdown_have_the_intervals_and_say_what_is_absent(tmp_path):
    made = table(
        row(value=40.0, interval=(38.0, 42.0), ms=30.0, ms_interval=(29.5, 31.0), cpu_ms=30.1, peak_mb=101.4, mb=17.8),
        row(
            format="openvino",
            precision="int8",
            value=39.8,
            delta=-0.2,
            delta_interval=(-0.6, 0.04),
            ms=8.0,
            note="in float: 1 to 3",
        ),
        row(format="ncnn", note="ncnn files need ncnn, not installed here"),
        rounds=50,
        busy=0.01,
        pictures=100,
        date="2026-11-27",
    )
    text = render(made, "github")
    cells = [cell.strip() for cell in next(line for line in text.splitlines() if line.startswith("| onnx")).split("|")]
    assert cells[1:8] == ["onnx", "fp32", "-", "17.8", "40.0", "-", "30.0 (29.5-31.0)"]
    assert "-0.2 (-0.6 to +0.0)" in text
    assert "| ncnn" not in text and "- ncnn fp32: ncnn files need ncnn, not installed here" in text
    assert "median of 50 interleaved rounds" in text and "Others took 1% of the machine" in text
    printed = write_reports(made, tmp_path)
    assert "deploy.svg" in printed and "openvino int8" in (tmp_path / "deploy.svg").read_text()
    made.write(tmp_path / "deploy.json")
    assert DeployTable.read(tmp_path / "deploy.json") == made
    printed = call_tool("latency.py", "--read", tmp_path / "deploy.json")
    assert printed.returncode == 0 and "-0.2 (-0.6 to +0.0)" in printed.stdout, printed.stderr
    both = call_tool("latency.py", "rexnet_x1.0", "--read", tmp_path / "deploy.json")
    assert both.returncode == 2 and "--read" in both.stderr
    assert DeployFile.read(tmp_path / "deploy.json").rows[1].delta == -0.2  # what others read


def test_pictures_to_calibrate_on_are_training_pictures_of_all_classes(options, checkpoint, demo_data):
    source = prepare(read_config(options), checkpoint)
    chosen = calibration_pictures(source, None, 8)
    assert len(set(chosen)) == 8 and {path.parent.name for path in chosen} == {"train2017"}
    assert len(calibration_pictures(source, None, 100)) <= 16
    with pytest.raises(UserError, match=r"is a validation picture"):
        calibration_pictures(source, demo_data / "val2017", 2)
    assert len(label_pictures(source).paths) == 6


@pytest.fixture(scope="module")
def deployed(checkpoint, demo_data, tmp_path_factory):
    """A folder that the tool has filled."""
    folder = tmp_path_factory.mktemp("deploy") / "files"
    made = call(checkpoint, demo_data, folder)
    assert made.returncode == 0, made.stderr
    assert "openvino  int8" in made.stdout
    return folder


def call(checkpoint: Path, data: Path, folder: Path, *more: object):
    options = ("--formats", "pytorch,onnx,openvino", "--int8", "--max-drop", 90, "--calibrate", 4, "--rounds", 2)
    return call_tool(
        "deploy.py",
        *(CONFIG, checkpoint, *options, "--busy-ok", "--work-dir", folder, "--demo", "--data-root", data),
        *(*more, "--cfg-options", *SMALL, *DEMO),
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tool_makes_checks_evaluates_and_times_every_file(deployed):
    made = DeployTable.read(deployed / "deploy.json")
    rows = {(each.format, each.precision): each for each in made.rows}
    assert [*rows] == [
        ("pytorch", "fp32"),
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("openvino", "fp32"),
        ("openvino", "int8"),
    ]
    assert made.backbone == "mobilenet_v3_small" and made.pictures == 6 and made.rounds == 2
    for (_, precision), each in rows.items():
        assert each.ms and each.all_ms and each.cpu_ms and each.peak_mb and each.value is not None
        assert each.verified == ("yes" if precision == "fp32" else "by figure")
    for name in ("onnx", "openvino"):
        exact, rounded = rows[name, "fp32"], rows[name, "int8"]
        assert exact.delta == pytest.approx(0, abs=0.1)
        assert rounded.mb < exact.mb / 2 and (deployed / rounded.file).is_file()
        assert "4 training pictures" in rounded.note
    assert rows["onnx", "fp32"].peak_mb < rows["pytorch", "fp32"].peak_mb / 2
    assert {"deploy.md", "deploy.svg", "deploy.png", "portable.pyz", "sample.npz"} <= {*os.listdir(deployed)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_done_is_not_done_again(deployed, checkpoint, demo_data, monkeypatch):
    before = {path.name: path.stat().st_mtime_ns for path in deployed.iterdir() if "ssdlite" in path.name}
    table_before = DeployTable.read(deployed / "deploy.json")
    weights = deployed / "ssdlite_mobilenet_v3_small.onnx"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    made = call(checkpoint, demo_data, deployed)
    assert made.returncode == 0, made.stderr
    after = {path.name: path.stat().st_mtime_ns for path in deployed.iterdir() if "ssdlite" in path.name}
    assert [name for name in after if after[name] != before[name]] == [weights.name]  # it alone was made again
    again = {(each.format, each.precision): each for each in DeployTable.read(deployed / "deploy.json").rows}
    for each in table_before.rows:
        assert again[each.format, each.precision].value == each.value
    other = call(checkpoint, demo_data, deployed, "--max-drop", 80)
    assert other.returncode == 1 and "was made with another max_drop" in other.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_bundle_times_the_files_without_pytorch(doubling, deployed, tmp_path):
    """In an environment that uv makes, with onnxruntime and NumPy alone: its times agree with those of deploy."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        pytest.skip("uv is not installed here")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "bare"], check=True, env=environment)
    python = tmp_path / "bare/bin/python"
    installed = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "numpy", "onnxruntime"], env=environment
    )
    if installed.returncode:
        pytest.skip("onnxruntime cannot be installed here")
    place = tmp_path / "elsewhere"
    shutil.copytree(deployed, place, ignore=shutil.ignore_patterns("units"))
    done = subprocess.run(
        [python, "portable.pyz", "--rounds", "10", "--busy-ok", "--out", "times.json"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = {each.file: each for each in DeployTable.read(place / "times.json").rows}
    known = {each.file: each for each in DeployTable.read(place / "deploy.json").rows if each.file}
    assert found.keys() == known.keys()
    for name, each in found.items():
        assert (each.value, each.delta) == (known[name].value, known[name].delta)
        if each.format == "openvino":
            assert each.ms is None and each.note == "not timed: needs openvino, not installed here"
        else:
            assert each.cpu_ms == pytest.approx(known[name].cpu_ms, rel=0.5)
    assert "torch" not in done.stderr
    absent = subprocess.run(
        [python, place / "portable.pyz", place / "none.onnx"], env=environment, capture_output=True, text=True
    )
    assert absent.returncode == 1 and "none.onnx is no exported file" in absent.stderr


def test_the_bundle_is_one_file_that_python_runs(tmp_path, doubling):
    place = tmp_path / "files"
    shutil.copytree(doubling, place)
    write_bundle(place / "portable.pyz")
    done = subprocess.run(
        [sys.executable, "portable.pyz", "--rounds", "2", "--busy-ok"],
        cwd=place,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = {each["file"]: each for each in json.loads(done.stdout)["rows"]}
    assert found["double.onnx"]["ms"] > 0 and found["double.onnx"]["figure"] == "top1"
    assert found["broken.onnx"]["ms"] is None and "cannot run" in found["broken.onnx"]["note"]


def test_a_format_that_cannot_be_run_here_is_not_timed_and_says_why(tmp_path):
    with pytest.raises(UserError, match="Core ML runs on Apple's systems alone"):
        workers.load("coreml", tmp_path / "x.mlpackage", 1)
