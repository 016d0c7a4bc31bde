"""Every tool over one table of hostile arguments, files and folders: refused in a line that names it, and no change.

A new tool is in it by being in tools/. A row applies to the tools that take its arguments.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hostile_world import (
    CHECKPOINTS,
    DETECTIONS,
    SMALL,
    TOOLS,
    arguments_of,
    call,
    closed_output,
    command_line,
    complaint,
    fingerprint,
    full_output,
    load_tool,
    make_world,
)
from PIL import Image

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.training.plan import plan_training
from benchmark.training.processes import is_main

pytestmark = pytest.mark.slow

EVALUATIONS = [tool for tool in TOOLS if tool.startswith("eval_")]
FINETUNE, SSDLITE = (str(CONFIGS / f"{name}.py") for name in ("finetune", "ssdlite"))
HUGE = "99999999999999999999"


@dataclass(frozen=True)
class Row:
    """Arguments in place of valid ones, and what the message must name."""

    name: str
    words: str
    changes: dict[str, str | Sequence[str] | None] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    tools: Sequence[str] = TOOLS
    writes: bool = False  # into the run's folder, before the error

    def applies(self, tool: str) -> bool:
        needed = self.changes.keys() | ({"cfg_options"} if self.overrides else set())
        return tool in self.tools and needed <= arguments_of(tool).keys()


def number(name: str, *values: str) -> list[Row]:
    option = "--" + name.replace("_", "-")
    return [Row(f"{option} {value}", option, {name: value}) for value in values]


NUMBERS = [
    *number("seed", "-1", "x", HUGE),
    *number("batch_size", "0", "-1", HUGE, "1.5", ""),
    *number("input", "0", "-5", "1000000"),
    *(Row(f"--pictures {n}", n, {"pictures": n}) for n in ("-1", HUGE)),
    *number("worst", "-1"),
    *number("bootstrap", "1", "-1", "1000000000"),
    *number("resamples", "1", "1000000000"),
    *number("threads", "0", "100000"),
    *number("steps", "0", "-1", "nan"),
    *number("trials", "0"),
    *number("budget", "0", "x"),
    *number("seeds", "0"),
    *number("workers", "0"),
    Row("a backbone that is none", "rexnet_x1.0", {"backbones": "rexnet_1.0"}),
    Row("a series with a backbone of a long name", "too long", {"backbones": "timm:" + "x" * 5000}),
    Row("a backbone of a long name", "too long", {"backbone": "timm:" + "x" * 5000}),
    Row("a template of a long name", "so long a name", {"template": "x" * 5000}),
    *(Row(f"backbones {text!r}", "names with commas", {"backbones": text}) for text in ("", ",", "resnet50,")),
    *number("keep", "0"),
    Row("unknown tracker", "--tracker", {"trackers": "aim"}),
    *number("lr", "0.1", "Auto"),
    Row("a search in too few steps", "--steps 54", {"lr": "auto", "steps": "53"}),
    Row("a search for what is said", "contradict", {"lr": "auto"}, overrides=("learning_rate=0.1",)),
    *number("early_stop", "0", "-1", "x"),
    *number("freeze_stages", "-2", "5", "x"),
    *number("accumulate", "0", "1", "1.5", HUGE),
    Row("parts that are not equal", "equal parts", {"accumulate": "3", "batch_size": "4"}),
    Row("an early stop after the end", "val_interval", {"early_stop": "2", "steps": "4"}),
    *number("runs", "0"),
    *number("opset", "7"),
    Row("--canvas of no size", "--canvas", {"canvas": ("33", "0")}),
    Row("--canvas of one stage", "two-stage", {"canvas": ("320", "320")}),
    Row("--opset 99", "its newest", {"opset": "99"}),
    Row("--grid of billions", "too many points", {"grid": "99999x99999"}),
    Row(
        "a batch without end",
        "not enough memory",
        {
            **dict.fromkeys(("backbone", "training", "loader", "demo", "data_root")),
            **{"batch_size": "2147483647", "models": SMALL, "runs": "1"},
        },
    ),
    Row("runs in a file", "file", {"folders": "{w}/file", "run": ()}),
    *number("tolerance", "nan", "-1"),
    *number("max_drop", "0", "nan"),
    *number("calibrate", "0"),
    *number("rounds", "0"),
    Row("a drop without INT8", "--int8", {"max_drop": "1", "int8": None}),
    Row("pictures without INT8", "--int8", {"calibration": "{w}/pictures", "int8": None}),
    *number("score_threshold", "2", "nan"),
    *number("frames", "0", "-1", "x"),
    *number("train_images", "0", HUGE),
    *number("val_images", "0"),
    Row("workers -1", "num_workers", overrides=("val_dataloader.num_workers=-1", "train_dataloader.num_workers=-1")),
    Row("workers x", "num_workers", overrides=("val_dataloader.num_workers='x'",)),
    Row("val batch 0", "batch_size", overrides=("val_dataloader.batch_size=0",)),
    *(Row(f"--save-interval {value}", "save-interval", {"save_interval": value}) for value in ("0", "-1", "x", "0m")),
    *(Row(f"--grid {value}", "--grid", {"grid": value}) for value in ("0x0", "x", "3", "-1x2")),
]
NAMES = [
    Row("unknown backbone", "rexnet_1.0", {"backbone": "rexnet_1.0"}),
    Row("unknown timm backbone", "'nothing'", {"backbone": "timm:nothing"}),
    Row("unknown data set", "cocoo", {"dataset": "cocoo"}),
    Row("unknown config", "absent.py", {"config": "absent.py"}),
    Row("config is a folder", "folder", {"config": "{w}/folder"}),
    Row("config is no config", "file", {"config": "{w}/file"}),
    Row("unknown data", "Did you mean 'coco'", {"data": "cocoo", "backbone": None}),
    Row("unknown model", "nothing", {"models": "nothing", "backbone": None}),
    Row("unknown table", "table0", {"table": "table0"}, tools=("reproduce",)),
    Row("slurm without slurm", "SLURM", {"launcher": "slurm"}),
    Row("pytorch without torchrun", "torchrun", {"launcher": "pytorch"}),
    Row("unknown launcher", "--launcher", {"launcher": "mpi"}),
    Row("unknown experiment", "'rank'", {"experiment": "rankk"}),
    Row("unknown claim", "expansion_harms", {"claim": "expansion_harm"}),
    Row("unknown pictures", "--data", {"experiment": "factors", "data": "cifar1000"}, tools=("experiment",)),
    Row("unknown setting", "'epochs'", {"experiment": "factors", "set": "epoch=3"}),
    Row("setting of another kind", "whole number", {"experiment": "factors", "set": "epochs=many"}),
    Row("an experiment without data", "takes no data", {"experiment": "rank", "data_root": "{w}/folder"}),
    Row("missing CIFAR", "CIFAR-100 is not whole", {"experiment": "channel_search", "data_root": "{w}/folder"}),
    Row("a constraint that nothing meets", "30M multiply-adds", {"experiment": "channel_search", "set": "tolerance=0"}),
    Row(
        "an artefact of another config",
        "belongs to another config",
        {"experiment": "rank", "work_dir": "{w}/other_experiment"},
    ),
    Row("unknown precision", "--precision", {"precision": "fp8"}),
    Row("unknown device", "--device", {"device": "tpu"}),
    Row("unknown type", "Nope", overrides=("model.type=Nope",)),
    Row("unknown optimiser", "Nope", overrides=("optim_wrapper.optimizer.type=Nope",), tools=("train",)),
    Row("unknown key", "modell", overrides=("modell.type=Nope",)),
    Row("type is no name", "optim_wrapper.optimizer", overrides=("optim_wrapper.optimizer.type=..",), tools=("train",)),
    *(
        Row(f"type is {value}", "model.type", overrides=(f"model.type={value}",))
        for value in ("[]", "None", "1.5", "{{'a': 1}}")
    ),
    Row("data set's type is a list", "val_dataloader.dataset.type", overrides=("val_dataloader.dataset.type=[]",)),
    Row("unknown visualizer", "Nope", overrides=("visualizer={{'type': 'Nope'}}",), tools=("train", "eval_detection")),
    Row("hooks that are none", "custom_hooks", overrides=("custom_hooks=2,3",), tools=("train", "eval_detection")),
    Row("unknown hook", "Nope", overrides=("custom_hooks=[{{'type': 'Nope'}}]",), tools=("train", "eval_detection")),
    Row("a part that the model has not", "bbox_head", overrides=("model.bbox_head=1.5",), tools=("eval_finegrained",)),
    Row("hooks are numbers", "custom_hooks", overrides=("custom_hooks=2,3",), tools=("train", "eval_imagenet")),
    Row("no pair", "nonsense", overrides=("nonsense",)),
    Row(
        "another task's config",
        "finegrained",
        {"config": FINETUNE, "dataset": "imagefolder", "data_root": "{w}/folders"},
        tools=("eval_detection", "eval_segmentation", "predict"),
    ),
    Row(
        "a detector's config",
        "ssdlite",
        {"config": SSDLITE, "dataset": None, "data_root": "{w}/data"},
        tools=("eval_finegrained", "eval_segmentation", "sweep"),
    ),
    Row("unknown metric", "box_APP", {"metric": "box_APP"}),
    Row("unknown column", "macss", {"sort": "macss"}),
    Row("unknown format", "--format", {"format": "docx"}),
    Row("formats unknown", "Did you mean 'onnx'", {"formats": "pytorch,onx"}),
    Row("INT8 of no format that has it", "name one of these", {"formats": "pytorch"}),
    Row("unknown style", "--format", {"style": "docx"}),
]
OUTPUTS = [
    *(
        Row(f"--out {name}", str(Path(place).parent), {"out": place})
        for name, place in {"below a file": "{w}/file/x", "in /proc": "/proc/nowhere/x"}.items()
    ),
    Row("--confusion in /proc", "/proc", {"confusion": "/proc/x"}, tools=("eval_finegrained", "eval_imagenet")),
    Row("--out in the root of /proc", "/proc", {"out": "/proc/x"}, tools=("eval_detection", "summarize")),
    Row("--log is a pipe", "fifo.pth", {"log": "{w}/fifo.pth"}, tools=("reproduce",)),
    Row("a demo of no weights", "/proc/x", {"pretrained": "/proc/x", "data_root": "{w}/absent/x"}, tools=("train",)),
    Row("a demo never saved", "0h", {"save_interval": "0h", "data_root": "{w}/absent/x"}, tools=("train",)),
    Row("--work-dir holds a pipe", "result.json", {"work_dir": "{w}/fifo_run"}, tools=("train", *EVALUATIONS)),
    Row("--out is a folder", "folder", {"out": "{w}/folder"}),
    Row("--out is /dev/full", "/dev/full", {"out": "/dev/full"}, writes=True),
    *(
        Row(
            f"--out is {kind}",
            kind,
            {"out": f"{{w}}/{kind}"},
            tools=("eval_detection", "eval_segmentation", "summarize"),
        )
        for kind in ("meta_none.pth", "pictures/a.png")
    ),
    Row("--confusion is another file", "{w}/file", {"confusion": "{w}/file"}),
    Row("--confusion below a file", "{w}/file", {"confusion": "{w}/file/x"}, tools=("eval_finegrained",)),
    Row("--work-dir is a file", "file", {"work_dir": "{w}/file"}),
    Row("--work-dir below a file", "file/x", {"work_dir": "{w}/file/x"}),
    Row("--work-dir in /proc", "/proc", {"work_dir": "/proc/nowhere/x"}),
    Row("data below a file", "file/x", {"root": "{w}/file/x"}),
    Row("data in /proc", "/proc/nowhere", {"root": "/proc/nowhere"}),
    Row("data over others", "folder", {"root": "{w}/folder"}),
    *(
        Row(f"data in the current folder, for {tool}", "current folder", {"data_root": "."}, tools=(tool,))
        for tool in ("train", "eval_detection", "eval_finegrained")
    ),
    Row("made in the current folder", "current folder", {"root": "."}),
    Row(
        "no data for an unknown backbone",
        "rexnet_1.0",
        {"data_root": "{w}/new_demo", "backbone": "rexnet_1.0"},
        tools=("train", *EVALUATIONS),
    ),
    Row(
        "no data for --slow-ok of nothing",
        "--slow-ok",
        {"data_root": "{w}/new_demo", "slow_ok": ()},
        tools=("train", *EVALUATIONS),
    ),
    Row(
        "no data for an unknown optimiser",
        "Nope",
        {"data_root": "{w}/new_demo"},
        overrides=("optim_wrapper.optimizer.type=Nope",),
        tools=("train",),
    ),
    Row(
        "no data without a checkpoint",
        "absent.pth",
        {"data_root": "{w}/new_demo", "checkpoint": "{w}/absent.pth"},
        tools=EVALUATIONS,
    ),
]
FILES = [
    *(Row(f"checkpoint {name}", f"{name}.pth", {"checkpoint": f"{{w}}/{name}.pth"}) for name in CHECKPOINTS),
    *(Row(f"weights {name}", f"{name}.pth", {"pretrained": f"{{w}}/{name}.pth"}) for name in CHECKPOINTS),
    *(Row(f"resume {name}", name, {"resume": (), "work_dir": f"{{w}}/{name}"}) for name in ("folder", "file", "none")),
    *(
        Row(f"detections {name}", f"run_{name}", {"b": f"{{w}}/run_{name}", "annotations": ANNOTATIONS})
        for ANNOTATIONS in ("{w}/data/annotations/instances_val2017.json",)
        for name in DETECTIONS
    ),
    Row("address of nothing", "hf:ORG/NAME", {"checkpoint": "hf:nobody"}),
    Row("safetensors that are none", "text.safetensors", {"checkpoint": "{w}/text.safetensors"}),
    Row("safetensors with other meta", "meta.iter", {"checkpoint": "{w}/meta.safetensors"}),
    Row("published folder without weights", "folder", {"checkpoint": "{w}/folder"}),
    Row("publish nothing", "absent", {"folder": "{w}/absent"}),
    Row("publish a file", "{w}/file", {"folder": "{w}/file"}),
    Row("publish weights that are gone", "which weights", {"folder": "{w}/run"}),
    Row("publish over others", "{w}/folder", {"to": "{w}/folder"}),
    Row("publish onto a file", "{w}/file", {"to": "{w}/file"}),
    Row("publish below a file", "{w}/file", {"to": "{w}/file/x"}),
    Row("publish in /proc", "/proc", {"to": "/proc/nowhere/x"}),
    Row("publish at no address", "hf:ORG/NAME", {"to": "hf:x"}),
    Row("a private folder", "--private", {"private": ()}),
    Row("an unknown licence", "--licence", {"licence": "My own!"}),
    Row("annotations absent", "absent.json", {"annotations": "{w}/absent.json"}),
    Row("annotations a folder", "folder", {"annotations": "{w}/folder"}),
    Row("annotations another file", "{w}/file", {"annotations": "{w}/file"}),
    Row("no run", "folder", {"a": "{w}/folder"}),
    Row("result is text", "text_run", {"a": "{w}/text_run"}),
    Row("result is a pipe", "fifo_run", {"a": "{w}/fifo_run"}),
    Row("runs absent", "absent", {"folders": "{w}/absent", "out": None}, tools=("summarize",)),
    Row("runs below a pipe", "fifo_run", {"folders": "{w}/fifo_run", "out": None}, tools=("summarize",)),
    Row("times in a pipe", "latency_cpu.json", {"folders": "{w}/fifo_times", "out": None}, tools=("summarize",)),
    Row(
        "another config's checkpoint", "good_mask_rcnn.pth", {"checkpoint": "{w}/good_mask_rcnn.pth"}, tools=("deploy",)
    ),
    Row("files over others", "something else", {"work_dir": "{w}/folder"}, tools=("deploy",)),
    *(
        Row(f"calibration on {name}", words, {"calibration": f"{{w}}/{place}"}, tools=("deploy",))
        for name, words, place in (
            ("an empty folder", "No pictures in", "folder"),
            ("nothing", "No such picture", "absent"),
            ("validation pictures", "is a validation picture", "data/val2017"),
            ("no picture", "Cannot decode", "file"),
        )
    ),
    Row("times absent", "absent.json", {"read": "{w}/absent.json", "models": ()}, tools=("latency",)),
    Row("times of another file", "deploy.json", {"read": "{w}/file", "models": ()}, tools=("latency",)),
    Row("pictures absent", "absent", {"source": "{w}/absent"}),
    Row("pictures none", "folder", {"source": "{w}/folder"}),
    Row("pictures of no pattern", "*.jpg", {"source": "{w}/folder/*.jpg"}),
    *(Row(f"video {name}", name, {"source": f"{{w}}/{name}"}) for name in ("videos/text.mp4", "fifo.mp4", "videos")),
    Row("camera absent", "camera 99", {"source": "99"}),
    Row("stream of nobody", "rtsp://127.0.0.1:9/x", {"source": "rtsp://user:word@127.0.0.1:9/x"}),
    Row("stream of an unknown kind", "foo://host", {"source": "foo://host/x"}),
    Row("stream of no address", "http://...", {"source": "http://[x"}),
    Row("stream with a line break", "control characters", {"source": "rtsp://a/\nb"}),
    Row("frames of pictures", "--frames", {"frames": "3"}),
    Row(
        "data a file",
        "{w}/file",
        {"data_root": "{w}/file"},
        tools=[tool for tool in TOOLS if tool not in ("reproduce", "bench")],
    ),
    Row("own data a pipe", "no layout", {"dataset": "{w}/fifo_run", "demo": None, "data_root": None}, tools=("train",)),
    Row("a sheet of no picture", "ends in .png", {"sheet": "{w}/sheet.pdfx"}),
    Row("a sheet too long", "too long", {"sheet": f"{'a' * 300}.png"}),
    Row("own data too long", "no such folder", {"dataset": "a" * 300, "demo": None}, tools=("train", "bench")),
    Row("own data a file", "{w}/file", {"dataset": "{w}/file"}, tools=("bench", "train", "check_data")),
]
LONG = "a" * 300
PATHS = [
    Row(f"{name} too long", "too long", {name: LONG})
    for name in [
        "config",
        "configs",
        "checkpoint",
        "source",
        "out",
        "work_dir",
        "data_root",
        "root",
        "annotations",
        "folders",
    ]
]
PATHS += [
    Row(f"{name} {kind}", words, {name: text})
    for kind, text, words in (("with a line break", "a\nb", "control characters"), ("no text", "\udcff", "UTF-8"))
    for name in ("config", "configs", "checkpoint", "source", "out", "work_dir", "data_root", "root", "folders")
]
PATHS += [Row(f"{name} too long", LONG, {name: LONG}) for name in ("data", "pretrained")]
STRUCTURES = [
    Row(
        f"{key} is no structure", key, overrides=(f"{key}=x",), tools=("train", "check_data", "sweep", "eval_detection")
    )
    for key in (
        "optim_wrapper",
        "param_scheduler",
        "model",
        "val_dataloader.dataset.pipeline",
        "train_dataloader.dataset",
    )
]
VALUES = [
    Row(f"{key}={value}", key, overrides=(f"{key}={value}",), tools=("train", "eval_detection"))
    for key, values in {
        "val_dataloader.dataset.data_prefix.img": ("3",),
        "val_dataloader.dataset.ann_file": ("5",),
        "val_dataloader.dataset.metainfo": ("None", "3"),
        "val_dataloader.dataset.metainfo.classes": ("7",),
        "input_size": ("1e9", "True", "0", "-320"),
        "default_hooks.checkpoint": ("None", "3"),
        "default_hooks.logger.interval": ("0", "-1"),
        "auto_scale_lr.base_batch_size": ("0", "x"),
        "env_cfg.mp_cfg.mp_start_method": ("nope",),
        "memory_format": ("nope",),
        "log_level": ("NOPE",),
        "default_scope": ("nope",),
        "val_evaluator.iou_types": ("keypoints", "[]", "5"),
        "optim_wrapper.clip_grad": ("5",),
        "train_images": ("x", "1.5", "0"),
        "train_dataloader.batch_size": ("2147483648", "nan"),
    }.items()
    for value in values
]
NOTHING = [
    Row(f"{key} is nothing", key, overrides=(f"{key}=None",), tools=("train", "check_data", "sweep", "eval_detection"))
    for key in ("custom_hooks", "param_scheduler", "env_cfg", "visualizer")
]
RATES = [
    Row(
        f"rate {rate}", "optimizer.lr", overrides=(f"optim_wrapper.optimizer.lr={rate}",), tools=("train", "check_data")
    )
    for rate in ("x", "[1]", "(1,2)", "None", "1e999")
]
TABLE = [*PATHS, *STRUCTURES, *VALUES, *NOTHING, *RATES, *NUMBERS, *NAMES, *OUTPUTS, *FILES]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield make_world(tmp_path_factory.mktemp("world"))


SLOW = {("export", "--out is /dev/full")}  # the whole work comes first
CASES = [
    pytest.param(tool, row, id=f"{tool}: {row.name}", marks=[pytest.mark.slow] if (tool, row.name) in SLOW else [])
    for tool in TOOLS
    for row in TABLE
    if row.applies(tool)
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("tool", "row"), CASES)
def test_what_cannot_be_is_refused_in_a_line_and_changes_nothing(tool, row, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = fingerprint(world)
    arguments = command_line(tool, world, row.changes, row.overrides)
    outcome = call(tool, arguments)
    if row.writes:
        shutil.rmtree(world / "new_run", ignore_errors=True)
    after = fingerprint(world)
    for name in ("new_run", "new_demo", "out"):  # not the next test's concern
        shutil.rmtree(world / name, ignore_errors=True)
    words = row.words.format(w=world)
    assert complaint(outcome, words) is None, f"{' '.join(arguments)}\n{outcome.out}\n{outcome.err}"
    assert after == before
    assert fingerprint(tmp_path) == {}


# Standard output.


@pytest.mark.parametrize("tool", TOOLS)
def test_a_full_disk_behind_standard_output_is_an_error(tool):
    with full_output() as out:
        outcome = call(tool, ["--help"], out)
    assert outcome.status == 1
    assert "No space left" in outcome.err and len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("tool", TOOLS)
def test_a_closed_standard_output_ends_a_tool_without_a_word(tool):
    with closed_output() as out:
        outcome = call(tool, ["--help"], out)
    assert (outcome.status, outcome.err) == (141, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("RANK", "x"), ("WORLD_SIZE", "-3"), ("SLURM_NTASKS", "abc"), ("MASTER_PORT", "99999"), ("LOCAL_RANK", "zz")],
)
def test_an_environment_that_cannot_be_is_named(name, value, world, tmp_path, monkeypatch):
    monkeypatch.setenv(name, value)
    outcome = call("train", command_line("train", world, {"work_dir": str(tmp_path / "run")}))
    assert complaint(outcome, f"{name} in the environment") is None, outcome.err
    assert not (tmp_path / "run").exists()


def test_a_current_folder_that_is_gone_is_named(tmp_path):
    (tmp_path / "gone").mkdir()
    code = (
        f"import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); sys.path.insert(0, {str(CONFIGS.parent)!r})\n"
    )
    code += "from benchmark.cli import run\nrun(lambda: print('went on'))\n"
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "gone")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "") and ended.stderr.startswith("error: The current folder")


def test_a_process_with_a_rank_and_no_launcher_is_the_main_one(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert is_main()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_main()


def test_a_launcher_that_did_not_start_this_process_costs_no_data(tmp_path):
    options = Options(CONFIGS / "ssdlite_mobilenet_v2.py", tmp_path / "run", data_root=tmp_path / "data", demo=True)
    with pytest.raises(UserError, match="SLURM"):
        plan_training(dataclasses.replace(options, launcher="slurm"))
    assert not list(tmp_path.iterdir())


# Files with a picture's name that are none.


@pytest.fixture
def odd_data(tmp_path) -> Path:
    """Demo data of which the first pictures are a pipe, a device, a folder and an empty file."""
    from benchmark.data.demo.pictures import make_demo_data

    root = make_demo_data(tmp_path / "data", train_images=6, val_images=6)
    for split in ("train2017", "val2017"):
        pipe, device, folder, empty, *_ = sorted((root / split).glob("*.jpg"))
        for path in (pipe, device, folder, empty):
            path.unlink()
        os.mkfifo(pipe)
        device.symlink_to("/dev/zero")
        folder.mkdir()
        empty.touch()
    return root


@pytest.mark.timeout(60)
@pytest.mark.parametrize("depth", [(), ("--decode",)])
def test_check_data_names_what_is_no_picture(odd_data, depth):
    arguments = ["configs/ssdlite_rexnet_x1.0.py", "--demo", "--data-root", str(odd_data), "--json", *depth]
    outcome = call("check_data", arguments)
    rows = json.loads(outcome.out)
    (unreadable,) = [row for row in rows if row["split"] == "val2017" and row["check"].endswith("cannot be read")]
    assert outcome.status == 1 and unreadable["status"] == "warning" and unreadable["count"] == 2
    assert "pipe or a device" in str(unreadable["examples"])
    assert "1 of 6 image files are missing" in outcome.err


@pytest.mark.timeout(60)
def test_predict_names_and_skips_what_is_no_picture(world, odd_data, tmp_path):
    Image.new("RGB", (40, 30)).save(odd_data / "val2017/upright.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 30)).save(odd_data / "val2017/turned.jpg", exif=turned)
    arguments = command_line("predict", world, {"source": str(odd_data / "val2017"), "out": str(tmp_path / "out")})
    outcome = call("predict", arguments)
    skipped = outcome.err.splitlines()
    assert outcome.status == 1 and len(skipped) == 3, outcome.err
    assert all(line.startswith("skipped ") for line in skipped)
    sizes = {image["file_name"]: image for image in json.loads((tmp_path / "out/images.json").read_text())["images"]}
    assert (sizes["turned.jpg"]["width"], sizes["turned.jpg"]["height"]) == (30, 40)
    assert len(sizes) == 4


def test_pictures_of_one_name_in_two_folders_are_drawn_apart(world, tmp_path):
    for name, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (40, 30), colour).save(tmp_path / "in" / name / "same.png")
    arguments = command_line("predict", world, {"source": str(tmp_path / "in"), "out": str(tmp_path / "out")})
    assert call("predict", [*arguments, "--score-threshold", "1"]).status == 0
    drawn = [Image.open(tmp_path / "out" / name / "same.png").getpixel((1, 1)) for name in ("a", "b")]
    assert drawn == [(255, 0, 0), (0, 0, 255)]


def test_evaluated_pictures_of_one_name_are_drawn_apart(world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "data")
    path = tmp_path / "data/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    folder = tmp_path / "data/val2017"
    for image, name in zip(content["images"], ("a/one.jpg", "b/one.jpg", "c/one.jpg", "sheet.jpg"), strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / image["file_name"], folder / name)
        image["file_name"] = name
    first = min(path for path in folder.glob("*.jpg") if path.name != "sheet.jpg")
    first.unlink()  # the demo's data have four pictures in the folder itself
    path.write_text(json.dumps(content))
    changes = {"data_root": str(tmp_path / "data"), "work_dir": str(tmp_path / "run"), "pictures": "4", "out": None}
    outcome = call("eval_detection", command_line("eval_detection", world, changes))
    assert outcome.status == 0, outcome.err
    drawn = {str(path.relative_to(tmp_path / "run/pictures")) for path in (tmp_path / "run/pictures").rglob("*.png")}
    assert "sheet.png" in drawn and len(drawn) == 5, drawn


@pytest.mark.parametrize("first", ["run", "sweep"])
def test_a_run_and_a_sweep_do_not_share_a_folder(first, world, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    second, left = ("sweep", "config.py") if first == "run" else ("train", "sweep.journal")
    (folder / left).write_text("there already")
    outcome = call(second, command_line(second, world, {"work_dir": str(folder)}))
    assert complaint(outcome, left) is None, outcome.err
    assert fingerprint(folder).keys() == {left} and (folder / left).read_text() == "there already"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content["categories"][0].pop("name"), "categories[0] has no name"),
        (lambda content: content["images"][0].update(file_name="../val2017"), "val2017"),
        (lambda content: content["images"][0].update(file_name=3), "images[0] has file_name 3"),
        (lambda content: content["annotations"][0].update(bbox="1234"), "annotations[0] has bbox"),
    ],
    ids=["category without a name", "picture is a folder", "name is a number", "box is text"],
)
@pytest.mark.parametrize("tool", ["check_data", "eval_detection", "train"])
def test_a_wrong_entry_of_the_annotations_is_named(tool, change, words, world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "data")
    path = tmp_path / "data/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    outcome = call(tool, command_line(tool, world, {"data_root": str(tmp_path / "data")}))
    assert complaint(outcome, words) is None, outcome.err


def test_demo_data_of_any_size_and_seed_are_taken_as_they_are(tmp_path):
    root = str(tmp_path / "data")
    made = call("make_demo_data", [root, "--train-images", "5", "--val-images", "3", "--seed", "7"])
    assert made.status == 0
    outcome = call("check_data", ["configs/ssdlite_rexnet_x1.0.py", "--demo", "--data-root", root])
    assert outcome.status == 0 and "partial" not in outcome.err, outcome.err
    wrong = ["--cfg-options", "train_images=6", "val_images=3"]
    assert call("make_demo_data", [root, "--train-images", "6", "--val-images", "3"]).status == 1
    arguments = command_line("train", tmp_path, {"data_root": root, "cfg_options": wrong[1:]})
    assert "Expected demo data" in call("train", arguments).err


def test_a_leaderboard_is_not_replaced_by_nothing(world, tmp_path):
    (tmp_path / "board.csv").write_text("mine")
    arguments = [str(tmp_path / "absent"), "--format", "csv", "--out", str(tmp_path / "board.csv")]
    outcome = call("summarize", arguments)
    assert complaint(outcome, "absent") is None
    assert (tmp_path / "board.csv").read_text() == "mine"


def test_options_may_stand_before_a_folder():
    parse = load_tool("reproduce").make_parser().parse_args
    assert parse(["table5", "--run", "DIR"]).folders == parse(["table5", "DIR", "--run"]).folders == [Path("DIR")]
