"""Checkpoint files: written whole or not at all, and read without running what a pickle may hold.

A checkpoint is PyTorch's zip archive of tensors and plain containers; the archive carries a CRC-32 of every part, which
is verified on reading.
"""

import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError
from benchmark.files.run_folder import BEST as BEST
from benchmark.files.run_folder import checkpoint_iteration as checkpoint_iteration
from benchmark.files.run_folder import checkpoint_path as checkpoint_path
from benchmark.files.run_folder import list_checkpoints

if TYPE_CHECKING:
    from torch import nn

_FORBIDDEN = re.compile(r"GLOBAL (\S+)")  # how PyTorch names what it refuses


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
    import torch

    if not path.is_file():
        raise UserError(f"Checkpoint not found: {path}.")
    try:
        _verify(path)
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        what = _FORBIDDEN.search(str(error))
        raise UserError(
            f"{path} holds more than tensors{f' ({what[1]})' if what else ''}; unpickling it could run code, so it was "
            "not read."
        ) from error
    except Exception as error:  # torch and zipfile each have their own for a file that is no archive
        raise UserError(f"{path} is not a checkpoint ({type(error).__name__}: {_first_line(error)}).") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise UserError(f"{path} is not a checkpoint of a run: it has no 'state_dict'.")
    # MMEngine would execute this text as Python when resuming.
    checkpoint.get("meta", {}).pop("config", None)
    return checkpoint


def fill(model: "nn.Module", state: dict[str, Any], source: Path | str) -> None:
    """Give a model the weights of a checkpoint; every key must fit.

    Raises:
        UserError: they are another model's.
    """
    from backbones.weights import describe_misfit

    own = model.state_dict()
    if misfit := describe_misfit(state, own.keys(), own):
        raise UserError(f"{source} is a checkpoint of another model than the config's: {misfit}.")
    model.load_state_dict(state)


def _verify(path: Path) -> None:
    """Compare every part of the archive with its checksum; PyTorch itself reads over them."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise zipfile.BadZipFile(f"the checksum of its part {damaged} does not fit: the file is damaged")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
