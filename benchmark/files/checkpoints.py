"""Checkpoint files of runs: their names, and what is in them; ``backbones.tensors`` reads and verifies the files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError
from backbones.tensors import check_plain, describe_misfit, first_not_finite, read_tensors
from benchmark.files.run_folder import list_checkpoints

if TYPE_CHECKING:
    from torch import nn


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
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} is not a checkpoint of a run: it has no 'state_dict' of tensors.")
    check_plain(state, path)
    _check_meta(checkpoint.setdefault("meta", {}), path)
    # MMEngine would execute this text as Python when resuming.
    checkpoint["meta"].pop("config", None)
    return checkpoint


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
