"""``--cfg-options``: an override reaches what the run reads, or it is an error that says what would."""

import ast
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from backbones.errors import UserError, did_you_mean
from benchmark.config.identity import flatten

# What a run reads of a config. Those of the first group are built from; of a template's other names nothing is.
STRUCTURES = frozenset(
    (
        *("model", "train_dataloader", "val_dataloader", "val_evaluator", "train_cfg", "val_cfg"),
        *("optim_wrapper", "param_scheduler", "auto_scale_lr", "default_hooks", "custom_hooks", "log_processor"),
        *("visualizer", "env_cfg", "randomness", "custom_imports", "model_wrapper_cfg", "demo", "own_data", "sweep"),
        *("test_dataloader", "test_evaluator", "test_cfg"),  # for MMDetection's own clients
    )
)
SETTINGS = frozenset(
    (
        *("task", "template", "name", "dataset", "dataset_name", "data_root", "train_images", "val_images"),
        *("memory_format", "sync_bn", "find_unused_parameters", "default_scope", "log_level", "launcher"),
        *("work_dir", "load_from", "resume", "experiment_name"),
    )
)
# Settings that a run reads also where no file assigns them.
_WITHOUT_FILE = (
    *("memory_format", "sync_bn", "find_unused_parameters", "default_scope", "log_level", "dataset_name", "val_images"),
)
# What the command line says, or is said elsewhere.
_ELSEWHERE = {
    "max_iters": "give --steps N, which moves the schedule with it",
    "batch_size": "give --batch-size N",
    "template": "give another CONFIG",
    "task": "give another CONFIG",
    "name": "a run is named after its config and its backbone",
    "dataset": "give --dataset NAME",
    "own_data": "give --dataset DIR",
    "demo": "give --demo",
    "train_dataloader.dataset.subset": "give --fraction F or --images N",
    "seed": "give --seed N",
    "randomness.seed": "give --seed N",
    "precision": "give --precision",
    "optim_wrapper.precision": "give --precision",
    "optim_wrapper.type": "give --precision",
    "optim_wrapper.accumulative_counts": "give --accumulate N",
    "train_cfg.accumulate": "give --accumulate N",
    "launcher": "give --launcher",
    "work_dir": "give --work-dir DIR",
    "load_from": "use --pretrained FILE or --resume",
    "resume": "use --pretrained FILE or --resume",
    "val_evaluator.ann_file": "set val_dataloader.dataset.ann_file",
    **dict.fromkeys(
        ("data_root", "train_dataloader.dataset.data_root", "val_dataloader.dataset.data_root"), "give --data-root DIR"
    ),
}
_DATALOADER = (
    *("batch_size", "sampler", "batch_sampler", "dataset", "num_workers", "persistent_workers", "pin_memory"),
    *("drop_last", "collate_fn", "timeout", "prefetch_factor", "num_batch_per_epoch", "multiprocessing_context"),
)
# Where keys may be added to a dict without a type, and which; None for any.
_TAKEN = {
    "": (*STRUCTURES, *SETTINGS),
    "train_dataloader": _DATALOADER,
    "val_dataloader": _DATALOADER,
    "auto_scale_lr": ("enable", "base_batch_size"),
    "randomness": ("seed", "diff_rank_seed", "deterministic"),
    "env_cfg": ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"),
    "default_hooks": None,
    "model.backbone": ("name", "pretrained", "frozen_stages"),
}
# Where a class is registered that a part of the config is built from.
_REGISTRIES = {
    "model": ("MODELS", "TASK_UTILS"),
    "train_dataloader": ("DATASETS", "TRANSFORMS", "DATA_SAMPLERS", "FUNCTIONS"),
    "val_dataloader": ("DATASETS", "TRANSFORMS", "DATA_SAMPLERS", "FUNCTIONS"),
    "val_evaluator": ("METRICS",),
    "train_cfg": ("LOOPS",),
    "val_cfg": ("LOOPS",),
    "optim_wrapper": ("OPTIM_WRAPPERS", "OPTIMIZERS"),
    "param_scheduler": ("PARAM_SCHEDULERS",),
    "default_hooks": ("HOOKS",),
    "custom_hooks": ("HOOKS",),
    "log_processor": ("LOG_PROCESSORS",),
    "visualizer": ("VISUALIZERS", "VISBACKENDS"),
}
# The parts whose every type is in its registries by then.
_REGISTERED = tuple(part for part in _REGISTRIES if part != "model")
_OF_DEMO = ("train_images", "val_images")
# The least of whole numbers that may be given in place of any value.
_LEAST = {
    **dict.fromkeys(("num_workers", *_OF_DEMO), 0),
    **dict.fromkeys(("batch_size", "base_batch_size", "input_size", "num_classes", "window_size"), 1),
}
_MOST = 65_536
_NEEDED = frozenset(("checkpoint", "metainfo", "dataset", "optimizer", "backbone", "data_prefix", *_LEAST))
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "memory_format": ("channels_last", "contiguous_format"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    "default_scope": ("mmdet",),
    "env_cfg.mp_cfg.mp_start_method": ("fork", "forkserver", "spawn"),
    "val_evaluator.iou_types": ("bbox", "segm"),
}
_STRUCTURED = ("optim_wrapper.clip_grad",)  # structures that may be absent
_NAME = re.compile(r"\w+(\.\w+)*")  # of a class, with its scope
# MMEngine takes these out before it builds.
_NO_ARGUMENTS = {"type", "_scope_", "priority", "convert_to_iter_based", "constructor", "paramwise_cfg"}


def parse_options(options: Iterable[str], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides: values by their keys.

    Args:
        options: ``key=value`` pairs; keys with dots, values as Python writes them or plain words.
        chosen: what other options of the command line say, by the key that they set.

    Raises:
        UserError: no pair, a key given twice, or one that another option of the command line is for.
    """
    values: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise UserError(f"--cfg-options takes key=value, found {option!r}.")
        value = _parse(text)
        if key in values and not _same(values[key], value):
            raise UserError(f"--cfg-options {key} is given twice, as {values[key]!r} and {value!r}.")
        for part in (key, *flatten(value, key)):
            if part in _ELSEWHERE:
                raise UserError(f"--cfg-options {option} would change nothing: {_ELSEWHERE[part]}.")
        values[key] = value
    for key, value in chosen.items():
        if key in values and not _same(values[key], value):
            raise UserError(f"--cfg-options {key} contradicts another option of the command line: leave one out.")
    return {**values, **chosen}


def names_of_files(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides of what config files call by a name of their own, ``learning_rate`` say."""
    return {key: value for key, value in overrides.items() if "." not in key and key not in STRUCTURES}


def check_names(names: Mapping[str, Any], cfg: Config, known: Iterable[str]) -> None:
    """Check that the files of a config assign every name, or that a run reads it also where none does; and its value.

    Raises:
        UserError: an unknown name; the message has the nearest key of all. Or a value of another kind.
    """
    known = {*known, *_WITHOUT_FILE}
    for name, value in names.items():
        if name not in known:
            raise _unknown(name, [*known, *flatten(read_part(cfg))])
        # Reading the files tells what other words do to them.
        if not isinstance(value, str) or name in _OF_DEMO or name in _CHOICES:
            _check_value(name, _find(cfg, name), value)


def merge(cfg: Config, overrides: Mapping[str, Any]) -> None:
    """Lay the overrides of a config's parts over it.

    Raises:
        UserError: a key that the config does not have, where none may be added, or a value in place of a structure.
    """
    for key, value in overrides.items():
        for part in _leaves(cfg, key, value):
            _check_key(cfg, part)
        _check_value(key, _find(cfg, key), value)
        _check_types(key, value)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise UserError(f"--cfg-options {key}={value!r}: does not fit the config ({error}).") from error


def _check_value(key: str, there: Any, value: Any) -> None:
    """Refuse a value of another kind than the one that is there, and one that cannot be.

    Args:
        key: with dots.
        there: what the config says; anything may replace None, or be where there is nothing.
        value: in its place; None leaves most things to a default.

    Raises:
        UserError: a word in place of a number, one value in place of a structure, nothing where something is needed.
    """
    last = key.rpartition(".")[2]
    if isinstance(there, dict) and isinstance(value, dict) and not value.get("_delete_"):
        for name, child in value.items():
            _check_value(f"{key}.{name}", there.get(name), child)
        return
    if value is None and (key in STRUCTURES or last in _NEEDED):
        raise UserError(f"--cfg-options {key}=None: a run needs it.")
    if value is None:
        return
    expected = next((words for words, fits in _kinds(key, last, there) if not fits(value)), None)
    if expected:
        raise UserError(f"--cfg-options {key}={value!r}: expected {expected}.")


def _kinds(key: str, last: str, there: Any) -> Iterator[tuple[str, Callable[[Any], bool]]]:
    """Yield what a value must be, in words, and a function that tells whether it is."""
    if key in _CHOICES:
        known = _CHOICES[key]
        yield f"of {', '.join(known)}", lambda value: bool(value) and {*_listed(value)} <= {*known}
    if last in _LEAST:
        least = _LEAST[last]
        yield f"a whole number in {least}..{_MOST}", lambda value: type(value) is int and least <= value <= _MOST
    elif last.endswith("interval"):
        yield "a number of iterations or, as 30m, minutes", lambda v: isinstance(v, str) or (type(v) is int and v > 0)
    elif isinstance(there, bool):
        yield "True or False", lambda value: isinstance(value, bool)
    elif isinstance(there, (int, float)):
        yield "a number", lambda v: type(v) in (int, float) and (math.isfinite(v) or not math.isfinite(there))
    elif isinstance(there, str):
        yield "a text", lambda value: isinstance(value, str)
    elif isinstance(there, dict) or key in _STRUCTURED:
        yield "a structure, which one value cannot replace", lambda value: isinstance(value, dict)
    elif isinstance(there, (list, tuple)):
        yield "a list, a structure that one value cannot replace", lambda value: isinstance(value, (dict, list, tuple))
        if there and all(isinstance(part, dict) for part in there):
            yield (
                "a list of structures",
                lambda value: isinstance(value, dict) or all(isinstance(v, dict) for v in value),
            )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _check_types(key: str, value: Any) -> None:
    """Refuse a type that is no name of a class, also inside a value."""
    if key.rpartition(".")[2] == "type" and not isinstance(value, str):
        raise UserError(f"--cfg-options {key}={value!r}: it takes the name of a class.")
    for name, child in _children(value):
        _check_types(f"{key}.{name}", child)


def check_effects(cfg: Config, overrides: Mapping[str, Any], assemble: Callable[[Mapping[str, Any]], Config]) -> None:
    """Check that every override reaches what the run reads, or is what the config says already.

    Args:
        cfg: the config under the overrides.
        overrides: key -> value.
        assemble: returns the config under overrides.

    Raises:
        UserError: an override that changes nothing.
    """
    content = flatten(read_part(cfg))
    for key, value in overrides.items():
        if key.partition(".")[0] in STRUCTURES | SETTINGS and _same(_find(cfg, key), value):
            continue
        try:
            before = assemble({other: given for other, given in overrides.items() if other != key})
        except UserError:
            continue  # the others need it
        if _same(flatten(read_part(before)), content) and not _same(_find(before, key), value):
            raise UserError(
                f"--cfg-options {key}={value!r} changes nothing that the run reads: the rest of the config or of the "
                "command line (--demo, --steps, --batch-size, --data-root) decides it."
            )


def read_part(cfg: Config) -> dict[str, Any]:
    """Return what a run reads of a config, without the names that only its files use."""
    return {key: value for key, value in cfg.to_dict().items() if key in STRUCTURES | SETTINGS}


def check_arguments(cfg: Config) -> None:
    """Check that every class takes what the config gives it; everything must be registered.

    Raises:
        UserError: an entry without a type, an unknown type, or an argument that a class and its bases do not take.
    """
    import mmdet.registry
    import mmengine.registry

    for part, registries in _REGISTRIES.items():
        entries = cfg.get(part)
        for entry in entries if isinstance(entries, (list, tuple)) else ():
            if not (isinstance(entry, dict) and "type" in entry):
                raise UserError(f"{part}: every entry has a type, found {entry!r}: write [{{'type': ...}}].")
        for place, node in _typed(cfg.get(part), part):
            homes = ((mmdet if hasattr(mmdet.registry, name) else mmengine, name) for name in registries)
            places = [getattr(home.registry, name) for home, name in homes]
            is_name = _NAME.fullmatch(node["type"])
            classes = [found for registry in places if is_name and (found := registry.get(node["type"]))]
            if not classes and (part in _REGISTERED or not is_name):
                known = {name for registry in places for name in registry.module_dict}
                raise UserError(f"{place}: unknown type {node['type']!r}.{did_you_mean(node['type'], known)}")
            taken = set().union(*map(_arguments, classes))
            for key in node if classes and "**" not in taken else ():
                if key not in taken | _NO_ARGUMENTS:
                    raise UserError(f"{place}: {node['type']} does not take {key!r}.{did_you_mean(key, taken)}")


def _parse(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(value, value)


def _same(ours: Any, theirs: Any) -> bool:
    """Compare values; a tuple is a list, and not-a-number is itself."""
    return repr(flatten(ours)) == repr(flatten(theirs))


def _leaves(cfg: Config, key: str, value: Any) -> Iterator[str]:
    """Yield the keys that a value sets: of a dict that is laid over another those of its entries."""
    there = _find(cfg, key)
    if isinstance(value, dict) and isinstance(there, dict) and not value.get("_delete_"):
        for name, child in value.items():
            yield from _leaves(cfg, f"{key}.{name}", child)
    else:
        yield key


def _check_key(cfg: Config, key: str) -> None:
    node, parts = cfg._cfg_dict, key.split(".")
    if parts[0] not in STRUCTURES | SETTINGS:
        raise _unknown(key, flatten(read_part(cfg)))
    for depth, part in enumerate(parts):
        place = ".".join(parts[:depth])
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and depth == len(parts) - 1 and _takes(place, node, part):
            return
        else:
            raise _unknown(key, flatten(read_part(cfg)))


def _takes(place: str, node: Mapping[str, Any], key: str) -> bool:
    """Tell whether a key may be added to a dict; ``check_arguments`` asks the class of one that has a type."""
    taken = _TAKEN.get(place, ())
    return "type" in node or taken is None or key in taken


def _unknown(key: str, known: Iterable[str]) -> UserError:
    return UserError(f"--cfg-options {key}: the config has no such key.{did_you_mean(key, known)}")


def _find(cfg: Config, key: str) -> Any:
    """Return the value at a key with dots; an object that equals nothing where there is none."""
    node: Any = cfg._cfg_dict
    for part in key.split("."):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, (list, tuple)) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return object()
    return node


def _children(node: Any) -> Iterable[tuple[Any, Any]]:
    """Return what is in a dict or a list, by key or place; nothing else holds anything."""
    return node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()


def _typed(node: Any, place: str) -> Iterator[tuple[str, ConfigDict]]:
    """Yield every dict with a type, and its place."""
    if isinstance(node, dict) and isinstance(node.get("type"), str):
        yield place, node
    for name, child in _children(node):
        yield from _typed(child, f"{place}.{name}")


def _arguments(built: Callable) -> set[str]:
    """Return the names of a function's arguments; of a class also its bases' where it hands keywords on to them.

    ``**`` is among them where any keyword is taken to the end.
    """
    if inspect.isclass(built):
        functions = [vars(owner)["__init__"] for owner in built.__mro__ if "__init__" in vars(owner)]
    else:
        functions = [built]
    taken: set[str] = set()
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        taken |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            return taken
    return taken | {"**"}
