"""The formats of exported models: one row per format."""

import importlib
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from backbones.errors import UserError


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        module: has ``export(options, checkpoint, out, *, pictures, tolerance)``, which returns an ``Exported``.
        takes: what more its ``export`` takes, of tools/export.py's options.
    """

    module: str
    takes: frozenset[str] = frozenset()


# Ending of the file -> its format.
FORMATS = {
    ".onnx": Format("benchmark.inference.export.onnx", frozenset({"opset", "nms"})),
}


def find_export(out: Path, given: Set[str]) -> Callable:
    """Return the ``export`` of the format that a file's ending asks for.

    Args:
        out: the file to write.
        given: the options that only some formats take.

    Raises:
        UserError: an unknown ending, or an option that the format does not take.
    """
    if out.suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise UserError(f"--out {out}: the ending says the format, expected one of {known}, found {out.suffix!r}.")
    row = FORMATS[out.suffix]
    for option in sorted(given - row.takes):
        raise UserError(f"--{option} is no option of {out.suffix} files: leave it out.")
    return importlib.import_module(row.module).export
