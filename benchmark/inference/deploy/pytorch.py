"""PyTorch itself beside the formats: the model that files are made of, from its config and checkpoint."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.cli import Options
from benchmark.inference.export.runtime import Run
from benchmark.inference.export.source import prepare, read_config


@dataclass(frozen=True)
class Recipe:
    """How the model is built again in another process; arguments of ``prepare``."""

    options: Options
    checkpoint: Path
    pictures: Path
    canvas: tuple[int, int] | None

    def write(self, path: Path) -> None:
        """Write it for a process of this program's own."""
        path.write_bytes(pickle.dumps(self))


def load(path: Path, threads: int | None = None, wrap: Callable[[nn.Module], Any] = lambda model: model) -> Run:
    """Return a function that runs the model of a recipe in channels_last, eagerly.

    Args:
        path: file of a recipe that this program has written.
        threads: of the CPU; None for PyTorch's choice.
        wrap: makes what is called of the model.
    """
    if threads:
        torch.set_num_threads(threads)
    recipe: Recipe = pickle.loads(path.read_bytes())
    model: Any = prepare(read_config(recipe.options), recipe.checkpoint, recipe.pictures, recipe.canvas).fused
    model.to(memory_format=torch.channels_last)
    forward = wrap(model)

    def run(inputs: Any) -> dict[str, Any]:
        with torch.no_grad():
            found = forward(*(_channels_last(torch.from_numpy(value)) for value in inputs.values()))
        found = found if isinstance(found, tuple) else (found,)
        return {name: value.numpy() for name, value in zip(model.outputs, found, strict=True)}

    return run


def _channels_last(value: Tensor) -> Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
