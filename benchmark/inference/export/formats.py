"""The formats of exported models: one row per format. Needs nothing but Python.

A row's module has ``convert(conversion, out, **options)``, which writes the file, ``load(path, threads)``, which gives
a function of arrays, and ``facts(path)``, which reads what must be known of a file. It imports its runtime, and all
that only ``convert`` needs, within these functions, so that what runs a file needs no PyTorch. It may have
``check(cfg, **options)``, asked before a model is loaded, and ``version(path)``, which says more of a file's kind.
"""

import importlib
import importlib.util
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from backbones.errors import UserError

ALL = frozenset({"SSDLite", "Faster R-CNN", "Mask R-CNN", "classifier"})
ONE_STAGE = frozenset({"SSDLite", "classifier"})


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        ending: of the file.
        module: name in this package; see above.
        title: of the format.
        runtime: name of what runs the files.
        packages: modules that ``convert`` and ``load`` import.
        extra: group of optional dependencies that has them.
        siblings: what the names of further files end in, in place of ``ending``.
        kinds: of models that it can hold.
        takes: options of tools/export.py that its ``convert`` takes.
        from_onnx: whether it is made from the ONNX file.
    """

    ending: str
    module: str
    title: str
    runtime: str
    packages: tuple[str, ...]
    extra: str
    siblings: tuple[str, ...] = ()
    kinds: frozenset[str] = ALL
    takes: frozenset[str] = frozenset()
    from_onnx: bool = True

    def load_module(self) -> ModuleType:
        """Import the row's module."""
        return importlib.import_module(f"benchmark.inference.export.{self.module}")

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def check_installed(self) -> None:
        """Check that the format can be made and run here.

        Raises:
            UserError: it cannot, for want of packages.
        """
        if missing := self.missing():
            raise UserError(
                f"{self.title} files need {', '.join(missing)}, not installed here: "
                f"pip install 'rexnet-benchmark[{self.extra}]'."
            )

    def files(self, path: Path) -> list[Path]:
        """Return all files of an exported model; the one that has its name comes last."""
        return [*(path.with_name(path.name.removesuffix(self.ending) + end) for end in self.siblings), path]


FORMATS = {
    "onnx": Format(
        ending=".onnx",
        module="onnx",
        title="ONNX",
        runtime="onnxruntime",
        packages=("onnx", "onnxruntime", "onnxscript"),
        extra="export",
        takes=frozenset({"opset", "nms"}),
        from_onnx=False,
    ),
    "openvino": Format(
        ending=".xml",
        module="openvino",
        title="OpenVINO",
        runtime="OpenVINO",
        packages=("onnx", "onnxscript", "openvino"),
        extra="openvino",
        siblings=(".bin",),
    ),
}


def format_of(path: Path) -> Format | None:
    """Return the format that a file's ending says, None if none does."""
    return next((row for row in FORMATS.values() if path.name.endswith(row.ending)), None)


def find_format(out: Path, given: Set[str]) -> Format:
    """Return the format that a file's ending asks for.

    Args:
        out: the file to write.
        given: the options that only some formats take.

    Raises:
        UserError: an unknown ending, or an option that the format does not take.
    """
    row = format_of(out)
    if row is None:
        known = ", ".join(row.ending for row in FORMATS.values())
        raise UserError(f"--out {out}: the ending says the format, expected one of {known}, found {out.suffix!r}.")
    for option in sorted(given - row.takes):
        raise UserError(f"--{option} is no option of {row.ending} files: leave it out.")
    return row
