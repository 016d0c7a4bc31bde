"""Tools called in this process as their command lines would, with valid arguments to make wrong ones from."""

import argparse
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TextIO

import torch
from helpers import call_tool, result
from PIL import Image
from safetensors.torch import save_file

from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.models.build import build_model

TOOLS = tuple(sorted(path.stem for path in (CONFIGS.parent / "tools").glob("*.py")))
SMALL = "mobilenet_v3_small"
_LARGE = 1_000_000  # bytes
IMAGES = {"train_images": 8, "val_images": 4}
# What a valid command line gives, by the argument's name in the parser; {w} is the world's folder.
VALUES = {
    "a": "{w}/run",
    "b": "{w}/run",
    "checkpoint": "{w}/good_{template}.pth",
    "configs": "{config}",
    "experiment": "rank",
    "data": "{config}",
    "folders": "{w}/run",
    "models": "{config}",
    "out": "{w}/out",
    "root": "{w}/new_demo",
    "source": "{w}/pictures",
    "table": "table5",
    "folder": "{w}/run",
    "to": "{w}/out",
    "pretrained": "none",
    "work_dir": "{w}/new_run",
    "data_root": "{w}/data",
    "backbone": SMALL,
    "backbones": SMALL,
    "budget": "1",
}
CONFIG_OF = {  # else SSDLite
    "eval_segmentation": "mask_rcnn",
    "eval_finegrained": "finetune",
    "eval_imagenet": "imagenet",
    "sweep": "finetune",
}
CLASSIFIERS = {"finetune": "imagefolder", "imagenet": None}  # and the data set that the template needs
RANDOM = "model.backbone.pretrained=None"
OVERRIDES = (
    "train_dataloader.num_workers=0",
    "val_dataloader.num_workers=0",
)


_UNEXPECTED = re.compile(r"^error: \w+: .*TRACEBACK=1", re.MULTILINE)  # as benchmark.cli names what nobody expected


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    status: int
    out: str
    err: str


@cache
def load_tool(name: str) -> ModuleType:
    """Import a file of tools/."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", CONFIGS.parent / "tools" / f"{name}.py")
    assert spec and spec.loader, f"tools/{name}.py cannot be imported"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments_of(tool: str) -> dict[str, argparse.Action]:
    """Return the arguments of a tool by name."""
    return {action.dest: action for action in load_tool(tool).make_parser()._actions if action.dest != "help"}


def command_line(
    tool: str, world: Path, changes: Mapping[str, str | Sequence[str] | None], overrides: Sequence[str] = ()
) -> list[str]:
    """Return valid arguments of a tool, and some others in their place.

    Args:
        tool: its name.
        world: a folder of ``make_world``.
        changes: values by the argument's name: an empty sequence for one that takes none, None to leave it out.
        overrides: key=value pairs in addition.
    """
    config, actions = CONFIG_OF.get(tool, "ssdlite"), arguments_of(tool)
    names = {"w": world, "config": CONFIGS / f"{config}.py", "template": config}
    taken = {"config": "{config}", **VALUES}
    chosen: dict[str, str | Sequence[str] | None] = {
        name: taken[name] for name in actions if name in taken and name != "table"
    }
    if "table" in actions and not actions["table"].option_strings:
        chosen["table"] = VALUES["table"]
    if tool == "experiment":
        chosen |= {"quick": (), "data": None, "data_root": None}  # it takes small data then
    if tool == "bench":
        chosen |= {"dataset": "{w}/data", "data_root": None, "pretrained": "none"}  # the demo's classes are not COCO's
    if tool == "decide":
        chosen["annotations"] = "{w}/data/annotations/instances_val2017.json"  # the run has no config
    if tool == "diagnose" and "dataset" not in changes:
        chosen["annotations"] = "{w}/data/annotations/instances_val2017.json"  # the world's runs name none
    if tool == "export":
        chosen["out"] = "{w}/out.onnx"  # its ending says the format
    if tool == "deploy":
        chosen |= {"formats": "onnx", "int8": (), "busy_ok": ()}
    if "demo" in actions:
        chosen["demo"] = ()
    if "loader" in actions:
        chosen |= {"training": (), "loader": (), "runs": "1"}  # what takes data
    if config in CLASSIFIERS and "dataset" in actions:
        chosen |= {"dataset": CLASSIFIERS[config], "data_root": "{w}/folders"}
    if {"checkpoint", "pretrained"} <= actions.keys():  # one of them
        chosen["checkpoint" if "pretrained" in changes else "pretrained"] = None
    if "cfg_options" in actions:
        counts = (f"{key}={value}" for key, value in IMAGES.items() if "demo" in actions)
        random = () if "pretrained" in actions else (RANDOM,)
        chosen["cfg_options"] = (*random, *OVERRIDES, *counts, *overrides)
    given = {name: value for name, value in {**chosen, **changes}.items() if value is not None}
    if unknown := [name for name, action in actions.items() if name not in given and action.required]:
        raise KeyError(f"tools/{tool}.py takes {unknown[0]}: give it a valid value in VALUES.")
    positional, options = [], []
    for name, value in given.items():
        texts = [text.format(**names) for text in ([value] if isinstance(value, str) else value)]
        if flags := actions[name].option_strings:
            options += [flags[0], *texts]
        else:
            positional.append((list(actions).index(name), texts))
    return [text for _, texts in sorted(positional) for text in texts] + options


def call(tool: str, arguments: Sequence[str], out: TextIO | None = None) -> Outcome:
    """Run a tool's command line in this process and folder; ``out`` stands for standard output."""
    run = call_tool(f"{tool}.py", *arguments, folder=Path.cwd(), out=out)
    return Outcome(run.returncode, run.stdout, run.stderr)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return what every file and folder below a folder holds; of large files the time of the last change."""
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> str:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return str(stat.S_IFMT(found.st_mode))
    if found.st_size > _LARGE:
        return f"{found.st_size} {found.st_mtime_ns}"
    return hashlib.blake2b(path.read_bytes()).hexdigest()


EMPTY = hashlib.blake2b().hexdigest()  # a file that holds nothing, in a fingerprint


def complaint(outcome: Outcome, words: str = "") -> str | None:
    """Return what is wrong with how a refused command ended, or None."""
    said = outcome.err.strip().splitlines()
    noted = [line for line in said if line.startswith("warning: ") or re.fullmatch(r"[A-Z].* \.\.\.", line)]
    lines = [line for line in said if line not in noted]
    if outcome.status == 0:
        return "it ended with status 0"
    if "Traceback" in outcome.err + outcome.out or _UNEXPECTED.search(outcome.err):
        return "nobody expected this error"
    # All that is wrong with data.
    each_its_own = all(line.startswith(("error: ", "skipped ", "skipped: ")) for line in lines)
    if not lines or (len(lines) > 2 and not each_its_own):
        return f"{len(lines)} lines on stderr"
    return f"stderr does not name {words!r}" if words not in outcome.err else None


def make_world(root: Path) -> Path:
    """Make valid data, checkpoints, a run and pictures, and beside them what is wrong in many ways."""
    from benchmark.data.demo import class_folders, pictures

    pictures.make_demo_data(root / "data", **IMAGES)
    class_folders.make_demo_data(root / "folders", **IMAGES)
    (root / "pictures").mkdir()
    Image.new("RGB", (64, 48), "red").save(root / "pictures/a.png")
    (root / "videos").mkdir()
    (root / "videos/text.mp4").write_text("no video")
    (root / "videos/empty.mp4").touch()
    os.mkfifo(root / "fifo.mp4")
    (root / "file").write_text("a file of the user's\n")
    (root / "folder").mkdir()
    (root / "folder/file").write_text("another\n")
    for template in {"ssdlite", *CONFIG_OF.values()}:
        _make_good_checkpoint(root, template)
    _make_checkpoints(root)
    _make_runs(root)
    return root


def _make_good_checkpoint(root: Path, template: str) -> None:
    dataset, data_root = CLASSIFIERS.get(template), root / "folders" if template in CLASSIFIERS else None
    cfg = load_config(
        CONFIGS / f"{template}.py", backbone=SMALL, dataset=dataset, data_root=data_root, demo=True, options=[RANDOM]
    )
    complete_model(cfg)
    torch.manual_seed(0)
    torch.save({"state_dict": build_model(cfg).state_dict(), "meta": {}}, root / f"good_{template}.pth")


def _make_checkpoints(root: Path) -> None:
    weight = torch.zeros(2, 2)
    good = torch.load(root / "good_ssdlite.pth")["state_dict"]
    first = next(iter(good))
    states = {
        "meta_none": {"state_dict": {"x": weight}, "meta": None},
        "meta_list": {"state_dict": {"x": weight}, "meta": [1, 2]},
        "meta_dataset": {"state_dict": {"x": weight}, "meta": {"dataset_meta": 3, "iter": "x"}},
        "meta_classes": {"state_dict": {"x": weight}, "meta": {"dataset_meta": {"classes": 5, "name": []}}},
        "meta_iter": {"state_dict": {"x": weight}, "meta": {"iter": [1]}},
        "other": {"state_dict": {"x": weight}, "meta": {}},
        "no_weights": {"state_dict": {}, "meta": {}},
        "integer_keys": {"state_dict": {1: weight, 2: weight}, "meta": {}},
        "lists": {"state_dict": {"x": [1.0, 2.0]}, "meta": {}},
        "sparse": {"state_dict": {"x": torch.eye(3).to_sparse()}, "meta": {}},
        "meta_device": {"state_dict": {"x": torch.zeros(3, device="meta")}, "meta": {}},
        "complex": {"state_dict": {**good, first: good[first].to(torch.complex64)}, "meta": {}},
        "whole_numbers": {"state_dict": {**good, first: good[first].int()}, "meta": {}},
        "nan": {"state_dict": {"x": weight * float("nan")}, "meta": {}},
        "a_list": [weight],
        "a_number": 3,
        "none": None,
    }
    for name, content in states.items():
        torch.save(content, root / f"{name}.pth")
    (root / "text.safetensors").write_text("not a checkpoint")
    save_file({"x": weight}, root / "meta.safetensors", metadata={"rexnet-benchmark": '{"iter": "x"}'})
    (root / "empty.pth").touch()
    (root / "text.pth").write_text("not a checkpoint")
    (root / "truncated.pth").write_bytes((root / "other.pth").read_bytes()[:-200])
    (root / "folder.pth").mkdir()
    os.mkfifo(root / "fifo.pth")


CHECKPOINTS = (
    "absent", "empty", "text", "truncated", "folder", "fifo", "meta_none", "meta_list", "meta_dataset", "meta_classes",
    "meta_iter", "other", "no_weights", "integer_keys", "lists", "sparse", "meta_device", "nan", "a_list",
    "a_number", "none", "complex", "whole_numbers",
)  # fmt: skip
DETECTIONS = {
    "dict": "{}",
    "numbers": "[1, 2]",
    "null": "null",
    "no_keys": "[{}]",
    "no_box": '[{"image_id": IMAGE, "category_id": 1, "score": 0.5}]',
    "short_box": '[{"image_id": IMAGE, "category_id": 1, "score": 0.5, "bbox": [1, 2]}]',
    "text_box": '[{"image_id": IMAGE, "category_id": 1, "score": 0.5, "bbox": "1234"}]',
    "text_score": '[{"image_id": IMAGE, "category_id": 1, "score": "x", "bbox": [1, 2, 3, 4]}]',
    "wrong_image": '[{"image_id": 12345678, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}]',
    "list_image": '[{"image_id": [1], "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}]',
    "wrong_category": '[{"image_id": IMAGE, "category_id": 99, "score": 0.5, "bbox": [1, 2, 3, 4]}]',
    "text": "hello",
    "empty": "",
}


def _make_runs(root: Path) -> None:
    from backbones.tensors import file_sha256

    annotations = root / "data/annotations/instances_val2017.json"
    data = {"name": "demo", "split": "val2017", "images": 4, "annotations_sha256": file_sha256(annotations)}
    image = json.loads(annotations.read_text())["images"][0]["id"]
    text = result(data=data, metrics={"box_AP": 0.0}).model_dump_json()
    for name, content in {"run": "[]", **{f"run_{name}": content for name, content in DETECTIONS.items()}}.items():
        (root / name).mkdir()
        (root / name / "result.json").write_text(text)
        (root / name / "detections.json").write_text(content.replace("IMAGE", str(image)))
    (root / "fifo_run").mkdir()
    os.mkfifo(root / "fifo_run/result.json")
    (root / "fifo_times").mkdir()
    os.mkfifo(root / "fifo_times/latency_cpu.json")
    (root / "other_experiment").mkdir()
    (root / "other_experiment/experiment.json").write_text('{"experiment": "rank", "networks": 7}')
    (root / "text_run").mkdir()
    (root / "text_run/result.json").write_text("hello")


@contextlib.contextmanager
def full_output() -> Iterator[TextIO]:
    """Standard output on a full disk."""
    with open("/dev/full", "w") as file:
        try:
            yield file
        finally:
            with contextlib.suppress(OSError):
                file.close()


@contextlib.contextmanager
def closed_output() -> Iterator[TextIO]:
    """Standard output that whoever read it has closed."""
    read, write = os.pipe()
    os.close(read)
    file = os.fdopen(write, "w")
    try:
        yield file
    finally:
        try:
            file.close()
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
