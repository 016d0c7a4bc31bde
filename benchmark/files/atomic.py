"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from backbones.errors import UserError


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Folder {path} cannot be made: {error.strerror}. Give another one.") from error


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
            f"Could not write {path}: {error}. Earlier files are intact: make room and run it again, a training with "
            "--resume."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the half-written files of a process that was killed in ``write_atomically``."""
    for path in folder.glob(".*.tmp"):
        path.unlink()
