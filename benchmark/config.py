"""Configs: read, overlaid (demo, command line), and completed with what follows from the backbone."""

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from benchmark.errors import UserError, did_you_mean

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DEMO_ROOT = "data/demo"
DATALOADERS = ("train_dataloader", "val_dataloader")


def load_config(
    path: Path,
    *,
    options: Sequence[str] = (),
    data_root: Path | None = None,
    demo: bool = False,
    pretrained: str | None = None,
) -> Config:
    """Read a config and lay the command line over it; imports neither torch nor MMDetection.

    Args:
        path: a config file.
        options: ``key=value`` pairs, keys with dots, values as Python writes them or plain words.
        data_root: folder of the data; default the environment's DATA_ROOT, then the config's own.
        demo: lay the generated data set and a short schedule over the config.
        pretrained: weights for the backbone; ``none`` trains from scratch.

    Raises:
        UserError: no such config, one that cannot be read, or an option that does not fit it.
    """
    cfg = _read(path)
    if demo:
        _overlay_demo(cfg)
    if pretrained is not None:
        cfg.model.backbone.pretrained = None if pretrained == "none" else pretrained
    root = data_root or (None if demo else os.environ.get("DATA_ROOT"))
    if root:
        cfg.data_root = str(root)
    _merge_options(cfg, options)
    for name in DATALOADERS:
        cfg[name].dataset.data_root = cfg.data_root
    if "val_evaluator" in cfg:
        dataset = cfg.val_dataloader.dataset
        cfg.val_evaluator.ann_file = str(Path(dataset.data_root) / dataset.ann_file)
    return cfg


def complete_model(cfg: Config) -> None:
    """Fill in what follows from the backbone: channels of the neck and head, mean and std of its weights.

    Raises:
        UserError: unknown backbone.
    """
    from backbones import feature_spec
    from backbones.weights import preprocessing

    model = cfg.model
    backbone = model.backbone
    if "name" not in backbone:
        raise UserError("The config names no backbone: model.backbone.name is missing.")
    spec = feature_spec(backbone.name, backbone.get("taps", "pyramid"))
    model.neck.setdefault("in_channels", list(spec.channels))
    if "extra_channels" in model.neck:
        model.bbox_head.setdefault("in_channels", [*model.neck.in_channels, *model.neck.extra_channels])
    record = preprocessing(backbone.name)
    model.data_preprocessor.setdefault("mean", [255 * value for value in record.mean])
    model.data_preprocessor.setdefault("std", [255 * value for value in record.std])


def config_name(cfg: Config) -> str:
    """Return the config's name: its file without the suffix, also for one dumped into a run's folder."""
    return cfg.get("name") or Path(cfg.filename).stem


def config_sha256(cfg: Config) -> str:
    """Return the hash of what a run computes: the resolved config without places and process counts."""
    text = Config(
        {key: value for key, value in cfg.items() if key not in ("work_dir", "resume", "load_from", "launcher")}
    )
    return hashlib.sha256(text.dump().encode()).hexdigest()


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
    from benchmark.demo import CLASSES

    cfg.merge_from_dict(Config.fromfile(CONFIGS / "_base_" / "demo.py")._cfg_dict.to_dict())
    cfg.data_root = DEMO_ROOT
    for name in DATALOADERS:
        cfg[name].dataset.metainfo = ConfigDict(classes=CLASSES)
    for head in _with_num_classes(cfg.model):
        head.num_classes = len(CLASSES)
    cfg.demo = True


def _with_num_classes(node: Any) -> Iterator[ConfigDict]:
    if isinstance(node, dict):
        if "num_classes" in node:
            yield node
        for child in node.values():
            yield from _with_num_classes(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _with_num_classes(child)
