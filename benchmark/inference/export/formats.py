"""The formats of exported models: one row per format. Needs nothing but Python.

A row's module has ``convert(conversion, out, **options)``, which writes the file, ``load(path, threads)``, which gives
a function of arrays, and ``facts(path)``, which reads what must be known of a file; one whose files are ``unchecked``
has no ``load``. It imports its runtime, and all that only ``convert`` needs, within these functions, so that what runs
a file needs no PyTorch. It may have ``check(cfg, **options)``, asked before a model is loaded, ``version(path)``, which
says more of a file's kind, and ``tensors(path)``, inputs and outputs for servers' layouts.
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
        runs_with: those of them that ``load`` and ``facts`` import.
        siblings: what the names of further files end in, in place of ``ending``.
        kinds: of models that it can hold.
        takes: options of tools/export.py that only some formats take; ``convert`` gets ``nms`` and ``opset``.
        from_onnx: whether it is made from the ONNX file.
        unchecked: why its files are not run here, so that nobody knows what they find; empty where they are.
    """

    ending: str
    module: str
    title: str
    runtime: str
    packages: tuple[str, ...]
    extra: str
    runs_with: tuple[str, ...] = ()
    siblings: tuple[str, ...] = ()
    kinds: frozenset[str] = ALL
    takes: frozenset[str] = frozenset()
    from_onnx: bool = True
    unchecked: str = ""

    def load_module(self) -> ModuleType:
        """Import the row's module."""
        return importlib.import_module(f"benchmark.inference.export.{self.module}")

    def missing(self, *, to_run: bool = False) -> list[str]:
        """Return the packages that are not installed; ``to_run`` asks only for those that run a file."""
        packages = self.runs_with if to_run else self.packages
        return [name for name in packages if importlib.util.find_spec(name) is None]

    def check_installed(self, *, to_run: bool = False) -> None:
        """Check that the format can be made and run here, or only run.

        Raises:
            UserError: it cannot, for want of packages.
        """
        if missing := self.missing(to_run=to_run):
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
        runs_with=("onnxruntime",),
        takes=frozenset({"batch", "nms", "opset", "with_preprocessing"}),
        from_onnx=False,
    ),
    "openvino": Format(
        ending=".xml",
        module="openvino",
        title="OpenVINO",
        runtime="OpenVINO",
        packages=("onnx", "onnxscript", "openvino"),
        extra="openvino",
        runs_with=("openvino",),
        siblings=(".bin",),
        takes=frozenset({"batch"}),
    ),
    "ncnn": Format(
        ending=".ncnn.param",
        module="ncnn",
        title="ncnn",
        runtime="ncnn",
        packages=("onnx", "onnxscript", "pnnx", "ncnn"),
        extra="ncnn",
        runs_with=("ncnn",),
        siblings=(".ncnn.bin", ".ncnn.param.json"),
        kinds=ONE_STAGE,
    ),
    "litert": Format(
        ending=".tflite",
        module="litert",
        title="LiteRT",
        runtime="LiteRT",
        packages=("onnx", "onnxscript", "uv", "ai_edge_litert"),
        extra="litert",
        runs_with=("ai_edge_litert",),
        siblings=(".tflite.json",),
        kinds=ONE_STAGE,
        takes=frozenset({"batch"}),
    ),
    "executorch": Format(
        ending=".pte",
        module="executorch",
        title="ExecuTorch",
        runtime="ExecuTorch",
        packages=("executorch",),
        extra="executorch",
        runs_with=("executorch",),
        siblings=(".pte.json",),
        kinds=ONE_STAGE,
        takes=frozenset({"batch"}),
        from_onnx=False,
    ),
    "coreml": Format(
        ending=".mlpackage",
        module="coreml",
        title="Core ML",
        runtime="Core ML",
        packages=("coremltools",),
        extra="coreml",
        runs_with=("coremltools",),
        kinds=ONE_STAGE,
        takes=frozenset({"batch"}),
        from_onnx=False,
        unchecked="Core ML runs on Apple's systems alone",
    ),
}


def format_of(path: Path) -> Format | None:
    """Return the format that a file's ending says, None if none does."""
    return next((row for row in FORMATS.values() if path.name.endswith(row.ending)), None)


def find_row(path: Path) -> Format:
    """Return the format of an exported file.

    Raises:
        UserError: its ending is that of none.
    """
    row = format_of(path)
    if row is None:
        known = ", ".join(row.ending for row in FORMATS.values())
        raise UserError(f"{path} is no exported file by its ending: expected one of {known}.")
    return row


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
        raise UserError(f"--{option.replace('_', '-')} is no option of {row.ending} files: leave it out.")
    return row
