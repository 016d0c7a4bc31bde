"""Where the runs of a series happen: what an engine offers, and the processes of this machine."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from backbones.errors import UserError
from benchmark import cli
from benchmark.files.ownership import owned
from benchmark.training.series.plan import Job

_PATIENCE = 90.0  # s
_PAUSE = 0.2  # s
_DEVICE = "CUDA_VISIBLE_DEVICES"


class Engine(Protocol):
    """What starts runs and tells of their end.

    Attributes:
        places: runs at a time.
        pause: seconds between two looks at the runs.
        times_here: whether a training step timed in this process says how long theirs take.
    """

    places: int
    pause: float
    times_here: bool

    def start(self, job: Job, log: Path) -> str:
        """Start a run that prints into a log, and return what there is to say of it."""

    def ended(self) -> list[tuple[Job, str]]:
        """Return the runs that ended since the last look, and why; of one that is finished the reason does not count.

        An empty reason is in the last line of the run's log.
        """

    def stop(self) -> str:
        """End the watch over the runs that are left, and return what to tell the user."""


class LocalWorkers:
    """Processes of this machine, one a GPU where there are several.

    Args:
        count: runs at a time.

    Raises:
        UserError: more runs at a time than can share this machine.
    """

    pause = _PAUSE
    times_here = True

    def __init__(self, count: int) -> None:
        cores = len(os.sched_getaffinity(0))
        if count > cores:
            raise UserError(f"--workers {count}: this process may use {cores} cores; give at most that.")
        self.places = count
        self._running: dict[int, tuple[Job, BaseProcess]] = {}  # by the worker's number

    def start(self, job: Job, log: Path) -> str:
        """Start a run in a process of its own."""
        number = next(number for number in range(self.places) if number not in self._running)
        with _device(number):
            self._running[number] = (job, start_process(job, log))
        return ""

    def ended(self) -> list[tuple[Job, str]]:
        """Return the runs whose processes have ended, and the signal that ended one."""
        over = [number for number, (_, process) in self._running.items() if process.exitcode is not None]
        found = []
        for number in over:
            job, process = self._running.pop(number)
            status = process.exitcode or 0
            killed = f"killed by {signal.Signals(-status).name}: too little memory?" if status < 0 else ""
            found.append((job, killed))
        return found

    def stop(self) -> str:
        """Have all runs save and end."""
        for _, process in self._running.values():
            process.terminate()
        for _, process in self._running.values():
            process.join()
        return "Stopped, and every run has saved; the same command continues."


def start_process(job: Job, log: Path) -> BaseProcess:
    """Start a run in a process of its own, which prints into a log and ends with the process that started it."""
    process = multiprocessing.get_context("spawn").Process(target=_run_logged, args=(job, log))
    process.start()
    return process


@contextmanager
def _device(worker: int) -> Iterator[None]:
    """Give the processes started in the block one GPU, if there are several workers and GPUs to choose from."""
    before = os.environ.get(_DEVICE)
    listed = before.split(",") if before else [str(number) for number in range(_count_gpus())]
    if len(listed) > 1:
        os.environ[_DEVICE] = listed[worker % len(listed)]
    try:
        yield
    finally:
        if len(listed) > 1:
            os.environ.pop(_DEVICE)
            os.environ |= {_DEVICE: before} if before else {}


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _run_logged(job: Job, log: Path) -> None:
    from benchmark.training.processes import follow

    os.setsid()  # Ctrl-C is the series' to hand on
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    follow(os.getppid())
    _wait_for(job.folder)
    if not job.finished:  # by a process that was left over from a series that was killed
        _run(job)


def _wait_for(folder: Path) -> None:
    """Return when nobody owns a run's folder, or after a while: the runs of a series that was killed still save."""
    deadline = time.monotonic() + _PATIENCE
    while folder.is_dir() and time.monotonic() < deadline:
        try:
            with owned(folder):
                return
        except UserError:
            time.sleep(_PAUSE)


def _run(job: Job) -> None:
    """Train one run of a series in this process; it ends with an exit status, as tools/train.py does."""
    from benchmark.training.machine import let_threads_sleep

    let_threads_sleep()

    def main() -> None:
        from benchmark.training.train import train

        train(job.options, **job.training)

    cli.run(main)
