"""LiteRT's files, made from ONNX by onnx2tf, which has an environment of its own: its packages do not suit ours."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backbones.errors import UserError
from benchmark.inference.export.environment import make_environment
from benchmark.inference.export.runtime import Run, muted, read_facts, write_facts

if TYPE_CHECKING:
    from benchmark.inference.export.conversion import Conversion

LOCK = Path(__file__).with_name("litert.lock")


def convert(conversion: "Conversion", out: Path) -> None:
    """Write a model to a .tflite file in float32.

    Raises:
        UserError: the environment cannot be made, or onnx2tf cannot convert the model.
    """
    assert conversion.base is not None  # the row is made from ONNX
    folder = out.with_name("onnx2tf")
    # Names of inputs and outputs are kept.
    options: list[str | Path] = ["-i", conversion.base, "-o", folder, "-coion", "-n", "-v", "error"]
    done = subprocess.run([make_environment(LOCK), "-m", "onnx2tf", *options], capture_output=True, text=True)
    made = sorted(folder.glob("*_float32.tflite"))
    if done.returncode or not made:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"status {done.returncode}"]
        raise UserError(f"onnx2tf cannot convert this model: {said[-1]}")
    made[0].replace(out)
    write_facts(out, conversion.facts)


def load(path: Path, threads: int | None = None) -> Run:
    """Return a function that runs a file in LiteRT.

    Args:
        path: the file.
        threads: of the CPU; None for LiteRT's choice.

    Raises:
        UserError: LiteRT cannot run it.
    """
    from ai_edge_litert.interpreter import Interpreter

    inputs = facts(path)["inputs"]
    try:
        with muted():
            interpreter = Interpreter(str(path), num_threads=threads)
            runner = interpreter.get_signature_runner()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"LiteRT cannot run {path}: {str(error).strip().splitlines()[-1]}") from error

    def run(arrays: Any) -> dict[str, np.ndarray]:
        # (N, 3, H, W) -> (N, H, W, 3), which its convolutions take
        return runner(**{name: np.ascontiguousarray(arrays[name].transpose(0, 2, 3, 1)) for name in inputs})

    return run


def facts(path: Path) -> dict[str, Any]:
    """Return what must be known of a file."""
    return read_facts(path)
