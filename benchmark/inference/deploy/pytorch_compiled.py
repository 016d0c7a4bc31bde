"""PyTorch's compiled model beside the formats."""

from pathlib import Path

import torch

from benchmark.inference.deploy import pytorch
from benchmark.inference.export.runtime import Run


def load(path: Path, threads: int | None = None) -> Run:
    """Return a function that runs the model of a recipe, compiled at its first call; see ``pytorch.load``."""
    return pytorch.load(path, threads, torch.compile)
