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
from benchmark.tasks import TASKS


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
