"""The hyper-parameter search: a grid of learning rate and weight decay, shared by any number of workers.

The grid is that of Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019, appendix A.

Trials live in one Optuna study, in a journal file within the sweep's folder; a file system that several machines share
serves several machines. A worker takes a trial, and puts lost ones back into the queue, under one lock of the folder,
and holds a lock of its own on every trial it runs. The operating system frees both when a process dies in any way: a
running trial whose lock is free is lost. So every point of the grid is finished exactly once.
"""

import copy
import fcntl
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import optuna
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.identity import config_sha256
from benchmark.config.load import config_name, load_options
from benchmark.data.layouts import find_layout
from benchmark.files.atomic import make_folder
from benchmark.files.run_folder import (
    FINAL,
    FINAL_LOCK,
    JOURNAL,
    LOCK,
    POINT,
    RESULT,
    list_checkpoints,
    trial_folder,
    trial_lock,
)
from benchmark.records.figures import FIGURES
from benchmark.records.result import Result, read_result
from benchmark.tasks import TASKS, Ability
from benchmark.training.hooks import DivergedError
from benchmark.training.plan import check_unused, plan_training
from benchmark.training.train import train

STUDY = "sweep"
_DIRECTIONS = {"high": StudyDirection.MAXIMIZE, "low": StudyDirection.MINIMIZE}
_WAIT = 2.0  # s between two looks at the other workers
_ORDER_SEED = 0
_PRUNED_CHECKS = 4  # evaluations of a trial that may be pruned
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_LIVE = (*_FINISHED, TrialState.WAITING, TrialState.RUNNING)
Point = tuple[float, float]

_MOST_POINTS = 10_000  # of a grid


@dataclass(frozen=True)
class Grid:
    """Learning rates and weight decays to try."""

    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]

    def points(self) -> list[Point]:
        """Return all (learning rate, weight decay), in a fixed random order: any beginning of it covers the grid."""
        points = [(rate, decay) for rate in self.learning_rates for decay in self.weight_decays]
        random.Random(_ORDER_SEED).shuffle(points)
        return points


@dataclass(frozen=True)
class Sweep:
    """A sweep as its command line describes it.

    Attributes:
        options: what to run; its ``work_dir`` is the sweep's folder.
        grid: learning rates by weight decays.
        steps: iterations of a trial and of the final training, None for the config's.
        trials: how many points of the grid to try, None for all.
        pretrained: weights, as for a training.
        seed: of every training.
        prune: stop trials that are below the median of the others half-way.
    """

    options: Options
    grid: Grid
    steps: int | None = None
    trials: int | None = None
    pretrained: str | None = None
    seed: int = 0
    prune: bool = False

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        assert self.options.work_dir is not None  # ``prepare_sweep`` chooses one
        return self.options.work_dir

    def points(self) -> list[Point]:
        """Return the points to try."""
        return self.grid.points()[: self.trials]


def make_grid(text: str, learning_rate: Sequence[float], weight_decay: Sequence[float]) -> Grid:
    """Return the grid of a text such as ``7x7``.

    Args:
        text: number of learning rates, ``x``, number of weight decays.
        learning_rate: first and last, log-spaced between.
        weight_decay: likewise for all but one; the one is 0.

    Raises:
        UserError: not two numbers, or a grid with nothing or too much in it.
    """
    rates, _, decays = text.partition("x")
    if not (rates.isdecimal() and decays.isdecimal()):
        raise UserError(f"--grid takes LEARNING_RATESxWEIGHT_DECAYS, 7x7 say; found {text!r}.")
    if not (int(rates) and int(decays)):
        raise UserError(f"--grid {text} has nothing in it: expected at least 1x1.")
    if int(rates) * int(decays) > _MOST_POINTS:
        raise UserError(f"--grid {text} has too many points to train at: expected {_MOST_POINTS} at most.")
    return Grid(_log_spaced(learning_rate, int(rates)), (0.0, *_log_spaced(weight_decay, int(decays) - 1)))


def prepare_sweep(options: Options, *, grid: str = "7x7", trials: int | None = None, **settings: Any) -> Sweep:
    """Return the sweep of a command line, with the ends of its grid from the config.

    Args:
        options: what to run; ``work_dir`` is the sweep's folder, by default one below work_dirs/.
        grid: see ``make_grid``.
        trials: how many points of the grid to try, None for all.
        settings: the other attributes of ``Sweep``.

    Raises:
        UserError: a task without sweeps, nothing to try, or several processes of one launcher.
    """
    cfg = load_options(options)
    if Ability.SWEEP not in TASKS[cfg.task].can:
        known = ", ".join(task.title for task in TASKS.values() if Ability.SWEEP in task.can)
        raise UserError(f"{options.config} is a {cfg.task} config: sweeps are for {known}.")
    if "sweep" not in cfg:
        raise UserError(f"{options.config} has no 'sweep' with the ends of learning_rate and weight_decay to search.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("A sweep's workers are started side by side, a device each, not with torchrun.")
    if trials is not None and trials < 1:
        raise UserError(f"--trials takes a number from 1, found {trials}.")
    options = replace(options, work_dir=options.work_dir or Path("work_dirs") / f"sweep_{config_name(cfg)}")
    return Sweep(options, make_grid(grid, cfg.sweep.learning_rate, cfg.sweep.weight_decay), trials=trials, **settings)


def run_sweep(sweep: Sweep) -> Result | None:
    """Work on a sweep until every trial is finished, then train with the best values and evaluate on the test set.

    Any number of processes may call this for the same folder. Returns the result of the final training; None in a
    worker that left it to another one.

    Raises:
        UserError: the folder holds another sweep, no trial succeeded, or whatever a training may raise.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cfg = load_options(sweep.options, pretrained=sweep.pretrained, steps=sweep.steps)
    _check_begin(sweep)
    study = _open_study(sweep, cfg)
    while not _all_finished(study, sweep.points()):
        with _claimed(sweep, study) as trial:
            if trial is None:
                time.sleep(_WAIT)
            else:
                _run_trial(sweep, study, trial, cfg)
    return _run_final(sweep, study)


def _check_begin(sweep: Sweep) -> None:
    """Check a training of a sweep that is about to begin, before its folder is made."""
    if not (sweep.folder / JOURNAL).is_file():
        check_unused(sweep.folder, overwrite=False)
        options = replace(sweep.options, work_dir=sweep.folder / FINAL)
        plan_training(options, pretrained=sweep.pretrained, steps=sweep.steps, seed=sweep.seed)


def finished_trials(study: optuna.Study, points: Sequence[Point]) -> dict[Point, FrozenTrial]:
    """Return the finished trial of each point that has one."""
    trials = study.get_trials(deepcopy=False, states=_FINISHED)
    return {_point(trial): trial for trial in trials if _point(trial) in points}


def open_study(folder: Path, metric: str) -> optuna.Study:
    """Open the study of a sweep's folder, or begin it; ``metric`` is the figure that it searches the best of."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.create_study(
        storage=storage, study_name=STUDY, direction=_DIRECTIONS[FIGURES[metric].best], load_if_exists=True
    )


def figure_of(trial: FrozenTrial) -> float:
    """Return the figure of a complete trial."""
    assert trial.value is not None, f"trial {trial.number} is not complete"
    return trial.value


def best_trial(study: optuna.Study, points: Sequence[Point]) -> FrozenTrial:
    """Return the trial with the best figure.

    Raises:
        UserError: every trial diverged or was pruned.
    """
    complete = [trial for trial in finished_trials(study, points).values() if trial.state is TrialState.COMPLETE]
    if not complete:
        raise UserError("No trial of the sweep came to a figure: all diverged. Lower the config's sweep.learning_rate.")
    best = max if study.direction is StudyDirection.MAXIMIZE else min
    return best(complete, key=figure_of)


class ReportHook(Hook):
    """Tell the study each evaluation's figure, and stop a trial that it gives up.

    Args:
        trial: the trial of this training.
        metric: name of the figure.
    """

    def __init__(self, trial: Trial, metric: str) -> None:
        self.trial, self.metric = trial, metric

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float | None] | None = None) -> None:
        """Report, and raise ``TrialPruned`` if the trial is below the median of the others."""
        value = (metrics or {})[self.metric]
        assert value is not None  # only an evaluation of no picture has no figure
        self.trial.report(value, runner.iter)
        if runner.iter < runner.max_iters and self.trial.should_prune():
            raise optuna.TrialPruned


def _identity(sweep: Sweep, cfg: Config) -> dict[str, Any]:
    """Return what two workers must have in common; the places of the data may differ between machines."""
    placeless = copy.deepcopy(cfg)
    placeless.data_root = placeless.train_dataloader.dataset.data_root = placeless.val_dataloader.dataset.data_root = ""
    return {
        "config": config_name(cfg),
        "settings": config_sha256(placeless),
        "seed": sweep.seed,
        "precision": sweep.options.precision,
        "learning_rates": list(sweep.grid.learning_rates),
        "weight_decays": list(sweep.grid.weight_decays),
    }


def _open_study(sweep: Sweep, cfg: Config) -> optuna.Study:
    make_folder(sweep.folder)
    expected = _identity(sweep, cfg)
    with _lock(sweep.folder / LOCK):
        study = open_study(sweep.folder, _metric(cfg))
        found = study.user_attrs.get("identity")
        if found is None:
            study.set_user_attr("identity", expected)
        elif found != expected:
            differing = [key for key in expected if found.get(key) != expected[key]]
            raise UserError(
                f"{sweep.folder / JOURNAL} belongs to another sweep: its {differing[0]} is {found.get(differing[0])}, "
                f"this one's {expected[differing[0]]}. Give another --work-dir, or the same config and options."
            )
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4) if sweep.prune else optuna.pruners.NopPruner()
    return study


def _all_finished(study: optuna.Study, points: Sequence[Point]) -> bool:
    return len(finished_trials(study, points)) == len(points)


@contextmanager
def _claimed(sweep: Sweep, study: optuna.Study) -> Iterator[Trial | None]:
    """Take the next trial from the queue and hold its lock within the block; None if all are taken."""
    with _lock(sweep.folder / LOCK):
        _fill_queue(sweep, study)
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        trial = study.ask() if waiting else None
        held = _try_lock(trial_lock(sweep.folder, trial.number)) if trial else None
    try:
        yield trial
    finally:
        if held:
            _release(held)


def _fill_queue(sweep: Sweep, study: optuna.Study) -> None:
    """Give up trials whose process has died, and queue every point that no trial stands for."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if (free := _try_lock(trial_lock(sweep.folder, trial.number))) is not None:
            study.tell(trial.number, state=TrialState.FAIL)
            _release(free)
    live = {_point(trial) for trial in study.get_trials(deepcopy=False, states=_LIVE)}
    for point in sweep.points():
        if point not in live:
            study.enqueue_trial(
                {"learning_rate": point[0], "weight_decay": point[1]}, user_attrs={"point": list(point)}
            )


def _run_trial(sweep: Sweep, study: optuna.Study, trial: Trial, cfg: Config) -> None:
    rate = trial.suggest_categorical("learning_rate", sweep.grid.learning_rates)
    decay = trial.suggest_categorical("weight_decay", sweep.grid.weight_decays)
    metric = _metric(cfg)
    folder = trial_folder(sweep.folder, rate, decay)
    steps = cfg.train_cfg.max_iters
    own = [
        "train_dataloader.dataset.split=train",
        "val_dataloader.dataset.split=val",
        f"train_cfg.val_interval={max(1, steps // _PRUNED_CHECKS) if sweep.prune else steps}",
    ]
    print(f"trial {trial.number}: learning rate {rate:g}, weight decay {decay:g}", flush=True)
    try:
        result = _train(sweep, folder, (rate, decay), own, [ReportHook(trial, metric)])
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        print(f"trial {trial.number}: pruned", flush=True)
    except DivergedError as error:
        trial.set_user_attr("diverged", str(error))
        study.tell(trial, state=TrialState.PRUNED)
        print(f"trial {trial.number}: diverged", flush=True)
    else:
        study.tell(trial, result.metrics[metric])
        print(f"trial {trial.number}: {metric} {result.metrics[metric]:.1f}", flush=True)
    for path in list_checkpoints(folder):  # a finished trial keeps its figures; its weights would fill the disk
        path.unlink()


def _run_final(sweep: Sweep, study: optuna.Study) -> Result | None:
    """Train on train+val with the best values and evaluate once, in one worker."""
    held = _try_lock(sweep.folder / FINAL_LOCK)
    if held is None:
        return None
    try:
        folder, point = sweep.folder / FINAL, _point(best_trial(study, sweep.points()))
        done = folder / RESULT
        if done.is_file() and _trained_point(folder) == point:
            return read_result(done)
        if _trained_point(folder) != point:
            for path in list_checkpoints(folder):
                path.unlink()
            folder.mkdir(exist_ok=True)
            (folder / POINT).write_text(json.dumps(point))
        print(f"final training: learning rate {point[0]:g}, weight decay {point[1]:g}", flush=True)
        return _train(sweep, folder, point, [], [])
    finally:
        _release(held)


def _metric(cfg: Config) -> str:
    """Return the figure that a config's data set is judged by."""
    return find_layout(cfg.train_dataloader.dataset.name).metric


def _trained_point(folder: Path) -> Point | None:
    path = folder / POINT
    return tuple(json.loads(path.read_text())) if path.is_file() else None


def _train(sweep: Sweep, folder: Path, point: Point, own: Sequence[str], hooks: Sequence[Hook]) -> Result:
    """Train at a point of the grid, from the newest checkpoint that an interrupted attempt has left."""
    values = (f"optim_wrapper.optimizer.lr={point[0]}", f"optim_wrapper.optimizer.weight_decay={point[1]}")
    resume = bool(list_checkpoints(folder))
    return train(
        replace(sweep.options, work_dir=folder, cfg_options=(*sweep.options.cfg_options, *values, *own)),
        pretrained=sweep.pretrained,
        steps=sweep.steps,
        seed=sweep.seed,
        resume=resume,
        overwrite=not resume,
        hooks=hooks,
    )


def _point(trial: FrozenTrial) -> Point:
    rate, decay = trial.user_attrs["point"]
    return rate, decay


def _log_spaced(ends: Sequence[float], count: int) -> tuple[float, ...]:
    low, high = ends
    # Few digits, so that a value reads the same in names, tables and files.
    return tuple(float(f"{value:.4g}") for value in np.geomspace(low, high, count))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _release(file: IO) -> None:
    # Closing is not enough: data-loading processes have inherited the file.
    fcntl.flock(file, fcntl.LOCK_UN)
    file.close()


def _try_lock(path: Path) -> IO | None:
    """Return the opened and locked file, None if another process holds it."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
