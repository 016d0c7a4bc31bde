"""What every kind of exported model is: a function of an RGB picture, which can be compared with its original."""

import copy
import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.inference.export.differences import Differences
from benchmark.inference.export.preparation import Preparation
from benchmark.inference.export.runtime import Run


class Exportable(nn.Module):
    """A model whose ``forward`` takes the tensors of ``example`` and returns those of ``outputs``.

    Attributes:
        kind: of model, a word.
        outputs: names of what it returns.
        tolerance: by how much a runtime may differ from PyTorch.
        size: (height, width) of its input in pixels.
        batch: pictures that it takes at once, N below.
        preparation: how a picture gets that size.
    """

    kind: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    tolerance: ClassVar[Differences]
    size: tuple[int, int]
    batch: int = 1
    preparation: Preparation

    @property
    def example(self) -> dict[str, Tensor]:
        """Inputs by name of the right shapes: ``image`` (N, 3, H, W)."""
        return {"image": torch.zeros(self.batch, 3, *self.size)}

    @abstractmethod
    def inputs(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """Return the inputs for a sample of the evaluation's transforms."""

    @abstractmethod
    def reference(self, sample: dict[str, Any]) -> Any:
        """Return what the original finds in a sample, for ``compare``."""

    @abstractmethod
    def compare(self, found: Mapping[str, Tensor], reference: Any) -> Differences:
        """Return how far outputs by name are from the original's."""

    @abstractmethod
    def answer(self, found: Mapping[str, Tensor], sample: Any) -> Any:
        """Return outputs by name as the original's ``predict`` answers: the data sample, filled."""

    @abstractmethod
    def merge_branches(self) -> None:
        """Merge re-parameterised branches in place."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what the file's user must know of its inputs and outputs."""

    def fused(self) -> Self:
        """Return a copy with re-parameterised branches merged."""
        merged = copy.deepcopy(self)
        merged.merge_branches()
        return merged

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs by name."""
        with torch.no_grad():
            found = self(*inputs.values())
        return dict(zip(self.outputs, found if isinstance(found, tuple) else (found,), strict=True))

    def rounding(self, sample: dict[str, Any]) -> Differences | None:
        """Return how far the same network in float64 is from the original in float32, None where it has no float64."""
        precise = copy.deepcopy(self).double()
        inputs = {name: value.double() for name, value in self.inputs(sample).items()}
        found = {name: _single(value) for name, value in precise.run(inputs).items()}
        return self.compare(found, self.reference(sample))


def call(run: Run, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a runtime's function on tensors."""
    found = run({name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()})
    return {name: torch.from_numpy(np.array(value)) for name, value in found.items()}


def call_batch(run: Run, inputs: Sequence[Mapping[str, Tensor]], batch: int) -> list[dict[str, Tensor]]:
    """Run a runtime's function on the inputs of some pictures, ``batch`` at most; return the outputs of each.

    A function that takes more than there are gets some of them again.
    """
    if batch == 1:
        return [call(run, each) for each in inputs]
    filled = list(itertools.islice(itertools.cycle(inputs), batch))
    found = call(run, {name: torch.cat([each[name] for each in filled]) for name in inputs[0]})
    return [{name: value[place : place + 1] for name, value in found.items()} for place in range(len(inputs))]


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
