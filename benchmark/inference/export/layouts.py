"""Folders in which model servers look for their models: Triton's and OpenVINO's model server."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.errors import UserError
from benchmark.inference.export.formats import FORMATS, Format
from benchmark.inference.export.runtime import Tensors

_VERSION = "1"
_LABELS = "labels.txt"
_TYPES = {"float32": "TYPE_FP32", "int32": "TYPE_INT32", "int64": "TYPE_INT64", "uint8": "TYPE_UINT8"}


@dataclass(frozen=True)
class Layout:
    """What a server wants.

    Attributes:
        server: its name.
        backends: what runs a format's files there, by the format's module.
        describe: gives the contents of further files of the model's folder by their names, of the model's name, its
            file, the backend, its inputs and outputs, and its facts.
    """

    server: str
    backends: Mapping[str, str]
    describe: Callable[[str, str, str, tuple[Tensors, Tensors], Mapping[str, Any]], dict[str, str]]


def model_folder(out: Path, row: Format) -> Path:
    """Return the folder of a model whose file would be ``out``: named as it is, without the ending."""
    return out.with_name(out.name.removesuffix(row.ending))


def check_layout(name: str, row: Format, out: Path) -> None:
    """Check that a server takes a format, and that the model's folder is not there.

    Raises:
        UserError: it does not, or it is.
    """
    layout = LAYOUTS[name]
    if row.module not in layout.backends:
        endings = ", ".join(FORMATS[known].ending for known in layout.backends)
        raise UserError(f"--layout {name}: {layout.server} takes {endings}, found --out {out}.")
    if (folder := model_folder(out, row)).exists():
        raise UserError(f"{folder} is there already: remove it or give --out another name.")


def lay_out(name: str, row: Format, made: Path, folder: Path) -> None:
    """Move an exported file and its siblings into a server's layout.

    Args:
        name: of the layout.
        row: the format.
        made: the file.
        folder: of the model, which is made.
    """
    layout, module = LAYOUTS[name], row.load_module()
    facts, tensors = module.facts(made), module.tensors(made)
    version = folder / _VERSION
    version.mkdir(parents=True)
    for part, target in zip(row.files(made), row.files(version / f"model{row.ending}"), strict=True):
        part.replace(target)
    further = layout.describe(folder.name, f"model{row.ending}", layout.backends[row.module], tensors, facts)
    for file, text in further.items():
        (folder / file).write_text(text)


def _triton(
    name: str, file: str, backend: str, tensors: tuple[Tensors, Tensors], facts: Mapping[str, Any]
) -> dict[str, str]:
    """Return config.pbtxt, a ModelConfig of Triton's as text, and the classes of a classifier.

    The batch is one of the dimensions (``max_batch_size: 0``): a file takes so many pictures as it was exported for.
    """
    classes = facts["classes"] if facts["kind"] == "classifier" else []
    inputs, outputs = tensors
    lines = [
        f"name: {json.dumps(name)}",
        f"backend: {json.dumps(backend)}",
        f"default_model_filename: {json.dumps(file)}",
        "max_batch_size: 0",
        *(_tensor("input", *tensor) for tensor in inputs),
        *(_tensor("output", *tensor, labels=bool(classes)) for tensor in outputs),
    ]
    labels = {_LABELS: "".join(f"{label}\n" for label in classes)} if classes else {}
    return {"config.pbtxt": "\n".join(lines) + "\n", **labels}


def _tensor(field: str, name: str, kind: str, shape: Sequence[int], *, labels: bool = False) -> str:
    label = f" label_filename: {json.dumps(_LABELS)}" if labels else ""
    return f"{field} {{ name: {json.dumps(name)} data_type: {_TYPES[kind]} dims: {list(shape)}{label} }}"


# --layout -> what it is.
LAYOUTS = {
    "triton": Layout("Triton", {"onnx": "onnxruntime", "openvino": "openvino"}, _triton),
    "ovms": Layout("OpenVINO's model server", {"onnx": "", "openvino": ""}, lambda *_: {}),
}
