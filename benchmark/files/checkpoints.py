"""Checkpoint files of runs: their names, and what is in them; ``backbones.tensors`` reads and verifies the files.

A published checkpoint is ``model.safetensors`` in a folder or in a repository of the hub: tensors, and in the file's
metadata the plain part of what a run's own checkpoint says of them.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError
from backbones.tensors import SAFETENSORS, check_plain, describe_misfit, first_not_finite, read_tensors
from benchmark.files.hub import fetch, is_address
from benchmark.files.run_folder import RESULT, WEIGHTS, list_checkpoints

if TYPE_CHECKING:
    from torch import Tensor, nn

_META = "rexnet-benchmark"  # the entry of a .safetensors file's metadata that holds a checkpoint's meta as JSON


def resolve_checkpoint(path: Path) -> Path:
    """Return the file of a checkpoint that a command line names.

    Args:
        path: a .pth or .safetensors file, a published folder, or ``hf:ORG/NAME``, which is fetched into the hub's
            cache, with the result beside it.

    Raises:
        UserError: the hub does not give it.
    """
    folder = fetch(path, (WEIGHTS, RESULT)) if is_address(path) else path
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    if is_address(path):
        raise UserError(f"{path} has no {WEIGHTS}: it was not published by tools/publish.py, and nothing else is read.")
    return path


def save_tensors(state: Mapping[str, "Tensor"], meta: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint's weights and plain meta as a .safetensors file."""
    from safetensors.torch import save

    # A file of tensors has none that share memory.
    own = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    # Not its save_file, whose files only their owner may read.
    path.write_bytes(save(own, metadata={"format": "pt", _META: json.dumps(meta)}))


def newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint of a run that can be read, and what is wrong with each newer one."""
    problems = []
    for path in reversed(list_checkpoints(folder)):
        try:
            load_checkpoint(path)
        except UserError as error:
            problems.append(str(error))
        else:
            return path, problems
    return None, problems


def load_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of a run: ``state_dict``, ``meta``, and for resuming optimizer, schedulers and logs.

    Only tensors and plain containers are unpickled; no code can run.

    Raises:
        UserError: no such file, not a checkpoint, damaged, or one that holds anything else.
    """
    from torch import Tensor

    if not path.is_file():
        raise UserError(f"Checkpoint not found: {path}.")
    checkpoint = read_tensors(path, kind="checkpoint", map_location=map_location)
    if path.suffix == SAFETENSORS:
        checkpoint = {"state_dict": checkpoint, "meta": _published_meta(path)}
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} is not a checkpoint of a run: it has no 'state_dict' of tensors.")
    check_plain(state, path)
    _check_meta(checkpoint.setdefault("meta", {}), path)
    # MMEngine would execute this text as Python when resuming.
    checkpoint["meta"].pop("config", None)
    return checkpoint


def _published_meta(path: Path) -> Any:
    """Return the meta that ``save_tensors`` wrote into a file; an empty dict for a file of anybody else's."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(_META, "{}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is not a checkpoint of a run: its metadata are no JSON ({error}).") from error


def _check_meta(meta: Any, path: Path) -> None:
    """Check the entries of a checkpoint's ``meta`` that are used."""
    for name, value, kinds in _meta_entries(meta):
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise UserError(f"{path} is not a checkpoint of a run: its {name!r} is a {type(value).__name__}.")


def _meta_entries(meta: Any) -> Iterator[tuple[str, Any, type | tuple[type, ...]]]:
    yield "meta", meta, dict
    yield "meta.iter", meta.get("iter", 0), int
    data = meta.get("dataset_meta") or {}
    yield "meta.dataset_meta", data, dict
    yield "meta.dataset_meta.classes", data.get("classes", ()), (list, tuple)


def load_weights(path: Path) -> dict[str, Any]:
    """Read a checkpoint whose weights are to be used, not trained on; the rest as in ``load_checkpoint``.

    Raises:
        UserError: also where a weight is not finite.
    """
    checkpoint = load_checkpoint(path)
    if name := first_not_finite(checkpoint["state_dict"]):
        raise UserError(
            f"{path} has weights that are not finite ({name} first): its training has diverged, and nothing it finds "
            "means anything. Take an earlier checkpoint, or train again with a lower learning rate."
        )
    return checkpoint


def check_fit(model: "nn.Module", state: dict[str, Any], source: Path | str) -> None:
    """Check that the weights of a checkpoint are a model's, every key of them.

    Raises:
        UserError: they are another model's.
    """
    own = model.state_dict()
    if misfit := describe_misfit(state, own.keys(), own):
        raise UserError(f"{source} is a checkpoint of another model than the config's: {misfit}.")


def fill(model: "nn.Module", state: dict[str, Any], source: Path | str) -> None:
    """Give a model the weights of a checkpoint; the rest as in ``check_fit``."""
    check_fit(model, state, source)
    model.load_state_dict(state)
