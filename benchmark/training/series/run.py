"""Running a series: timed first, each run in a process of its own, failures listed, a stop in good order."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmark.files.atomic import make_folder
from benchmark.files.ownership import owned
from benchmark.files.run_folder import LOGS, RESULT
from benchmark.records.result import read_result
from benchmark.tasks import TASKS
from benchmark.training.series.halving import halving
from benchmark.training.series.plan import Dropped, Job, Series, jobs, write_series
from benchmark.training.series.workers import Engine
from benchmark.training.signals import StoppedError, StopSignals

DROPPING = (
    "--drop-clear-losers: with each seed the upper half of the backbones goes first. Of the lower half those are run "
    "no more whose difference from the best has a 95% interval, over pictures and seeds, that excludes 0. The runs, "
    "and the time, may become fewer."
)
_STEPS = 3  # timed, after one that is not


@dataclass
class Outcome:
    """What became of a series: runs that finished, and why the others did not, by name."""

    finished: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class _Course:
    """What goes through the running of a series; ``begin``: on the monotonic clock, in s; ``total``: number of runs."""

    series: Series
    folder: Path
    engine: Engine
    say: Callable[[str], None]
    stop: StopSignals
    outcome: Outcome
    total: int
    begin: float = field(default_factory=time.monotonic)


def run_series(
    series: Series, folder: Path, *, engine: Engine, say: Callable[[str], None], timed: bool = True
) -> Outcome:
    """Run what of a series is not finished, and return what became of all of it.

    Args:
        series: see ``plan_series``.
        folder: of the series.
        engine: where it runs.
        say: told the plan first, then the progress.
        timed: time a step of each backbone before, unless it was, or runs elsewhere.

    Raises:
        UserError: another process runs this series.
        StoppedError: a signal; the runs have saved what they did, or go on elsewhere.
    """
    make_folder(folder / LOGS)
    with owned(folder):
        write_series(series, folder)
        if timed and engine.times_here:
            series = time_steps(series, folder)
            write_series(series, folder)
        planned = jobs(series, folder)
        say(describe(series, planned, engine.places))
        # Who is dropped follows from the results, and is found again at each start.
        series = series.model_copy(update={"dropped": ()})
        outcome = Outcome(finished=[job for job in planned if job.finished])
        with StopSignals() as stop:
            course = _Course(series, folder, engine, say, stop, outcome, len(planned))
            rounds = (
                halving(series, folder, lambda loser: _drop(loser, course)) if series.drop_clear_losers else [planned]
            )
            for ahead in rounds:
                _run_all([job for job in ahead if not job.finished], course)
        write_series(course.series, folder)
        if course.series.dropped:
            say("\n".join(describe_dropped(each, series.seeds) for each in course.series.dropped))
        return outcome


def _drop(loser: Dropped, course: _Course) -> None:
    """Take up that a backbone is run no more."""
    course.series = course.series.model_copy(update={"dropped": (*course.series.dropped, loser)})
    course.total -= sum(
        course.series.leaves_out(job) and job.backbone == loser.backbone and not job.finished
        for job in jobs(course.series, course.folder)
    )
    write_series(course.series, course.folder)
    course.say(describe_dropped(loser, course.series.seeds))


def describe(series: Series, planned: Sequence[Job], places: int) -> str:
    """Return the plan: its runs, and the time that their training steps take here."""
    recipe, finished = series.recipe, sum(job.finished for job in planned)
    ahead = [job for job in planned if not (job.finished or series.leaves_out(job))]
    lines = [
        f"{len(planned)} runs of {recipe.steps} iterations: {len(series.backbones)} backbones, {series.seeds} seeds; "
        f"{finished} are finished."
    ]
    for backbone in series.backbones:
        seconds = series.seconds.get(backbone)
        told = "not timed" if seconds is None else f"{seconds:.3g} s a step, {span(seconds * recipe.steps)} a run"
        lines.append(f"  {backbone}: {told}")
    expected = expected_seconds(series, ahead)
    if expected is not None:
        lines.append(
            f"About {span(expected / places)} for what is left, by training steps alone: loading of data that does "
            "not keep up, start-up and evaluation come on top."
        )
    if series.drop_clear_losers:
        lines.append(DROPPING)
        lines += [describe_dropped(each, series.seeds) for each in series.dropped]
    return "\n".join(lines)


def describe_dropped(loser: Dropped, seeds: int) -> str:
    """Return who was dropped, when and by what interval."""
    low, high = loser.interval
    return (
        f"dropped after {loser.runs} of {seeds} runs: {loser.backbone}, {loser.figure} {loser.value:.1f} against "
        f"{loser.leader_value:.1f} of {loser.leader}; difference {loser.difference:+.1f}, 95% interval {low:+.1f} to "
        f"{high:+.1f} over pictures and seeds"
    )


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


def _run_all(ahead: Sequence[Job], course: _Course) -> None:
    """Run some runs of a series, and say what became of each.

    Raises:
        StoppedError: a signal.
    """
    waiting, running, engine = list(ahead), list[Job](), course.engine
    while waiting or running:
        while waiting and len(running) < engine.places and not course.stop.received:
            running.append(waiting.pop(0))
            if said := engine.start(running[-1], _log(running[-1], course.folder)):
                course.say(f"{running[-1].name}: {said}")
        time.sleep(engine.pause)
        for job, reason in engine.ended():
            running.remove(job)
            if not course.stop.received:
                course.say(_conclude(job, reason, [*waiting, *running], course))
        if course.stop.received:
            raise StoppedError(course.stop.received, engine.stop())


def _log(job: Job, folder: Path) -> Path:
    return folder / LOGS / f"{job.folder.name}.log"


def _conclude(job: Job, reason: str, left: Sequence[Job], course: _Course) -> str:
    """Take up what became of a run, and return it in words."""
    outcome = course.outcome
    if job.finished:
        outcome.finished.append(job)
        result = read_result(job.folder / RESULT)
        ranking = TASKS[result.task].ranking
        value = result.metrics.get(ranking)
        said = f"{ranking} {'-' if value is None else f'{value:.1f}'}"
    else:
        log = _log(job, course.folder)
        reason = reason or _last_line(log)
        outcome.failed[job.name] = f"{reason} ({log})"
        said = f"failed: {reason}"
    done = len(outcome.finished) + len(outcome.failed)
    seconds = expected_seconds(course.series, left)
    more = f"; about {span(seconds / course.engine.places)} left" if seconds else ""
    return f"[{done}/{course.total}, {span(time.monotonic() - course.begin)}] {job.name}: {said}{more}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    return lines[-1].removeprefix("error: ") if lines else "no word of it"


def failures(outcome: Outcome) -> list[str]:
    """Return a line for every run that failed."""
    return [f"failed: {name}: {reason}" for name, reason in outcome.failed.items()]
