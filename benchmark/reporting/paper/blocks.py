"""Stem and blocks of built networks, read off their modules and maps, in the notation of the printed tables.

A block is ``expanded-out,stride,kernel``, with ``*`` where it has squeeze-and-excitation; several kernels are joined by
``/``, and a convolution that is no inverted bottleneck has ``x`` for what it expands to.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backbones.catalogue import build_network
from benchmark.reporting.paper.tables import Row

_STAGE = "stage"


@dataclass(frozen=True)
class Block:
    """A block: depthwise channels (None without), output channels, stride, kernels, squeeze-and-excitation."""

    expanded: int | None
    out: int
    stride: int
    kernels: tuple[int, ...]
    se: bool

    def __str__(self) -> str:
        kernels = "/".join(map(str, self.kernels))
        return f"{self.expanded or 'x'}-{self.out},{self.stride},{kernels}{'*' * self.se}"


@dataclass(frozen=True)
class Architecture:
    """Channels of the stem, the blocks in order, and the elements of all convolutions' outputs for one image."""

    stem: int
    blocks: tuple[Block, ...]
    activations: int


def read_architecture(backbone: str, side: int = 224) -> Architecture:
    """Read a network of inverted bottlenecks at a square resolution in pixels; built on the meta device."""
    with torch.device("meta"):
        net = build_network(backbone).eval()
    shapes: dict[nn.Module, tuple[torch.Size, torch.Size]] = {}

    def keep(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        shapes[module] = args[0].shape, output.shape

    blocks = _block_modules(net)
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for module in (*blocks, *convs):
        module.register_forward_hook(keep)
    with torch.no_grad():
        net(torch.zeros(1, 3, side, side, device="meta"))
    activations = sum(shapes[conv][1].numel() for conv in convs)
    return Architecture(convs[0].out_channels, tuple(_read_block(b, *shapes[b]) for b in blocks), activations)


def structure(row: Row, architecture: Architecture) -> dict[str, str]:
    """Return a network's stem and blocks as the columns of a printed row have them.

    ``stageN`` holds as many blocks as are printed there, the last stage the rest.
    """
    found = {"stem": str(architecture.stem)} if "stem" in row else {}
    if "blocks" in row:
        found["blocks"] = _channels(architecture.blocks)
    return found | _stages(row, architecture.blocks)


def _block_modules(net: nn.Module) -> list[nn.Module]:
    """Return the blocks of networks of stages, and those of ReXNet, which ends with a 1x1 convolution."""
    if hasattr(net, "blocks"):
        return [block for stage in net.get_submodule("blocks").children() for block in stage.children()]
    return [*net.get_submodule("features").children()][:-1]


def _read_block(module: nn.Module, taken: torch.Size, given: torch.Size) -> Block:
    convs = [child for child in module.modules() if isinstance(child, nn.Conv2d)]
    depthwise = [conv for conv in convs if conv.groups == conv.in_channels > 1]
    kernels = {conv.kernel_size[0] for conv in depthwise or convs}
    # Networks take squeeze-and-excitation from timm or have their own; all of them call it so.
    se = any(name == "se" and [*child.parameters()] for name, child in module.named_children())
    expanded = sum(conv.out_channels for conv in depthwise) or None
    return Block(expanded, given[1], round(taken[-1] / given[-1]), tuple(sorted(kernels)), se)


def _channels(blocks: Iterable[Block]) -> str:
    runs = ((out, len([*same])) for out, same in itertools.groupby(block.out for block in blocks))
    return "-".join(f"{out}x{count}" for out, count in runs)


def _stages(row: Mapping[str, str], blocks: Iterable[Block]) -> dict[str, str]:
    columns, rest = [column for column in row if column.startswith(_STAGE)], iter(blocks)
    stages = {column: [*itertools.islice(rest, len(row[column].split()))] for column in columns}
    if columns:
        stages[columns[-1]] += rest
    return {column: " ".join(map(str, own)) for column, own in stages.items()}
