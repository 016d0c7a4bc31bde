"""ncnn's files: layers as text, the weights beside it, and what must be known as JSON; made from ONNX by pnnx."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backbones.errors import UserError
from benchmark.inference.export.runtime import Run, muted, read_facts, write_facts

if TYPE_CHECKING:
    from benchmark.inference.export.conversion import Conversion

_NAME = "model"  # of pnnx's files
_NARROW = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")  # on by default


def convert(conversion: "Conversion", out: Path) -> None:
    """Write a model to ncnn's files; ``out`` is the one with the layers.

    Raises:
        UserError: pnnx cannot convert it.
    """
    import pnnx

    assert conversion.base is not None  # the row is made from ONNX
    folder = out.with_name("pnnx")  # it writes a dozen files beside its input
    folder.mkdir()
    shutil.copyfile(conversion.base, folder / f"{_NAME}.onnx")
    command = [pnnx.EXEC_PATH, f"{_NAME}.onnx", "fp16=0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    layers, weights = (folder / f"{_NAME}.ncnn.{end}" for end in ("param", "bin"))
    if done.returncode or not layers.is_file() or not weights.is_file():
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"status {done.returncode}"]
        raise UserError(f"pnnx cannot convert this model: {said[-1]}")
    layers.replace(out)
    weights.replace(_weights(out))
    write_facts(out, conversion.facts)


def load(path: Path, threads: int | None = None) -> Run:
    """Return a function that runs a file in ncnn, in float32.

    Args:
        path: the file with the layers.
        threads: of the CPU; None for ncnn's choice.

    Raises:
        UserError: ncnn cannot run it.
    """
    import ncnn

    inputs, outputs = facts(path)["inputs"], facts(path)["outputs"]
    net = ncnn.Net()
    for option in _NARROW:
        setattr(net.opt, option, False)
    if threads:
        net.opt.num_threads = threads
    with muted():
        failed = net.load_param(str(path)) or net.load_model(str(_weights(path)))
    if failed:
        raise UserError(f"ncnn cannot run {path}: it has not all of its layers, or {_weights(path).name} is damaged.")

    def run(arrays: Any) -> dict[str, np.ndarray]:
        extractor = net.create_extractor()
        # Its matrices have no batch, ignore strides and do not own their memory.
        given = [np.ascontiguousarray(arrays[name][0]) for name in inputs]
        for place, array in enumerate(given):
            extractor.input(f"in{place}", ncnn.Mat(array))
        # Its own list of outputs is in another order than the model's.
        return {name: np.array(extractor.extract(f"out{place}")[1])[None] for place, name in enumerate(outputs)}

    return run


def facts(path: Path) -> dict[str, Any]:
    """Return what must be known of a file."""
    return read_facts(path)


def _weights(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".param") + ".bin")
