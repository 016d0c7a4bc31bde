"""What of a config follows from the rest: from the place of the data, from the backbone, from the machine."""

import copy
import math
import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config, ConfigDict

from backbones.errors import UserError, as_user_errors
from benchmark.data.layouts import count_classes

DATALOADERS = ("train_dataloader", "val_dataloader")
_LEAST = {"batch_size": 1, "num_workers": 0}  # of a data loader's numbers


def complete_data(cfg: Config, batch_size: int | None, allow_partial: bool) -> None:
    """Fill in what follows from the place of the data.

    Raises:
        UserError: a data loader's number is none, or too small.
    """
    for name in DATALOADERS:
        loader = cfg[name]
        loader.dataset.data_root = cfg.data_root
        if batch_size is not None:
            loader.batch_size = batch_size
        for key, least in _LEAST.items():
            if not isinstance(loader.get(key, least), int) or loader.get(key, least) < least:
                raise UserError(f"{name}.{key} takes a whole number from {least}, found {loader[key]!r}.")
        if "allow_partial" in loader.dataset:
            loader.dataset.allow_partial = allow_partial or loader.dataset.allow_partial
        if loader.get("num_workers") == 0:
            loader.persistent_workers = False  # PyTorch refuses it then
    dataset = cfg.val_dataloader.dataset
    if "ann_file" in dataset and "val_evaluator" in cfg:
        cfg.val_evaluator.ann_file = str(Path(dataset.data_root) / dataset.ann_file)
    if "num_classes" in cfg.get("model", {}) and cfg.model.num_classes is None:
        cfg.model.num_classes = count_classes(dataset.name, Path(dataset.data_root))


def complete_for_clients(cfg: Config) -> None:
    """Let MMDetection's own clients evaluate what the tools here do, through its own reader of pictures."""
    if "test_dataloader" not in cfg:
        return
    cfg.test_dataloader, cfg.test_evaluator = copy.deepcopy((cfg.val_dataloader, cfg.val_evaluator))
    cfg.test_dataloader.dataset.pipeline[0].type = "LoadImageFromFile"


def limit_workers(cfg: Config) -> None:
    """Take at most as many data-loading processes as there are cores for this process and the others of a launcher."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)
    cores = max(1, len(os.sched_getaffinity(0)) // ranks)
    for name in (*DATALOADERS, "test_dataloader"):
        if cfg.get(name, {}).get("num_workers", 0) > cores:
            cfg[name].num_workers = cores


def complete_model(cfg: Config) -> None:
    """Write down what follows from the backbone, of the model and of the transforms.

    Raises:
        UserError: unknown backbone.
    """
    from benchmark.models.resolve import resolve_model

    with as_user_errors(str(cfg.filename)):
        cfg.model = resolve_model(cfg.model)
        _complete_pipelines(cfg)


def pipeline_steps(cfg: Config) -> Iterator[ConfigDict]:
    """Yield the transforms of all data loaders."""
    for name in DATALOADERS:
        yield from cfg.get(name, {}).get("dataset", {}).get("pipeline", ())


def _complete_pipelines(cfg: Config) -> None:
    """Fill in what the transforms leave to the backbone's preprocessing with None.

    These are side, interpolation and central crop of a classifier's pictures, and the mean (RGB, 0..255) that fills a
    canvas.
    """
    from backbones.catalogue import find_entry

    entry = find_entry(cfg.model.backbone.name)
    record = entry.preprocessing
    values = {
        "size": entry.resolution,
        "interpolation": record.interpolation,
        "squash": record.squash,
        "mean": cfg.model.get("data_preprocessor", {}).get("mean"),
    }
    for step in pipeline_steps(cfg):
        for key in values.keys() & step.keys():
            if step[key] is None:
                step[key] = values[key]
        if "resize" in step and step.resize is None:
            step.resize = math.floor(step.size / record.crop)  # as timm rounds it
