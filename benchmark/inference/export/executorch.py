"""ExecuTorch's programs, whose convolutions XNNPACK runs."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError
from benchmark.inference.export.runtime import Run, muted, read_facts, write_facts

if TYPE_CHECKING:
    from benchmark.inference.export.conversion import Conversion


def convert(conversion: "Conversion", out: Path) -> None:
    """Write a model to a .pte file."""
    import torch

    with warnings.catch_warnings(), muted():
        warnings.simplefilter("ignore")  # of its imports
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(conversion.model, tuple(conversion.model.example.values()))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        out.write_bytes(lowered.to_executorch().buffer)
    write_facts(out, conversion.facts)


def load(path: Path, threads: int | None = None) -> Run:
    """Return a function that runs a file in ExecuTorch.

    All files share one pool of threads. Where another one was run with another number since, the next run makes the
    pool anew and loads its file again, which takes longer.

    Args:
        path: the file.
        threads: of the CPU; None for as many as there are cores.

    Raises:
        UserError: ExecuTorch cannot run it.
    """
    program = _Program(path, threads or len(os.sched_getaffinity(0)))
    return program.run


def facts(path: Path) -> dict[str, Any]:
    """Return what must be known of a file."""
    return read_facts(path)


_pools: list[int] = []  # number of threads of every pool that was made in this process; the last one is in use


class _Program:
    """A file that runs in a pool of so many threads."""

    def __init__(self, path: Path, threads: int) -> None:
        described = facts(path)
        self._path, self._threads = path, threads
        self._inputs, self._outputs = described["inputs"], described["outputs"]
        self._load()

    def run(self, arrays: Any) -> dict[str, Any]:
        """Map arrays by name to arrays by name."""
        import torch

        if self._pool != len(_pools):
            self._load()
        found = self._method.execute([torch.from_numpy(arrays[name]) for name in self._inputs])
        return {name: value.numpy() for name, value in zip(self._outputs, found, strict=True)}

    def _load(self) -> None:
        """Load the file into the pool: what XNNPACK prepares holds on to the pool that it was prepared for."""
        with warnings.catch_warnings(), muted():
            warnings.simplefilter("ignore")  # that the pool is experimental
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            if _pools[-1:] != [self._threads]:
                portable_lib._unsafe_reset_threadpool(self._threads)
                _pools.append(self._threads)
            self._pool = len(_pools)
            try:
                self._method: Any = Runtime.get().load_program(str(self._path)).load_method("forward")
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                raise UserError(f"ExecuTorch cannot run {self._path}: {reason}") from error
