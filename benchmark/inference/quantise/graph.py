"""Which nodes of a graph are the network, and which only decode what it puts out.

Quantised coordinates would be off by pixels, so what comes after the last layer with weights stays in float.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LAYERS = frozenset({"Conv", "Gemm", "MatMul", "Convolution", "GroupConvolution"})  # of ONNX and OpenVINO
# Where features end: what puts out places, or picks by them. Layers on the far side are ends of their own.
_CUTS = frozenset(
    {"TopK", "NonMaxSuppression", "NonZero", "Where", "Select", "ScatterElements", "ScatterND", "ScatterNDUpdate"}
    | {"ScatterElementsUpdate", "RoiAlign", "ROIAlign", "Gather", "GatherElements", "GatherND"}
)


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Attributes:
        kind: its operator.
        inputs: names of the nodes whose outputs it takes, in order.
    """

    kind: str
    inputs: Sequence[str]


def split_graph(nodes: Mapping[str, Node], weighted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a graph's layers in order, and the names of all nodes that are not part of the network.

    Args:
        nodes: by name, in the order of computation.
        weighted: the layers that have weights, among ``LAYERS``.
    """
    inside: set[str] = set()
    for end in weighted:
        ahead = [end]
        while ahead:
            name = ahead.pop()
            if name in inside or name not in nodes:
                continue
            if nodes[name].kind in _CUTS:
                continue
            inside.add(name)
            ahead += nodes[name].inputs
    layers = set(weighted)
    return [name for name in nodes if name in layers], [name for name in nodes if name not in inside]
