"""What all runtimes have in common: a file becomes a function of arrays. Needs NumPy alone."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backbones.errors import UserError

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], dict[str, np.ndarray]]  # inputs by name -> outputs by name
Tensors = Sequence[tuple[str, str, Sequence[int]]]  # name, NumPy's name of the type, shape with -1 for what varies


def facts_path(path: Path) -> Path:
    """Return the place of what must be known of a file whose format has no room for it."""
    return path.with_name(f"{path.name}.json")


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write what must be known of a file beside it."""
    facts_path(path).write_text(json.dumps(facts, indent=2) + "\n")


def read_facts(path: Path) -> dict[str, Any]:
    """Read what must be known of a file.

    Raises:
        UserError: it is not there, or no JSON.
    """
    try:
        return json.loads(facts_path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} needs {facts_path(path).name} beside it, which says what its inputs and outputs are: {error}."
        ) from error


def unpack_facts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return facts whose values a file keeps as texts."""
    return {key: _value(text) for key, text in texts.items()}


def pack_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return facts as the texts that a file keeps."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Keep what native code prints in the block from the terminal: notes that a user can do nothing about."""
    with tempfile.TemporaryFile() as sink, contextlib.ExitStack() as kept:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            copy = os.dup(number)
            kept.callback(os.close, copy)
            kept.callback(os.dup2, copy, number)
            kept.callback(stream.flush)
            os.dup2(sink.fileno(), number)
        yield
