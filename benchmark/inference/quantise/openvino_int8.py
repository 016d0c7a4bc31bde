"""INT8 of OpenVINO's files, by NNCF: a scale per channel of weights, biases corrected."""

import logging
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.inference.export.openvino import save
from benchmark.inference.export.runtime import Arrays, muted
from benchmark.inference.quantise.arithmetic import Arithmetic
from benchmark.inference.quantise.graph import LAYERS, Node, split_graph

if TYPE_CHECKING:
    from openvino import Model

PACKAGES = ("openvino", "nncf")
EXTRA = "quantise"
_PASSIVE = ("Constant", "Convert", "Parameter", "Result")


def describe(arithmetic: Arithmetic) -> str:
    """Return how weights and activations are represented, in words."""
    weights = "8 bits of weights" if arithmetic.exact else "7 bits of weights, which do not saturate"
    return f"{weights}, per channel"


def prepare(source: Path, folder: Path) -> Path:
    """Copy a file into a folder, and return its path."""
    out = folder / "prepared.xml"
    for ending in (".xml", ".bin"):
        shutil.copyfile(source.with_suffix(ending), out.with_suffix(ending))
    return out


def layers(prepared: Path) -> tuple[list[str], list[str]]:
    """Return the names of the layers with weights, in order, and of the nodes that are no part of the network."""
    import openvino

    return _split(openvino.Core().read_model(prepared))


def quantise(
    prepared: Path,
    pictures: Sequence[Arrays],
    out: Path,
    facts: Any,
    *,
    arithmetic: Arithmetic,
    floats: Collection[str],
) -> None:
    """Write an INT8 file; arguments as in ``onnx_int8.quantise``."""
    import openvino

    with muted():  # it draws its progress, and looks for CUDA
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

        logging.getLogger("nncf").setLevel(logging.ERROR)
        model = nncf.quantize(
            openvino.Core().read_model(prepared),
            nncf.Dataset([dict(picture) for picture in pictures]),
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=sorted(floats), validate=False),
            advanced_parameters=AdvancedQuantizationParameters(
                overflow_fix=OverflowFix.DISABLE if arithmetic.exact else OverflowFix.ENABLE
            ),
        )
    save(model, facts, out)


def _split(model: "Model") -> tuple[list[str], list[str]]:
    operators = [op for op in model.get_ordered_ops() if op.get_type_name() not in _PASSIVE]
    nodes = {
        op.get_friendly_name(): Node(
            op.get_type_name(), [value.get_node().get_friendly_name() for value in op.input_values()]
        )
        for op in operators
    }
    weighted = [
        op.get_friendly_name()
        for op in operators
        if op.get_type_name() in LAYERS and _is_constant(op.input_value(1).get_node())
    ]
    return split_graph(nodes, weighted)


def _is_constant(node: Any) -> bool:
    """Tell whether a node is a constant, or one in another shape or type."""
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")
