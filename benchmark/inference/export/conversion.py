"""What a format's module converts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.inference.export.exportable import Exportable


@dataclass(frozen=True)
class Conversion:
    """What is converted.

    Attributes:
        model: with its branches merged.
        facts: what the file's user must know.
        base: the same model as an ONNX file, for formats that are made from one.
    """

    model: Exportable
    facts: Mapping[str, Any]
    base: Path | None = None
