"""Files that are written whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
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


def check_folder(path: Path) -> None:
    """Check that a folder is there or can be made, as far as can be told without making it.

    Raises:
        UserError: something above it is no folder, or one that cannot be written into.
    """
    above = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not above.is_dir():
        raise UserError(f"Folder {path} cannot be made: {above} is a file. Give another one.")
    try:
        with tempfile.TemporaryFile(dir=above):  # permissions do not tell of read-only file systems, nor of /proc
            pass
    except OSError as error:
        raise UserError(f"Folder {path} cannot be written: {above}: {error.strerror}. Give another one.") from error


def check_file(path: Path, begins: str = "") -> None:
    """Check that a file can be written, as far as can be told without writing it; the rest as in ``check_folder``.

    Args:
        path: where it will be.
        begins: how such files begin: one that begins otherwise is somebody's own.

    Raises:
        UserError: also where it is a folder, or a file of another kind.
    """
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise UserError(f"{path} cannot be a file: {error.strerror}. Give another name.") from error
    if is_folder:
        raise UserError(f"{path} is a folder: give a file.")
    if not exists:
        check_folder(path.parent)
    elif path.is_file() and (found := _beginning(path, len(begins.encode()))) and found != begins.encode():
        raise UserError(f"{path} is a file of another kind, which would be replaced: remove it or give another name.")


def _beginning(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and rename it onto ``path``.

    A symbolic link stays one: what it points to is written. A device is written into as it is, and so is a pipe that
    somebody reads.

    Raises:
        UserError: a folder, a full disk, or a folder that cannot be written; what was at ``path`` is still there.
    """
    place = path.resolve()
    if place.is_dir():
        raise UserError(f"{path} is a folder: give a file.")
    is_new_or_regular = place.is_file() or not place.exists()
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp") if is_new_or_regular else place
    try:
        with _reader(place):
            write(temporary)
        if is_new_or_regular:
            _flush(temporary)
            temporary.replace(place)
            _flush(place.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise UserError(
            f"Could not write {path}: {error}. Earlier files are intact: make room, and run it again."
        ) from error
    finally:
        if is_new_or_regular:
            temporary.unlink(missing_ok=True)


def place_folder(made: Path, path: Path) -> None:
    """Copy a folder to where none is, whole or not at all.

    Raises:
        UserError: something is there, a full disk, or a folder that cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(made, temporary)
        temporary.rename(path)
    except OSError as error:
        raise UserError(f"Could not write {path}: {error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[None]:
    """Hold a pipe open, without waiting for somebody to read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK) if path.is_fifo() else None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the half-written files of a process that was killed in ``write_atomically``."""
    for path in folder.glob(".*.tmp"):
        path.unlink()
