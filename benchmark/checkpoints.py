"""Checkpoint files: written whole or not at all, and read without running what a pickle may hold."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from benchmark.errors import UserError

_NAME = re.compile(r"iter_(\d+)\.pth")


def checkpoint_path(folder: Path, iteration: int) -> Path:
    """Return the place of the checkpoint after so many iterations."""
    return folder / f"iter_{iteration}.pth"


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("iter_*.pth") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and rename it onto ``path``.

    Raises:
        UserError: the disk is full or the folder cannot be written; what was at ``path`` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise UserError(
            f"Could not write {path}: {error}. Earlier files are intact; make room and --resume."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of a run: ``state_dict``, ``meta``, and for resuming optimizer, schedulers and logs.

    Only tensors, plain containers and the few types MMEngine's checkpoints hold are unpickled; no code can run.

    Raises:
        UserError: no such file, not a checkpoint, or one that holds anything else.
    """
    import torch
    from mmengine.runner.checkpoint import get_torch_safe_globals

    if not path.is_file():
        raise UserError(f"Checkpoint not found: {path}.")
    try:
        with torch.serialization.safe_globals(get_torch_safe_globals()):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors; unpickling it could run code, so it was not read ({_first_line(error)})."
        ) from error
    except Exception as error:  # torch and zipfile each have their own for a file that is no archive
        raise UserError(f"{path} is not a checkpoint ({type(error).__name__}: {_first_line(error)}).") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint of a run: it has no 'state_dict'.")
    # MMEngine would execute this text as Python when resuming.
    checkpoint.get("meta", {}).pop("config", None)
    return checkpoint


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
