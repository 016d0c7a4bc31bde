"""What several tests share: small detectors, samples and command lines."""

import contextlib
import importlib
import io
import multiprocessing
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn, TextIO
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from backbones import families
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.data.demo.crops import crop_objects
from benchmark.models.build import build_model
from benchmark.records.result import Result
from benchmark.training.registration import register

REPOSITORY = CONFIGS.parent
SMALL = ("model.backbone.name=mobilenet_v3_small", "model.backbone.pretrained=None")
OBJECTS = (
    "bottle",
    "book",
    "broccoli",
    "bus",
    "car",
    "chair",
    "cup",
    "donut",
    "person",
    "pizza",
    "potted plant",
    "suitcase",
)
MOST_OBJECTS = 30  # a class


def small_config(config: str = "ssdlite", *options: str, **changes: Any) -> Config:
    """A detector's config with the catalogue's smallest backbone and random weights."""
    cfg = load_config(CONFIGS / f"{config}.py", options=(*SMALL, *options), **changes)
    complete_model(cfg)
    return cfg


def build_detector(cfg: Config) -> nn.Module:
    """The config's model with fixed random weights."""
    torch.manual_seed(0)
    return build_model(cfg)


def build_dataset(dataset: dict, **changes):
    """The data set of a config's data loader, with changes."""
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    register()
    init_default_scope("mmdet")
    return DATASETS.build(ConfigDict(dataset, **changes))


def sample(boxes: list[list[float]], labels: list[int], side: int = 320):
    """One square image's ground truth; boxes are xyxy in pixels."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    meta = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), (side, side))
    truth = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long))
    return DetDataSample(metainfo={**meta, "scale_factor": (1.0, 1.0), "img_id": 0}, gt_instances=truth)


class _Left(BaseException):
    """Stands for the end of a process."""


def call_tool(
    tool: str, *arguments: object, folder: Path = REPOSITORY, out: TextIO | None = None
) -> subprocess.CompletedProcess:
    """Run one of tools/ in this process: importing takes longer than most of what the tests ask of a tool.

    Args:
        tool: its file.
        arguments: of its command line.
        folder: where it runs.
        out: its standard output, in place of one that is returned.
    """
    process, leave, status = os.getpid(), os._exit, 0
    out, err = out or io.StringIO(), io.StringIO()

    def end(status: int) -> NoReturn:
        if os.getpid() != process:  # a data-loading process's own end
            leave(status)
        raise _Left(status)

    with (
        mock.patch.object(sys, "argv", [tool, *map(str, arguments)]),
        mock.patch.object(os, "_exit", end),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(str(REPOSITORY / "tools" / tool), run_name="__main__")
        except (_Left, SystemExit) as ended:
            (code,) = ended.args or (0,)
            status = code if isinstance(code, int) else 0 if code is None else 1
    printed = out.getvalue() if isinstance(out, io.StringIO) else ""
    return subprocess.CompletedProcess([tool, *arguments], status, printed, err.getvalue())


def preloaded() -> ForkServerContext:
    """Return the context of processes that are forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["conftest", "benchmark.training.registered", "benchmark.training.train", "kills"])
    # Python 3.11 does not tell that process where to look.
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        forkserver.ensure_running()
    return context


def _run_tool_to_files(tool: str, arguments: tuple[object, ...], out: Path, environment: dict[str, str]) -> None:
    os.environ.clear()  # it is the fork server's, as that began
    os.environ.update(environment)
    os.setsid()  # a process group of its own, as a shell gives it
    for stream, path in ((1, out), (2, out.with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout.reconfigure(line_buffering=True)
    os.chdir(REPOSITORY)
    sys.argv = [tool, *map(str, arguments)]
    runpy.run_path(str(REPOSITORY / "tools" / tool), run_name="__main__")
    os._exit(0)  # the files of multiprocessing are its parent's to remove


@contextlib.contextmanager
def started_tool(tool: str, *arguments: object, out: Path, **environment: str) -> Iterator[BaseProcess]:
    """Run one of tools/ in a process group of its own, beside the test; it prints into a file and one ending in .err.

    It has the test's environment, and what is named here. The process is killed at the end.
    """
    environment = {**os.environ, **environment}
    process = preloaded().Process(target=_run_tool_to_files, args=(tool, arguments, out, environment))
    process.start()
    try:
        yield process
    finally:
        process.kill()


def two_ranks() -> list[dict[str, str]]:
    """Return what torchrun sets in the environment of two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    same = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    return [{**same, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]


def wait_for(path: Path, text: str) -> None:
    """Return when a file holds a text; an error after two minutes."""
    wait_until(lambda: path.is_file() and text in path.read_text(), f"no {text!r} in {path}")


def wait_until(holds: Callable[[], bool], otherwise: str = "it does not hold") -> None:
    """Return when something holds; an error after two minutes."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def run_tool(tool: str, *arguments: str | Path, timeout: float = 300, **kwargs) -> subprocess.CompletedProcess:
    """Run one of tools/ as a user does."""
    command = [sys.executable, str(REPOSITORY / "tools" / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=REPOSITORY, **kwargs)


def real_objects(coco_mini: Path, root: Path) -> None:
    """Cut the objects of twelve classes out of real pictures; every third one of a class is for the test."""
    for source in ("train2017", "val2017"):
        crop_objects(
            coco_mini / f"annotations/instances_{source}.json",
            coco_mini / source,
            root / "all",
            min_side=24,
            classes=OBJECTS,
        )
    for folder in (root / "all").iterdir():
        for index, crop in enumerate(sorted(folder.iterdir())[:MOST_OBJECTS]):
            place = root / ("test" if index % 3 == 0 else "train") / folder.name
            place.mkdir(parents=True, exist_ok=True)
            crop.rename(place / crop.name)


def pycocotools_ap(annotations: Path, detections: list[dict], iou_type: str) -> tuple[np.ndarray, np.ndarray]:
    """The referee's twelve figures and its precision by threshold, recall and class."""
    truth = COCO(str(annotations))
    # pycocotools takes a mask's area from its box if it is given one; COCO's official mask results have none.
    dropped = "bbox" if iou_type == "segm" else "segmentation"
    bare = [{key: value for key, value in detection.items() if key != dropped} for detection in detections]
    evaluation = COCOeval(truth, truth.loadRes(bare), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][:, :, :, 0, -1]


def result(**changes) -> Result:
    """A valid result with changes."""
    content = {
        "task": "ssdlite",
        "backbone": "rexnet_x1.0",
        "config": {"name": "ssdlite_rexnet_x1.0", "sha256": "0" * 64},
        "data": {"name": "coco2017", "split": "val2017", "images": 5000, "annotations_sha256": "1" * 64},
        "metrics": {"box_AP": 25.31, "box_AP50": 42.3, "box_AP75": None},
        "cost": {"params": 5_688_574, "macs": 1_007_918_560, "input": (1, 3, 320, 320)},
        "training": None,
        "provenance": {
            "git_commit": "abc", "git_dirty": False, "versions": {}, "python": "3.11", "device": "CPU",
            "precision": "fp32", "world_size": 1, "date": "2026-01-01T00:00:00+00:00",
        },
        **changes,
    }  # fmt: skip
    return Result.model_validate(content)


def sampled(names: Iterable[str]) -> list:
    """Parameters of a test over the catalogue: the paper's families, ResNet-50, and of each other family the first row.

    The others are marked ``zoo``: they take minutes, and ``make zoo`` runs them.
    """
    chosen, seen = [], set()
    for name in names:
        family = FAMILY_OF.get(name)
        in_every_run = family in ("mbconv", "rexnet") or name == "resnet50" or family not in seen
        seen.add(family)
        chosen.append(pytest.param(name, marks=[] if in_every_run else pytest.mark.zoo))
    return chosen


# Backbone -> the file of its family.
FAMILY_OF = {
    name: module.name
    for module in pkgutil.iter_modules(families.__path__)
    for name in importlib.import_module(f"{families.__name__}.{module.name}").ROWS
}
