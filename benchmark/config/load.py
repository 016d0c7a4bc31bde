"""Configs: read, overlaid (demo, command line), and completed with what follows from the backbone."""

import ast
import copy
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from backbones.errors import UserError, as_user_errors, did_you_mean
from benchmark.cli import Options
from benchmark.data.layouts import LAYOUTS, count_classes
from benchmark.tasks import TASKS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DATALOADERS = ("train_dataloader", "val_dataloader")
_NOT_OF_THE_NUMBERS = {
    *("work_dir", "data_root", "resume", "load_from", "launcher", "experiment_name"),
    *("test_dataloader", "test_evaluator", "test_cfg"),
    *("env_cfg", "visualizer", "default_hooks", "log_processor", "randomness", "workers"),
    *("log_interval", "checkpoint_interval", "checkpoints_kept"),
}
# Data set -> the part of configs/_base_ that names its files.
DATA_CONFIGS = {"coco": "datasets/coco.py", **{name: f"finetune_{name}.py" for name in LAYOUTS}}


def load_config(
    path: Path,
    *,
    options: Sequence[str] = (),
    data_root: Path | None = None,
    demo: bool = False,
    pretrained: str | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    allow_partial: bool = False,
) -> Config:
    """Read a config and lay the command line over it; imports neither torch nor MMDetection.

    Args:
        path: a config file.
        options: ``key=value`` pairs, keys with dots, values as Python writes them or plain words.
        data_root: folder of the data; default the environment's DATA_ROOT, then the config's own.
        demo: lay the generated data set and a short schedule over the config.
        pretrained: weights for the backbone; ``none`` trains from scratch.
        steps: length of the training in iterations; the schedule shrinks or stretches with it.
        batch_size: images a process, in training and evaluation.
        allow_partial: accept a fine-grained data set with fewer images than the official one.

    Raises:
        UserError: no such config, one that cannot be read, or an option that does not fit it.
    """
    cfg = _read(path)
    with as_user_errors(str(path)):
        if demo:
            _overlay_demo(cfg)
        if pretrained is not None:
            cfg.model.backbone.pretrained = None if pretrained == "none" else pretrained
        if steps is not None:
            _set_steps(cfg, steps)
        _set_root(cfg, data_root or (None if demo else os.environ.get("DATA_ROOT")))
        _merge_options(cfg, options)
        if steps is None and cfg.get("schedule", 1) != 1 and not demo:
            _set_steps(cfg, cfg.schedule * cfg.train_cfg.max_iters)
        _complete_data(cfg, batch_size, allow_partial)
        _complete_for_clients(cfg)
    return cfg


def load_options(options: Options, **training: Any) -> Config:
    """Read the config of a command line; ``training`` as in ``load_config``."""
    return load_config(
        options.config,
        options=options.cfg_options,
        data_root=options.data_root,
        demo=options.demo,
        batch_size=options.batch_size,
        allow_partial=options.allow_partial,
        **training,
    )


def load_data_config(name: str, *, data_root: Path | None = None, allow_partial: bool = False) -> Config:
    """Read the data sets of a key of ``DATA_CONFIGS``; the rest as in ``load_config``."""
    cfg = Config.fromfile(CONFIGS / "_base_" / DATA_CONFIGS[name], import_custom_modules=False)
    _set_root(cfg, data_root or os.environ.get("DATA_ROOT"))
    _complete_data(cfg, None, allow_partial)
    return cfg


def complete_model(cfg: Config) -> None:
    """Fill in what follows from the backbone: channels of neck and head; mean, std and interpolation of its weights.

    Raises:
        UserError: unknown backbone.
    """
    with as_user_errors(str(cfg.filename)):
        _complete_model(cfg)


def _complete_model(cfg: Config) -> None:
    from backbones.catalogue import preprocessing
    from benchmark.models.resolve import resolve_model

    if "name" not in cfg.model.backbone:
        raise UserError("The config names no backbone: model.backbone.name is missing.")
    cfg.model = resolve_model(cfg.model)
    record = preprocessing(cfg.model.backbone.name)
    for step in _pipeline_steps(cfg):
        if "interpolation" in step and step.interpolation is None:
            step.interpolation = record.interpolation


def config_name(cfg: Config) -> str:
    """Return the config's name: its file without the suffix, also for one dumped into a run's folder."""
    return cfg.get("name") or Path(cfg.filename).stem


def identity(cfg: Config) -> dict[str, Any]:
    """Return what of a config decides a run's numbers: without places, process counts, logging, saving and the seed."""
    content = _without(cfg.to_dict(), *_NOT_OF_THE_NUMBERS)
    for name in DATALOADERS:
        content[name] = _without(content[name], "num_workers", "persistent_workers")
        content[name]["dataset"] = _without(content[name]["dataset"], "data_root")
    content["val_evaluator"] = _without(content["val_evaluator"], "ann_file")
    return content


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested containers by their keys, joined by dots."""
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, (list, tuple)) and any(isinstance(value, (dict, list, tuple)) for value in content):
        items = enumerate(content)
    else:
        return {prefix: list(content) if isinstance(content, tuple) else content}
    leaves = {}
    for name, child in items:
        leaves |= flatten(child, f"{prefix}.{name}" if prefix else str(name))
    return leaves


def config_sha256(cfg: Config) -> str:
    """Return the hash of ``identity``."""
    return hashlib.sha256(json.dumps(flatten(identity(cfg)), sort_keys=True).encode()).hexdigest()


def _without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def _read(path: Path) -> Config:
    if not path.is_file():
        known = [str(found.relative_to(CONFIGS.parent)) for found in sorted(CONFIGS.glob("*.py"))]
        raise UserError(f"Config not found: {path}.{did_you_mean(str(path), known)}")
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # a config is Python: anything can go wrong in it
        raise UserError(f"Config {path} cannot be read: {type(error).__name__}: {error}") from error
    if "model" not in cfg or "task" not in cfg:
        raise UserError(f"{path} is not a config of this benchmark: it has no 'model' and 'task'.")
    cfg.setdefault("name", path.stem)
    return cfg


def _set_root(cfg: Config, root: Path | str | None) -> None:
    if root:
        cfg.data_root = str(root)


def _complete_data(cfg: Config, batch_size: int | None, allow_partial: bool) -> None:
    """Fill in what follows from the place of the data."""
    for name in DATALOADERS:
        loader = cfg[name]
        loader.dataset.data_root = cfg.data_root
        if batch_size is not None:
            loader.batch_size = batch_size
        if "allow_partial" in loader.dataset:
            loader.dataset.allow_partial = allow_partial or loader.dataset.allow_partial
        if loader.get("num_workers") == 0:
            loader.persistent_workers = False  # PyTorch refuses it then
    dataset = cfg.val_dataloader.dataset
    if "ann_file" in dataset and "val_evaluator" in cfg:
        cfg.val_evaluator.ann_file = str(Path(dataset.data_root) / dataset.ann_file)
    if "num_classes" in cfg.get("model", {}) and cfg.model.num_classes is None:
        cfg.model.num_classes = count_classes(dataset.name, Path(dataset.data_root))


def _complete_for_clients(cfg: Config) -> None:
    """Let MMDetection's own clients evaluate what the tools here do, through its own reader of pictures."""
    if "test_dataloader" not in cfg:
        return
    cfg.test_dataloader, cfg.test_evaluator = copy.deepcopy((cfg.val_dataloader, cfg.val_evaluator))
    cfg.test_dataloader.dataset.pipeline[0].type = "LoadImageFromFile"


def _set_steps(cfg: Config, steps: int) -> None:
    """Change the length of the training; every place in the schedule moves in proportion."""
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


def _pipeline_steps(cfg: Config) -> Iterator[ConfigDict]:
    for name in DATALOADERS:
        yield from cfg.get(name, {}).get("dataset", {}).get("pipeline", ())


def _merge_options(cfg: Config, options: Iterable[str]) -> None:
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise UserError(f"--cfg-options takes key=value, found {option!r}.")
        try:
            cfg.merge_from_dict({key: _parse(value)})
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise UserError(f"--cfg-options {option}: does not fit the config ({error}).") from error


def _parse(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(value, value)


def _overlay_demo(cfg: Config) -> None:
    cfg.merge_from_dict(Config.fromfile(CONFIGS / "_base_" / TASKS[cfg.task].demo)._cfg_dict.to_dict())
    cfg.data_root = cfg.demo.data_root
    classes = import_module(cfg.demo.module).CLASSES
    for name in DATALOADERS:
        cfg[name].dataset.metainfo = ConfigDict(classes=classes)
    for head in _with_num_classes(cfg.model):
        head.num_classes = len(classes)
    if "scale" in cfg.demo:
        for step in _pipeline_steps(cfg):
            if step.type == "Resize":
                step.scale = cfg.demo.scale
    training = cfg.train_dataloader.dataset
    training.pipeline = [step for step in training.pipeline if step.type not in cfg.get("dropped_augmentations", ())]


def _with_num_classes(node: Any) -> Iterator[ConfigDict]:
    if isinstance(node, dict):
        if "num_classes" in node:
            yield node
        for child in node.values():
            yield from _with_num_classes(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _with_num_classes(child)
