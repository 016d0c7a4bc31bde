"""OpenVINO's files: the graph as XML, the weights beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError
from benchmark.inference.export.runtime import Run, Tensors, pack_facts, unpack_facts

if TYPE_CHECKING:
    from openvino import Model

    from benchmark.inference.export.conversion import Conversion

_SECTION = "rexnet_benchmark"  # of the file's metadata


def convert(conversion: "Conversion", out: Path) -> None:
    """Write a model to OpenVINO's two files; ``out`` is the XML."""
    import openvino

    save(openvino.convert_model(conversion.base), conversion.facts, out)


def save(model: "Model", facts: Any, out: Path) -> None:
    """Write OpenVINO's model in its own precision, with what its user must know in its metadata."""
    import openvino

    for key, text in pack_facts(facts).items():
        model.set_rt_info(text, [_SECTION, key])
    openvino.save_model(model, out, compress_to_fp16=False)


def load(path: Path, threads: int | None = None) -> Run:
    """Return a function that runs a file in OpenVINO, in float32 where the file says so.

    Args:
        path: the XML.
        threads: of the CPU; None for OpenVINO's choice.

    Raises:
        UserError: OpenVINO cannot run it.
    """
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise UserError(f"OpenVINO cannot run {path}: {str(error).strip().splitlines()[-1]}") from error
    names = [output.any_name for output in compiled.outputs]
    return lambda inputs: dict(zip(names, (value.copy() for value in compiled(dict(inputs)).values()), strict=True))


def facts(path: Path) -> dict[str, Any]:
    """Return what must be known of a file, nothing of one that does not say it.

    Raises:
        UserError: OpenVINO cannot read it.
    """
    import openvino

    try:
        known = openvino.Core().read_model(path).get_rt_info()
    except RuntimeError as error:
        raise UserError(f"OpenVINO cannot read {path}: {str(error).strip().splitlines()[-1]}") from error
    if _SECTION not in known:  # OpenVINO's own kind of mapping
        return {}
    return unpack_facts({key: str(value.value) for key, value in known[_SECTION].items()})


def tensors(path: Path) -> tuple[Tensors, Tensors]:
    """Return the inputs and the outputs of a file."""
    import openvino

    model = openvino.Core().read_model(path)
    inputs, outputs = (
        [
            (
                one.any_name,
                one.element_type.to_dtype().name,
                [size.get_length() if size.is_static else -1 for size in one.partial_shape],
            )
            for one in several
        ]
        for several in (model.inputs, model.outputs)
    )
    return inputs, outputs
