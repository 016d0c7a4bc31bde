"""Times of exported models, each in a process of its own, in rounds that interleave them. Needs NumPy and the runtimes.

A process of its own has its runtime's threads and memory to itself, so that CPU time and peak memory are the model's.
"""

import contextlib
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from backbones.errors import UserError
from benchmark.inference.export.formats import FORMATS
from benchmark.inference.export.runtime import Run
from benchmark.measuring.rounds import in_rounds

SAMPLE = "sample.npz"  # a picture's inputs by name, beside the files
_STATUS = Path("/proc/self/status")  # where Linux says what this program took, without the one that started it
# What is no format, but runs beside the formats: module with ``load``.
OTHERS = {
    "pytorch": "benchmark.inference.deploy.pytorch",
    "pytorch_compiled": "benchmark.inference.deploy.pytorch_compiled",
}
_GO, _END = "go", "end"  # what a worker is told


@dataclass(frozen=True)
class Subject:
    """What is timed.

    Attributes:
        name: of its format.
        path: its file.
        threads: of the CPU; None for the runtime's choice.
    """

    name: str
    path: Path
    threads: int | None


@dataclass(frozen=True)
class Timed:
    """Times of one subject.

    Attributes:
        wall: milliseconds (rounds,).
        cpu: of all its threads, likewise.
        peak: memory at its peak, in bytes.
        warm_up: rounds before.
        stable: whether these ended in stable medians.
    """

    wall: np.ndarray
    cpu: np.ndarray
    peak: int
    warm_up: int
    stable: bool

    @property
    def median(self) -> float:
        """Median of the wall time in milliseconds."""
        return float(np.median(self.wall))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between which the middle half of the rounds lies, in milliseconds."""
        low, high = np.percentile(self.wall, [25, 75])
        return float(low), float(high)

    @property
    def cpu_median(self) -> float:
        """Median of the CPU time in milliseconds."""
        return float(np.median(self.cpu))


class WorkerError(UserError):
    """A model that cannot run, and why."""


def time_subjects(
    subjects: Sequence[Subject],
    sample: Path,
    program: Sequence[str],
    rounds: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> list[Timed | str]:
    """Time models in turn, round by round; of one that cannot run, return why.

    Args:
        subjects: the models.
        sample: file of the inputs.
        program: the command that a worker is started with; it ends in a call of ``serve``.
        rounds: how many are timed.
        progress: as in ``in_rounds``.
    """
    outcome: list[Timed | str] = []
    with contextlib.ExitStack() as running:
        workers = []
        for subject in subjects:
            try:
                workers.append(running.enter_context(_worker(subject, sample, program)))
                outcome.append("")
            except WorkerError as error:
                outcome.append(str(error))
        if not workers:
            return outcome
        cpu: list[list[float]] = []

        def one_round() -> list[float]:
            both = [_ask(worker, _GO) for worker in workers]
            cpu.append([pair[1] for pair in both])
            return [pair[0] for pair in both]

        wall, warm_up, stable = in_rounds(one_round, rounds, progress)
        spent = np.array(cpu[-rounds:]).T  # (workers, rounds)
        peaks = [int(_ask(worker, _END)[0]) for worker in workers]
        timed = iter([Timed(*each, warm_up, stable) for each in zip(wall, spent, peaks, strict=True)])
    return [each or next(timed) for each in outcome]


@contextlib.contextmanager
def _worker(subject: Subject, sample: Path, program: Sequence[str]) -> Iterator[subprocess.Popen]:
    """Hold a process that has a model ready to run.

    Raises:
        WorkerError: it has not.
    """
    # An absolute path is never taken for an option.
    arguments = (subject.name, str(subject.path.absolute()), str(subject.threads or 0), str(sample.absolute()))
    with subprocess.Popen([*program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            answer = _read(process)
            if isinstance(answer, str):
                raise WorkerError(answer)
            yield process
        finally:
            process.kill()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # of a word that it ended before
                process.stdin.close()


def _ask(worker: subprocess.Popen, word: str) -> list[float]:
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the answer, or its want, tells
        worker.stdin.write(f"{word}\n")
        worker.stdin.flush()
    answer = _read(worker)
    if isinstance(answer, str):
        raise WorkerError(answer)
    return answer


def _read(worker: subprocess.Popen) -> Any:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise WorkerError(f"its process ended with status {worker.wait()}")
    return json.loads(line)


def serve(name: str, path: Path, threads: int | None, sample: Path) -> None:
    """Be a worker: load a model, then run it as often as standard input says, and answer in JSON, a line each."""
    with _own_output() as out:

        def answer(value: Any) -> None:
            out.write(f"{json.dumps(value)}\n")
            out.flush()

        try:
            run = load(name, path, threads)
            with np.load(sample, allow_pickle=False) as file:
                inputs = dict(file)
            run(inputs)
        except Exception as error:  # whatever a runtime says: the process that asked tells it
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            answer(f"needs {error.name}, not installed here" if isinstance(error, ImportError) else reason)
            return
        answer([])
        for line in sys.stdin:
            if line.strip() == _END:
                answer([_peak_memory()])
                return
            cpu, wall = time.process_time(), time.perf_counter()
            run(inputs)
            wall = time.perf_counter() - wall
            answer([1000 * wall, 1000 * (time.process_time() - cpu)])


def _peak_memory() -> int:
    """Return this process's memory at its peak, in bytes."""
    if _STATUS.is_file():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def load(name: str, path: Path, threads: int | None) -> Run:
    """Return the function that runs a file.

    Raises:
        UserError: of a format that cannot be run, or a runtime that cannot run it.
    """
    if name in FORMATS and FORMATS[name].unchecked:
        raise UserError(FORMATS[name].unchecked)
    module = importlib.import_module(OTHERS[name]) if name in OTHERS else FORMATS[name].load_module()
    return module.load(path, threads)


@contextlib.contextmanager
def _own_output() -> Iterator[TextIO]:
    """Keep standard output for the answers: runtimes print to it."""
    out = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        yield out
    finally:
        out.close()
