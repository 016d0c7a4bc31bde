"""INT8 of ONNX files: onnxruntime's static quantisation, QDQ nodes, a scale per channel of weights."""

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.inference.export.runtime import Arrays, pack_facts
from benchmark.inference.quantise.arithmetic import Arithmetic
from benchmark.inference.quantise.graph import LAYERS, Node, split_graph

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGES = ("onnx", "onnxruntime")
EXTRA = "quantise"


def describe(arithmetic: Arithmetic) -> str:
    """Return how weights and activations are represented, in words."""
    weights = "signed weights" if arithmetic.exact else "unsigned weights, which do not saturate"
    return f"unsigned activations, {weights}, per channel"


def prepare(source: Path, folder: Path) -> Path:
    """Write a file of the same model with merged constants and known shapes into a folder, and return its path."""
    from onnxruntime.quantization import quant_pre_process

    out = folder / "prepared.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quant_pre_process(source, out, skip_symbolic_shape=True)  # shapes are fixed
    return out


def layers(prepared: Path) -> tuple[list[str], list[str]]:
    """Return the names of the layers with weights, in order, and of the nodes that are no part of the network."""
    import onnx

    return _split(onnx.load(prepared))


def quantise(
    prepared: Path,
    pictures: Sequence[Arrays],
    out: Path,
    facts: Any,
    *,
    arithmetic: Arithmetic,
    floats: Collection[str],
) -> None:
    """Write an INT8 file.

    Args:
        prepared: a file of ``prepare``. The ranges of its activations are kept beside it, for the next call.
        pictures: inputs to calibrate on.
        out: the file.
        facts: what must be known of it.
        arithmetic: of the processor that it is for.
        floats: names of the nodes to leave in float.
    """
    import onnx
    from onnx.helper import set_model_props
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(pictures)

        def get_next(self) -> Any:
            return next(self._left, None)

    quantize_static(
        prepared,
        out,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8 if arithmetic.exact else QuantType.QUInt8,
        nodes_to_exclude=sorted(floats),
        calibration_cache_path=prepared.with_suffix(".ranges"),
        extra_options={"CalibMovingAverage": True},  # the mean over pictures of least and greatest: outliers are cut
    )
    model = onnx.load(out)
    set_model_props(model, pack_facts(facts))
    out.write_bytes(model.SerializeToString())


def _split(model: "ModelProto") -> tuple[list[str], list[str]]:
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    makers = {name: node.name for node in graph.node for name in node.output}
    nodes = {
        node.name: Node(node.op_type, [makers[name] for name in node.input if name in makers]) for node in graph.node
    }
    weighted = [node.name for node in graph.node if node.op_type in LAYERS and set(node.input) & constants]
    return split_graph(nodes, weighted)
