"""What of a config decides the numbers of a run: two configs with one hash train the same, and the other way round."""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config

from benchmark.config.complete import DATALOADERS, complete_model
from benchmark.config.recipe import EARLY_STOP

# Of a data loader: what decides which samples it gives, and in what batches.
_LOADER = ("batch_size", "sampler", "batch_sampler", "drop_last", "collate_fn", "num_batch_per_epoch", "dataset")
_PLACES = ("data_root", "allow_partial")  # of a data set; what lies there is recorded beside the config
_WATCHING = ("runtime_info", "timer", "logger", "checkpoint", "visualization")  # default hooks that change no number


def config_sha256(cfg: Config) -> str:
    """Return the hash of ``identity``."""
    content = json.dumps(flatten(identity(cfg)), sort_keys=True, default=repr)
    return hashlib.sha256(content.encode()).hexdigest()


def identity(cfg: Config) -> dict[str, Any]:
    """Return what of a config decides a run's numbers, with what follows from the backbone written down.

    Seed, precision, number of processes and the data themselves also decide them; results record those beside the hash.

    Raises:
        UserError: unknown backbone.
    """
    cfg = copy.deepcopy(cfg)
    complete_model(cfg)
    content = cfg.to_dict()
    scaling, demo = content.get("auto_scale_lr") or {}, content.get("demo") or {}
    return {
        **{key: content.get(key) for key in ("model", "param_scheduler", "sync_bn", "memory_format", "custom_hooks")},
        **{name: _loader(content[name]) for name in DATALOADERS},
        "val_evaluator": _without(content.get("val_evaluator", {}), "ann_file"),
        "val_cfg": content.get("val_cfg"),
        "train_cfg": _without(content.get("train_cfg", {}), *(() if _stops_early(content) else ("val_interval",))),
        # --precision gives it its type
        "optim_wrapper": _without(content.get("optim_wrapper", {}), "type", "precision"),
        "auto_scale_lr": scaling if scaling.get("enable") else {},
        "default_hooks": _without(content.get("default_hooks", {}), *_WATCHING),
        "randomness": _without(content.get("randomness", {}), "seed"),
        "demo": {"module": demo["module"], "images": (cfg.train_images, cfg.val_images)} if demo else {},
    }


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested containers by their keys, joined by dots."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, (list, tuple)) and any(isinstance(value, (dict, list, tuple)) for value in content):
        items = enumerate(content)
    else:
        return {prefix: list(content) if isinstance(content, tuple) else content}
    leaves: dict[str, Any] = {}
    for name, child in items:
        leaves |= flatten(child, f"{prefix}.{name}" if prefix else str(name))
    return leaves


def _stops_early(content: Mapping[str, Any]) -> bool:
    """Tell whether evaluations decide how long a training is."""
    return any(hook.get("type") == EARLY_STOP for hook in content.get("custom_hooks") or ())


def _loader(loader: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: loader[key] for key in _LOADER if key in loader},
        "dataset": _without(loader["dataset"], *_PLACES),
    }


def _without(content: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}
