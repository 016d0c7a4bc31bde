"""Numbers on the command line: what cannot be is refused while the arguments are read, before anything heavy."""

import time

import pytest
from helpers import REPOSITORY, call_tool

from benchmark import cli

TRAIN = ("train.py", "configs/ssdlite_rexnet_x1.0.py")
EVAL = ("eval_detection.py", "configs/ssdlite_rexnet_x1.0.py", "x.pth")


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (TRAIN, ("--seed", "-1")),
        (TRAIN, ("--batch-size", "0")),
        (TRAIN, ("--batch-size", "99999999999999999999")),
        (TRAIN, ("--steps", "0")),
        (TRAIN, ("--steps", "1e3")),
        (TRAIN, ("--keep", "0")),
        (TRAIN, ("--pictures", "-1")),
        (EVAL, ("--pictures", "-1")),
        (EVAL, ("--bootstrap", "1")),
        (("eval_finegrained.py", "configs/finetune_cars_resnet50.py", "x.pth"), ("--worst", "-2")),
        (("sweep.py", "configs/finetune_cars_resnet50.py"), ("--trials", "0")),
        (("latency.py", "resnet50"), ("--threads", "0")),
        (("latency.py", "resnet50"), ("--runs", "0")),
        (("latency.py", "resnet50"), ("--input", "0")),
        (("compare.py", "a", "b"), ("--resamples", "1")),
        (("export.py", "configs/ssdlite_rexnet_x1.0.py", "x.pth", "--out", "x.onnx"), ("--opset", "7")),
        (("export.py", "configs/ssdlite_rexnet_x1.0.py", "x.pth", "--out", "x.onnx"), ("--tolerance", "nan")),
        (("predict.py", "configs/ssdlite_rexnet_x1.0.py", "x.pth", "a", "--out", "b"), ("--score-threshold", "30")),
        (("complexity.py",), ("--table", "3")),
        (("make_demo_data.py",), ("--val-images", "0")),
    ],
    ids=lambda part: " ".join(part),
)
def test_a_number_that_cannot_be_is_one_line(command, wrong):
    run = call_tool(*command, *wrong)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: argument {wrong[0]}: ") and len(run.stderr.splitlines()) == 1
    assert wrong[1] in run.stderr


def test_it_takes_nothing_heavy():
    import subprocess
    import sys

    command = [sys.executable, "-X", "importtime", str(REPOSITORY / "tools/train.py"), "x.py", "--seed", "-1"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert not any(f"| {name}\n" in run.stderr.replace("  ", "") for name in ("torch", "mmengine", "numpy"))


def test_a_training_speaks_before_it_takes_anything_heavy():
    import subprocess
    import sys

    config = "configs/ssdlite_rexnet_x1.0.py"
    command = [sys.executable, "-X", "importtime", "tools/train.py", config, "--cfg-options", "no_such_key=1"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert run.stdout == f"Preparing {config}\n" and "no_such_key" in run.stderr.splitlines()[-1]
    assert not any(f"| {name}\n" in run.stderr.replace("  ", "") for name in ("torch", "torchvision", "mmdet"))


def test_a_tool_that_takes_longer_than_a_second_says_what_it_is_at(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_QUIET", 0.05)
    monkeypatch.setattr(cli, "_open_streams", lambda: None)
    cli.run(lambda: cli.announce("Counting"))
    assert capsys.readouterr() == ("", "")
    cli.run(lambda: (cli.announce("Counting"), time.sleep(0.5)))
    assert capsys.readouterr() == ("", "Counting ...\n")


@pytest.mark.parametrize("tool", sorted((REPOSITORY / "tools").glob("*.py")), ids=lambda path: path.stem)
def test_every_tool_announces_its_work(tool):
    text = tool.read_text()
    assert "announce(" in text or 'print(f"Preparing' in text


def test_a_closed_standard_stream_is_no_error():
    import subprocess
    import sys

    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        command = f"exec {sys.executable} tools/models.py --family rexnet {closed}"
        ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=REPOSITORY)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ("rexnet_x1.0" in ended.stdout) == (">&-" not in closed.split())


def test_options_of_one_kind_add_up():
    from benchmark.cli import config_parser

    parsed = config_parser("", checkpoint=False).parse_args(
        ["x.py", "--cfg-options", "a=1", "b=2", "--demo", "--cfg-options", "c=3"]
    )
    assert parsed.cfg_options == ["a=1", "b=2", "c=3"]
