"""Running a series: timed first, each run in a process of its own, failures listed, a stop in good order."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from backbones.errors import UserError
from benchmark import cli
from benchmark.files.atomic import make_folder
from benchmark.files.ownership import owned
from benchmark.files.run_folder import LOGS, RESULT
from benchmark.records.result import read_result
from benchmark.tasks import TASKS
from benchmark.training.series.plan import Job, Series, jobs, write_series
from benchmark.training.signals import StoppedError, StopSignals

_STEPS = 3  # timed, after one that is not
_PAUSE = 0.2  # s between two looks at the runs
_PATIENCE = 90.0  # s
_DEVICE = "CUDA_VISIBLE_DEVICES"


@dataclass
class Outcome:
    """What became of a series: runs that finished, and why the others did not, by name."""

    finished: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_series(
    series: Series, folder: Path, *, workers: int, say: Callable[[str], None], timed: bool = True
) -> Outcome:
    """Run what of a series is not finished, and return what became of all of it.

    Args:
        series: see ``plan_series``.
        folder: of the series.
        workers: runs at a time; where there are GPUs each has one.
        say: told the plan first, then the progress.
        timed: time a step of each backbone before, unless it was.

    Raises:
        UserError: another process runs this series.
        StoppedError: a signal; the runs have saved what they did.
    """
    make_folder(folder)
    with owned(folder):
        write_series(series, folder)
        if timed:
            series = time_steps(series, folder)
            write_series(series, folder)
        planned = jobs(series, folder)
        say(describe(series, planned, workers))
        outcome = Outcome(finished=[job for job in planned if job.finished])
        with StopSignals() as stop:
            _run_all([job for job in planned if not job.finished], series, folder, workers, say, stop, outcome)
        return outcome


def describe(series: Series, planned: Sequence[Job], workers: int) -> str:
    """Return the plan: its runs, and the time that their training steps take here."""
    recipe, ahead = series.recipe, [job for job in planned if not job.finished]
    lines = [
        f"{len(planned)} runs of {recipe.steps} iterations: {len(series.backbones)} backbones, {series.seeds} seeds; "
        f"{len(planned) - len(ahead)} are finished."
    ]
    for backbone in series.backbones:
        seconds = series.seconds.get(backbone)
        told = "not timed" if seconds is None else f"{seconds:.3g} s a step, {span(seconds * recipe.steps)} a run"
        lines.append(f"  {backbone}: {told}")
    expected = expected_seconds(series, ahead)
    if expected is not None:
        lines.append(
            f"About {span(expected / workers)} for what is left, by training steps alone: loading of data that does "
            "not keep up, start-up and evaluation come on top."
        )
    return "\n".join(lines)


def expected_seconds(series: Series, ahead: Sequence[Job]) -> float | None:
    """Return how long the steps of some runs take, one run after another; None where a backbone was not timed."""
    if any(job.backbone not in series.seconds for job in ahead):
        return None
    return sum(series.seconds[job.backbone] * series.recipe.steps for job in ahead)


def span(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_steps(series: Series, folder: Path) -> Series:
    """Return a series with the median time of a training step of each backbone, from a few steps on random pictures.

    A backbone whose step fails is left out: its run will say why.
    """
    seconds = dict(series.seconds)
    ahead = [job for job in jobs(series, folder) if job.seed == 0 and job.backbone not in seconds]
    context = multiprocessing.get_context("spawn")
    for job in ahead:  # each in a process of its own, which gives its memory back
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_time_step, args=(job, send), daemon=True)
        process.start()
        send.close()
        with suppress(EOFError):
            seconds[job.backbone] = receive.recv()
        process.join()
    return series.model_copy(update={"seconds": seconds})


def run_job(job: Job) -> None:
    """Train one run of a series in this process; it ends with an exit status, as tools/train.py does."""
    from benchmark.training.machine import let_threads_sleep

    let_threads_sleep()

    def main() -> None:
        from benchmark.training.train import train

        train(job.options, **job.training)

    cli.run(main)


def _time_step(job: Job, send: Connection) -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    from statistics import median

    import torch

    from benchmark.config.load import load_options
    from benchmark.measuring.complexity import count_input
    from benchmark.measuring.training_step import make_step
    from benchmark.training.registration import register

    cfg = load_options(job.options, **{key: job.training[key] for key in ("pretrained", "steps", "subset")})
    register()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.model.backbone.pretrained = None  # a step of random weights takes as long
    step = make_step(
        cfg,
        cfg.train_dataloader.batch_size,
        count_input(cfg),
        precision=job.recipe.precision,
        device=device,
        memory_format=getattr(torch, cfg.get("memory_format", "contiguous_format")),
    )
    times = []
    for _ in range(1 + _STEPS):
        begin = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    send.send(median(times[1:]))


def _run_all(
    ahead: Sequence[Job],
    series: Series,
    folder: Path,
    workers: int,
    say: Callable[[str], None],
    stop: StopSignals,
    outcome: Outcome,
) -> None:
    logs = folder / LOGS
    make_folder(logs)
    waiting, running = list(ahead), dict[int, tuple[Job, BaseProcess]]()  # by the worker's number
    begin, total = time.monotonic(), len(ahead) + len(outcome.finished)
    while waiting or running:
        for number in range(workers):
            if number not in running and waiting and not stop.received:
                job = waiting.pop(0)
                running[number] = (job, _start(job, logs, number))
        time.sleep(_PAUSE)
        for number, (job, process) in [*running.items()]:
            if process.exitcode is not None:
                del running[number]
                if not stop.received:
                    said = _conclude(job, process.exitcode, _log(job, logs), outcome)
                    done = len(outcome.finished) + len(outcome.failed)
                    left = expected_seconds(series, [*waiting, *(other for other, _ in running.values())])
                    more = f"; about {span(left / workers)} left" if left else ""
                    say(f"[{done}/{total}, {span(time.monotonic() - begin)}] {job.name}: {said}{more}")
        if stop.received:
            for _, process in running.values():
                process.terminate()  # it saves first
            for _, process in running.values():
                process.join()
            raise StoppedError(stop.received, "Stopped, and every run has saved; the same command continues.")


def _start(job: Job, logs: Path, worker: int) -> BaseProcess:
    with _device(worker):
        process = multiprocessing.get_context("spawn").Process(target=_run_logged, args=(job, _log(job, logs)))
        process.start()
    return process


def _log(job: Job, logs: Path) -> Path:
    return logs / f"{job.folder.name}.log"


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
    run_job(job)


def _wait_for(folder: Path) -> None:
    """Return when nobody owns a run's folder, or after a while: the runs of a series that was killed still save."""
    deadline = time.monotonic() + _PATIENCE
    while folder.is_dir() and time.monotonic() < deadline:
        try:
            with owned(folder):
                return
        except UserError:
            time.sleep(_PAUSE)


def _conclude(job: Job, status: int, log: Path, outcome: Outcome) -> str:
    if job.finished:
        outcome.finished.append(job)
        result = read_result(job.folder / RESULT)
        ranking = TASKS[result.task].ranking
        value = result.metrics.get(ranking)
        return f"{ranking} {'-' if value is None else f'{value:.1f}'}"
    reason = _last_line(log) if status > 0 else f"killed by {signal.Signals(-status).name}: too little memory?"
    outcome.failed[job.name] = f"{reason} ({log})"
    return f"failed: {reason}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "no word of it"


def failures(outcome: Outcome) -> list[str]:
    """Return a line for every run that failed."""
    return [f"failed: {name}: {reason}" for name, reason in outcome.failed.items()]


def check_workers(workers: int) -> None:
    """Refuse more runs at a time than can share this machine.

    Raises:
        UserError: more than there are cores.
    """
    cores = len(os.sched_getaffinity(0))
    if workers > cores:
        raise UserError(f"--workers {workers}: this process may use {cores} cores; give at most that.")
