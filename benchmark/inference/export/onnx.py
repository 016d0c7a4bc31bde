"""ONNX files, run by onnxruntime."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError
from benchmark.inference.export.runtime import Run, Tensors, pack_facts, unpack_facts

if TYPE_CHECKING:
    from mmengine.config import Config
    from onnxruntime import InferenceSession

    from benchmark.inference.export.conversion import Conversion

_FIRST_OPSET = 18  # the lowest that PyTorch's exporter writes
_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(uint8)": "uint8"}  # onnxruntime's -> NumPy's


def convert(conversion: "Conversion", out: Path, *, opset: int | None = None, nms: bool = False) -> None:
    """Write a model to an ONNX file, with what its user must know in its metadata.

    Args:
        conversion: the model.
        out: the file.
        opset: version of ONNX's operators, by default the lowest that PyTorch writes.
        nms: end SSDLite in ONNX's NonMaxSuppression with the settings of ``test_cfg``, but for ``nms_pre``: all
            anchors above the score threshold take part.

    Raises:
        UserError: PyTorch cannot export it, or not at this opset.
    """
    from onnx.helper import set_model_props

    from benchmark.inference.export.pictured import Pictured
    from benchmark.inference.export.to_onnx import append_nms, prepend_preparation, to_onnx

    pictured = isinstance(conversion.model, Pictured)
    network: Any = conversion.model.original if pictured else conversion.model
    model = to_onnx(network, opset or _FIRST_OPSET)
    if nms:
        model = append_nms(model, network.detector.test_cfg)
    if pictured:
        model = prepend_preparation(model, network.preparation)
    set_model_props(model, pack_facts(conversion.facts))
    out.write_bytes(model.SerializeToString())


def check(cfg: "Config", *, opset: int | None = None, nms: bool = False) -> None:
    """Check the options before a model is loaded.

    Raises:
        UserError: an opset that cannot be written, or an NMS that ONNX does not have.
    """
    import onnx

    if nms and cfg.model.type != "SSDLite":
        raise UserError(f"--nms is for SSDLite: a {cfg.task} model has its NMS within, or none.")
    kind = cfg.model.test_cfg.nms.type if nms else "nms"
    if kind != "nms":
        raise UserError(f"ONNX has no operator for the config's NMS of type {kind!r}: leave --nms out.")
    if opset and opset < _FIRST_OPSET:
        raise UserError(f"--opset {opset} is not supported: PyTorch's exporter writes {_FIRST_OPSET} and above.")
    if opset and opset > (newest := onnx.defs.onnx_opset_version()):
        raise UserError(f"--opset {opset} is not known to the installed onnx: its newest is {newest}.")


def load(path: Path, threads: int | None = None) -> Run:
    """Return a function that runs a file in onnxruntime.

    Args:
        path: the file.
        threads: of the CPU; None for onnxruntime's choice.

    Raises:
        UserError: onnxruntime cannot run it.
    """
    session = _session(path, threads)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True))


def version(path: Path) -> str:
    """Return which version of ONNX's operators a file has."""
    import onnx

    return f"opset {onnx.load(path).opset_import[0].version}"


def facts(path: Path) -> dict[str, Any]:
    """Return what must be known of a file."""
    return unpack_facts(_session(path, 1).get_modelmeta().custom_metadata_map)


def tensors(path: Path) -> tuple[Tensors, Tensors]:
    """Return the inputs and the outputs of a file."""
    session = _session(path, 1)
    inputs, outputs = (
        [(one.name, _TYPES[one.type], [size if isinstance(size, int) else -1 for size in one.shape]) for one in several]
        for several in (session.get_inputs(), session.get_outputs())
    )
    return inputs, outputs


def _session(path: Path, threads: int | None) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common class
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"onnxruntime cannot run {path}: {reason}") from error
