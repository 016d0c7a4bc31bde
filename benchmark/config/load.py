"""From a config file and a command line to the config of a run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from backbones.errors import UserError, as_user_errors
from benchmark.cli import Options
from benchmark.config.complete import complete_data, complete_for_clients, limit_workers
from benchmark.config.names import DATA, find_config, list_datasets, on_dataset, run_name
from benchmark.config.overlay import demo_overlay, lay_demo, lay_own, own_name, set_steps
from benchmark.config.overrides import check_effects, check_names, merge, names_of_files, parse_options, read_part
from benchmark.config.recipe import Recipe, lay_recipe
from benchmark.config.sources import assigned_names, read
from benchmark.data.layouts import LAYOUTS
from benchmark.data.own.convert import OwnData, prepare
from benchmark.data.subsets import check_part

# Data set -> the part of configs/ that names its files.
DATA_CONFIGS = {
    "coco": DATA / "coco.py",
    **{name: DATA / f"finetune_{name}.py" for name in LAYOUTS},
    "imagenet": DATA / "imagenet.py",
}
# Likewise for a user's own data: what is laid over, and a task of that kind.
_OWN_CONFIGS = {"detector": DATA / "coco.py", "classifier": DATA / "finegrained.py"}
_OWN_TASKS = {"detector": "ssdlite", "classifier": "finegrained"}


def load_config(
    path: Path,
    *,
    backbone: str | None = None,
    dataset: str | None = None,
    options: Sequence[str] = (),
    data_root: Path | None = None,
    demo: bool = False,
    pretrained: str | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    allow_partial: bool = False,
    subset: Mapping[str, Any] | None = None,
    recipe: Recipe | None = None,
) -> Config:
    """Read a config and lay the command line over it; imports neither torch nor MMDetection.

    The config holds what the run reads; the names that only its files use are gone from it.

    Args:
        path: a config file; one of the project's is found from any working directory.
        backbone: of the catalogue or ``timm:NAME``, in place of the config's; a template needs one.
        dataset: of a template, in place of its own: a name, or the folder of a user's own data.
        options: ``key=value`` pairs, see ``benchmark.config.overrides``.
        data_root: folder of the data; default the environment's DATA_ROOT, then the config's own.
        demo: lay the generated data set and a short schedule over the config.
        pretrained: weights for the backbone; ``none`` trains from scratch.
        steps: length of the training in iterations; the schedule shrinks or stretches with it.
        batch_size: images per process, in training and evaluation.
        allow_partial: accept a fine-grained data set with fewer images than the official one.
        subset: part of the training pictures, see ``benchmark.data.subsets``.
        recipe: what else the command line changes of the training; None for nothing.

    Raises:
        UserError: no such config, one that cannot be read, or an option that does not fit it or changes nothing.
    """
    recipe, path = recipe or Recipe(lr="config"), find_config(path)
    users = _prepare_own(path, dataset, data_root, demo)
    own = _read_own(path, None if users else dataset, own_data=users is not None)
    path = Path(own.filename)
    named = {
        "model.backbone.name": backbone,
        "model.backbone.pretrained": pretrained,
        "model.backbone.frozen_stages": recipe.freeze_stages,
        "train_cfg.max_iters": steps,
    }
    chosen: dict[str, str | int | None] = {key: value for key, value in named.items() if value is not None}
    if pretrained == "none":
        chosen["model.backbone.pretrained"] = None
    if subset:
        check_part(subset)
    root = data_root or (None if demo or users or "own_data" in own else os.environ.get("DATA_ROOT"))

    def assemble(overrides: Mapping[str, Any]) -> Config:
        names = made | names_of_files(overrides)
        cfg = read(path, names)
        if demo:
            lay_demo(cfg, names)
        elif users:
            lay_own(cfg, users)
        if subset:
            cfg.train_dataloader.dataset.subset = dict(subset)
        cfg.merge_from_dict(names)  # what no file assigns
        if steps is not None:
            set_steps(cfg, steps)
        if root:
            cfg.data_root = str(root)
        merge(cfg, {key: value for key, value in overrides.items() if key not in names})
        complete_data(cfg, batch_size, allow_partial)
        complete_for_clients(cfg)
        return cfg

    with as_user_errors(str(path)):
        overrides = parse_options(options, chosen)
        made = _made_images(Path(root), overrides) if demo and root else {}
        known = assigned_names(path) | (assigned_names(demo_overlay(own.task)) if demo else set())
        check_names(names_of_files(overrides), own, known)
        cfg = assemble(overrides)
        check_effects(cfg, overrides, assemble)
        full = read(demo_overlay(own.task), {}) if demo else own
        lay_recipe(cfg, recipe, overrides.keys() - chosen.keys(), full.train_cfg.max_iters)
        cfg = Config(read_part(cfg), filename=path)
        cfg.name = run_name(own, path, _backbone(cfg))
        if users and "own_data" not in own:
            cfg.name = own_name(cfg.name, own, users)
        limit_workers(cfg)
    return cfg


def load_options(options: Options, **training: Any) -> Config:
    """Read the config of a command line; ``training`` as in ``load_config``."""
    return load_config(
        options.config,
        backbone=options.backbone,
        dataset=options.dataset,
        options=options.cfg_options,
        data_root=options.data_root,
        demo=options.demo,
        batch_size=options.batch_size,
        allow_partial=options.allow_partial,
        **training,
    )


def load_data_config(name: str, *, data_root: Path | None = None, allow_partial: bool = False) -> Config:
    """Read the data sets of a key of ``DATA_CONFIGS``, or a folder of a user's own; the rest as in ``load_config``."""
    own = None if name in DATA_CONFIGS else prepare(Path(name))
    cfg = read(_OWN_CONFIGS[own.kind] if own else DATA_CONFIGS[name], {})
    if own:
        _check_alone(name, data_root)
        cfg.task = _OWN_TASKS[own.kind]
        lay_own(cfg, own)
    elif root := data_root or os.environ.get("DATA_ROOT"):
        cfg.data_root = str(root)
    complete_data(cfg, None, allow_partial)
    return cfg


def config_name(cfg: Config) -> str:
    """Return the name of a config's runs, see ``benchmark.config.names``."""
    return cfg.name


def _prepare_own(path: Path, dataset: str | None, data_root: Path | None, demo: bool) -> OwnData | None:
    """Return the user's own data if a folder is given; the names of data sets come before folders of that name."""
    if dataset is None or dataset in list_datasets(path) or not os.path.isdir(dataset):
        return None
    if read(path, {}).get("dataset") == dataset:
        return None
    if demo:
        raise UserError(f"--dataset {dataset} is a folder of data and --demo generates some: leave one out.")
    _check_alone(dataset, data_root)
    return prepare(Path(dataset))


def _check_alone(dataset: str, data_root: Path | None) -> None:
    if data_root:
        raise UserError(f"--dataset {dataset} says where the data lie: leave --data-root out.")


def _read_own(path: Path, dataset: str | None, *, own_data: bool = False) -> Config:
    """Return a config as its file says it, on a data set; ``own_data``: on a user's own, laid over it later."""
    own = read(path, {})
    if "model" not in own or "task" not in own:
        raise UserError(f"{path} is not a config of this benchmark: it has no 'model' and 'task'.")
    if dataset is not None and dataset != own.get("dataset"):
        return read(on_dataset(path, own.get("dataset"), dataset), {})
    if "template" in own and "dataset" not in own and not own_data:
        raise UserError(f"{path} is a template without a data set: give --dataset {'|'.join(list_datasets(path))}.")
    return own


def _made_images(root: Path, overrides: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of pictures of demo data that are there, but for those that the command line gives."""
    from benchmark.data.demo.pictures import made_images  # takes pycocotools with it

    return {key: count for key, count in made_images(root).items() if key not in overrides}


def _backbone(cfg: Config) -> str:
    if "name" not in cfg.model.get("backbone", {}):
        raise UserError(
            f"{cfg.filename} names no backbone: give --backbone NAME, rexnet_x1.0 say, or timm:NAME for one of timm's."
        )
    return cfg.model.backbone.name
