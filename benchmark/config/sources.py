"""Reading a chain of config files, a file and the bases it builds on, with some of its names changed.

A template's own expressions carry a changed name to every place that uses it, as if the files had said so.
"""

import ast
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from backbones.errors import UserError

_BASES = "_base_"


def read(path: Path, changes: Mapping[str, Any]) -> Config:
    """Read a config file.

    Args:
        path: the file.
        changes: name -> value; every top-level assignment of the name in the chain gets the value.

    Raises:
        UserError: it cannot be read, or not with these changes.
    """
    try:
        if not changes:
            return Config.fromfile(path, import_custom_modules=False)
        with tempfile.TemporaryDirectory() as folder:
            cfg = Config.fromfile(_copy(path, Path(folder), changes), import_custom_modules=False)
    except Exception as error:  # a config is Python: anything can go wrong in it
        given = " ".join(f"{name}={value!r}" for name, value in changes.items())
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"Config {path} cannot be read{given and f' with {given}'}: {reason}") from error
    return Config(cfg.to_dict(), filename=path)


def assigned_names(path: Path) -> set[str]:
    """Return the names that a file and its bases assign."""
    tree = _parse(path)
    names = {name for name, _ in _assignments(tree)} - {_BASES}
    return names.union(*(assigned_names(base) for base in _bases(path, tree) if isinstance(base, Path)))


def _copy(path: Path, folder: Path, changes: Mapping[str, Any]) -> Path:
    """Write a file and its bases into a folder, with the changes, and return the copy."""
    tree = _parse(path)
    bases = [str(_copy(base, folder, changes)) if isinstance(base, Path) else base for base in _bases(path, tree)]
    for name, node in _assignments(tree):
        if name in changes or name == _BASES:
            value: Any = bases if name == _BASES else changes[name]
            node.value = ast.Constant(value)
    copy = Path(tempfile.mkdtemp(dir=folder)) / path.name
    copy.write_text(ast.unparse(tree))
    return copy


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _assignments(tree: ast.Module) -> list[tuple[str, ast.Assign]]:
    """Return the statements that assign to one name, each with the name."""
    return [
        (node.targets[0].id, node)
        for node in tree.body
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    ]


def _bases(path: Path, tree: ast.Module) -> list[Path | str]:
    """Return a file's bases; those of another package, and those that are not Python, by their names alone."""
    found = (ast.literal_eval(node.value) for name, node in _assignments(tree) if name == _BASES)
    written: str | list[str] = next(found, [])
    named = [written] if isinstance(written, str) else written
    bases = [base if "::" in base else (path.parent / base).resolve() for base in named]
    return [base if isinstance(base, str) or base.suffix == ".py" else str(base) for base in bases]
