"""Environments of converters whose packages do not suit ours: made once by uv in the user's cache, pinned by hash."""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.files.atomic import make_folder
from benchmark.files.cache import cache_folder

_PYTHONS = ">=3.12,<3.14"
_COMPLETE = ".complete"


def make_environment(lock: Path) -> Path:
    """Return the Python of an environment with the packages of a lock file; the first time it is made, with a note.

    Args:
        lock: as ``uv pip compile --generate-hashes`` writes it.

    Raises:
        UserError: there is no Python that it is for, or the packages cannot be installed.
    """
    folder = cache_folder("environments") / f"{lock.stem}-{file_sha256(lock)[:16]}"
    make_folder(folder.parent)
    python = folder / "bin" / "python"
    with _one_at_a_time(folder.with_name(f"{folder.name}.lock")):
        if not (folder / _COMPLETE).is_file():
            print(f"Making an environment for the conversion in {folder}, once ...", file=sys.stderr, flush=True)
            _uv("venv", "--quiet", "--clear", "--python", _python(), folder)
            _uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
            (folder / _COMPLETE).touch()
    return python


def _python() -> str:
    """Return which Python uv is asked for."""
    if named := os.environ.get("UV_PYTHON"):
        return named
    if sys.version_info >= (3, 12):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")  # where uv does not look
    found = sorted(pyenv.glob("versions/3.12.*/bin/python"))
    return str(found[-1]) if found else _PYTHONS


def _uv(*arguments: object) -> None:
    import uv

    done = subprocess.run([uv.find_uv_bin(), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(
            f"The environment for the conversion cannot be made: {said[:500]}\nIt takes Python {_PYTHONS}, which "
            "UV_PYTHON in the environment can name, and a package index."
        )


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
