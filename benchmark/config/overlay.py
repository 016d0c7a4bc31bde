"""What the command line lays over a config: the demo's data and schedule, and another length of the training."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from backbones.errors import UserError
from benchmark.config.complete import DATALOADERS, pipeline_steps
from benchmark.config.names import CONFIGS
from benchmark.config.sources import read
from benchmark.data.layouts import OWN
from benchmark.data.own.convert import PICTURES, USED, OwnData
from benchmark.files.run_folder import slug
from benchmark.tasks import TASKS

# What a user's data hold, and which templates are for it.
_KINDS = {
    "detector": ("pictures with boxes", "configs/ssdlite.py say"),
    "classifier": ("pictures with one class each", "configs/finetune.py say"),
}
_PARTS = {"train": "trainval", "val": "test"}  # what is trained on and evaluated, as a classifier's splits are called


def demo_overlay(task: str) -> Path:
    """Return the file that --demo lays over a task's configs."""
    return CONFIGS / "_base_" / TASKS[task].demo


def lay_demo(cfg: Config, changes: Mapping[str, Any]) -> None:
    """Lay generated data, their classes and a short schedule over a config; ``changes`` as ``sources.read`` has it."""
    cfg.merge_from_dict(read(demo_overlay(cfg.task), changes).to_dict())
    cfg.data_root = cfg.demo.data_root
    classes = import_module(cfg.demo.module).CLASSES
    for name in DATALOADERS:
        cfg[name].dataset.metainfo = ConfigDict(classes=classes)
    for head in _with_num_classes(cfg.model):
        head.num_classes = len(classes)
    for step in pipeline_steps(cfg):
        if "scale" in cfg.demo and step.type == "Resize":
            step.scale = cfg.demo.scale
        if "augment" in step:
            step.augment = cfg.demo.augment


def lay_own(cfg: Config, own: OwnData) -> None:
    """Lay a user's own data and their classes over a config.

    Raises:
        UserError: a detector's config and pictures without boxes, or the other way round.
    """
    kind = TASKS[cfg.task].kind
    if own.kind != kind:
        found, fitting = _KINDS[own.kind]
        raise UserError(
            f"{own.folder} holds {found} ({own.layout}), and {cfg.filename} is of a {kind}: give a template for it, "
            f"{fitting}."
        )
    cfg.data_root, cfg.dataset, cfg.dataset_name = str(own.cache), OWN, own.name
    cfg.val_images = None  # there is no official number
    cfg.own_data = ConfigDict(layout=own.layout, validation=own.validation, seed=own.seed)
    for name, split in zip(DATALOADERS, USED, strict=True):
        dataset = cfg[name].dataset
        if kind == "detector":
            dataset.update(ann_file=f"{split}.json", data_prefix=ConfigDict(img=f"{PICTURES}/"))
            dataset.metainfo = ConfigDict(classes=own.classes)
        else:
            dataset.update(name=OWN, split=_PARTS[split])
    if kind == "classifier" and "model" in cfg:
        cfg.model.num_classes = len(own.classes)
    for head in _with_num_classes(cfg.get("model", {})):
        head.num_classes = len(own.classes)


def own_name(name: str, cfg: Config, own: OwnData) -> str:
    """Return the name of a run on a user's own data: the template's, the data set's, the backbone's."""
    template = cfg.get("template")
    if template and name.startswith(f"{template}_"):
        return f"{template}_{slug(own.name)}{name.removeprefix(template)}"
    return f"{slug(own.name)}_{name}"


def set_steps(cfg: Config, steps: int) -> None:
    """Change the length of the training; every place in the schedule, the warm-up's too, moves in proportion."""
    if steps < 1:
        raise UserError(f"--steps takes a number of iterations from 1, found {steps}.")
    factor = steps / cfg.train_cfg.max_iters
    cfg.train_cfg.max_iters = steps
    cfg.train_cfg.val_interval = min(cfg.train_cfg.val_interval, steps)
    for schedule in cfg.param_scheduler:
        for key in ("begin", "end", "T_max"):
            if key in schedule:
                schedule[key] = round(factor * schedule[key])
        if "milestones" in schedule:
            schedule.milestones = [round(factor * milestone) for milestone in schedule.milestones]
    # A warm-up may shrink to nothing.
    cfg.param_scheduler = [schedule for schedule in cfg.param_scheduler if schedule.get("end", steps) > schedule.begin]


def _with_num_classes(node: Any) -> Iterator[ConfigDict]:
    if isinstance(node, dict):
        if "num_classes" in node:
            yield node
        for child in node.values():
            yield from _with_num_classes(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _with_num_classes(child)
