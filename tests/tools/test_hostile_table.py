"""Every tool over one table of hostile arguments, files and folders: refused in a line that names it, and no change.

A new tool is in it by being in tools/. A row applies to the tools that take its arguments.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hostile import (
    CHECKPOINTS,
    DETECTIONS,
    TOOLS,
    arguments_of,
    call,
    command_line,
    complaint,
    fingerprint,
    make_world,
)

from benchmark.config.names import CONFIGS

FINETUNE, SSDLITE = (str(CONFIGS / f"{name}.py") for name in ("finetune", "ssdlite"))
HUGE = "99999999999999999999"


@dataclass(frozen=True)
class Row:
    """Arguments in place of valid ones, and what the message must name."""

    name: str
    words: str
    changes: dict[str, str | Sequence[str]] = field(default_factory=dict)
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
    *number("bootstrap", "1", "-1"),
    *number("resamples", "1"),
    *number("threads", "0", "100000"),
    *number("steps", "0", "-1", "nan"),
    *number("trials", "0"),
    *number("keep", "0"),
    *number("runs", "0"),
    *number("opset", "7"),
    *number("tolerance", "nan", "-1"),
    *number("score_threshold", "2", "nan"),
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
    Row("unknown data", "cocoo", {"data": "cocoo", "backbone": None}),
    Row("unknown model", "nothing", {"models": "nothing", "backbone": None}),
    Row("unknown table", "table0", {"table": "table0"}, tools=("reproduce",)),
    Row("slurm without slurm", "SLURM", {"launcher": "slurm"}),
    Row("pytorch without torchrun", "torchrun", {"launcher": "pytorch"}),
    Row("unknown launcher", "--launcher", {"launcher": "mpi"}),
    Row("unknown precision", "--precision", {"precision": "fp8"}),
    Row("unknown device", "--device", {"device": "tpu"}),
    Row("unknown type", "Nope", overrides=("model.type=Nope",)),
    Row("unknown optimiser", "Nope", overrides=("optim_wrapper.optimizer.type=Nope",), tools=("train",)),
    Row("unknown key", "modell", overrides=("modell.type=Nope",)),
    Row("no pair", "nonsense", overrides=("nonsense",)),
    Row(
        "another task's config",
        "finegrained",
        {"config": FINETUNE, "dataset": "imagefolder", "data_root": "{w}/folders"},
        tools=("eval_detection", "eval_segmentation", "predict", "export"),
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
]
OUTPUTS = [
    *(
        Row(f"--out {name}", str(Path(place).parent), {"out": place})
        for name, place in {"below a file": "{w}/file/x", "in /proc": "/proc/nowhere/x"}.items()
    ),
    Row("--out is a folder", "folder", {"out": "{w}/folder"}),
    Row("--out is /dev/full", "/dev/full", {"out": "/dev/full"}, writes=True),
    Row("--confusion below a file", "{w}/file", {"confusion": "{w}/file/x"}, tools=("eval_finegrained",)),
    Row("--work-dir is a file", "file", {"work_dir": "{w}/file"}),
    Row("--work-dir below a file", "file/x", {"work_dir": "{w}/file/x"}),
    Row("--work-dir in /proc", "/proc/nowhere", {"work_dir": "/proc/nowhere/x"}),
    Row("data below a file", "file/x", {"root": "{w}/file/x"}),
    Row("data in /proc", "/proc/nowhere", {"root": "/proc/nowhere"}),
    Row("data over others", "folder", {"root": "{w}/folder"}),
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
    Row("annotations absent", "absent.json", {"annotations": "{w}/absent.json"}),
    Row("annotations a folder", "folder", {"annotations": "{w}/folder"}),
    Row("annotations another file", "{w}/file", {"annotations": "{w}/file"}),
    Row("no run", "folder", {"a": "{w}/folder"}),
    Row("result is text", "text_run", {"a": "{w}/text_run"}),
    Row("result is a pipe", "fifo_run", {"a": "{w}/fifo_run"}),
    Row("runs absent", "absent", {"folders": "{w}/absent", "out": None}, tools=("summarize",)),
    Row("runs below a pipe", "fifo_run", {"folders": "{w}/fifo_run", "out": None}, tools=("summarize",)),
    Row("times in a pipe", "latency_cpu.json", {"folders": "{w}/fifo_times", "out": None}, tools=("summarize",)),
    Row("pictures absent", "absent", {"source": "{w}/absent"}),
    Row("pictures none", "folder", {"source": "{w}/folder"}),
    Row("data a file", "{w}/file", {"data_root": "{w}/file"}, tools=[tool for tool in TOOLS if tool != "reproduce"]),
]
TABLE = [*NUMBERS, *NAMES, *OUTPUTS, *FILES]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


CASES = [pytest.param(tool, row, id=f"{tool}: {row.name}") for tool in TOOLS for row in TABLE if row.applies(tool)]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("tool", "row"), CASES)
def test_what_cannot_be_is_refused_in_a_line_and_changes_nothing(tool, row, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = fingerprint(world)
    arguments = command_line(tool, world, row.changes, row.overrides)
    outcome = call(tool, arguments)
    words = row.words.format(w=world)
    assert complaint(outcome, words) is None, f"{' '.join(arguments)}\n{outcome.out}\n{outcome.err}"
    if row.writes:
        shutil.rmtree(world / "new_run", ignore_errors=True)
    assert fingerprint(world) == before
    assert fingerprint(tmp_path) == {}
