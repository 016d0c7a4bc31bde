"""What lies below folders: results, runs that came to none, and measured times.

A run is a folder with a result.json. One with the config.py and run.log that a training begins with, but without
result.json, has failed or is not finished. The trials of a sweep are no runs to compare: their figures are those of the
validation split that chose the best; the sweep's final training is a run like any other.

Measured times are what ``tools/latency.py --json`` prints, in files named ``latency*.json``. A time belongs to a result
if the model timed is the result's config and has its input; a classifier may also be named by its backbone. The
config's name must end in the result's backbone, so that a backbone changed on the command line does not get the time of
the config's own, and no time goes to a result of generated data, whose head has another number of classes.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import filter as match_names
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backbones.errors import UserError
from benchmark.files.checkpoints import list_checkpoints
from benchmark.records.result import FILE_NAME, Result, read_result

LATENCY_FILES = "latency*.json"
CONFIG, PICTURES = "config.py", "pictures"
_STARTED = frozenset((CONFIG, "run.log"))
_TRIALS, _JOURNAL = "trials", "sweep.journal"  # as benchmark/training/sweep/search.py lays out its folder
_TIMED = {
    "classifier": "classifier",
    "network": "network without box decoding and NMS",
    "prediction": "network with box decoding and NMS",
}


class Timing(BaseModel):
    """What a leaderboard shows of a measured time: a part of ``benchmark.measuring.latency.Latency``."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    model: str
    timed: Literal["classifier", "network", "prediction"]
    input: tuple[int, int, int, int]
    device: str
    threads: int
    precision: str
    memory_format: str
    compiled: bool
    norms_folded: int | None
    warm_up: int
    stable: bool
    runs: int
    median_ms: float = Field(gt=0)
    p95_ms: float = Field(gt=0)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What times must have in common to stand in one column."""
        return (
            _TIMED[self.timed],
            f"batch {self.input[0]}",
            f"{self.device} ({self.threads} thread{'s' if self.threads > 1 else ''})",
            self.precision,
            self.memory_format,
            "compiled" if self.compiled else "eager",
            "BN as it is" if self.norms_folded is None else "BN folded",
        )

    def belongs_to(self, result: Result) -> bool:
        """Tell whether this is the time of a result's model."""
        own_config = self.model == result.config.name and result.config.name.endswith(f"_{result.backbone}")
        own_backbone = self.timed == "classifier" and result.task == "finegrained" and self.model == result.backbone
        return (own_config or own_backbone) and self.input[1:] == result.cost.input[1:] and not result.data.demo


class _TimingFile(BaseModel):
    latencies: list[Timing]


@dataclass(frozen=True)
class Run:
    """A result and the folder it lies in."""

    folder: Path
    result: Result


@dataclass(frozen=True)
class Unfinished:
    """A training that wrote no result; ``checkpoint`` is the name of its newest one."""

    folder: Path
    checkpoint: str | None


@dataclass
class Found:
    """What lies below folders.

    Attributes:
        runs: in the order of their folders.
        unfinished: trainings without a result.
        timings: measured times.
        trials: number of trials by the folder of their sweep.
        problems: one message a file or folder that cannot be read.
    """

    runs: list[Run] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    trials: dict[Path, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def find_runs(folders: Iterable[Path]) -> Found:
    """Read everything below the folders; what cannot be read is named in ``problems`` and the rest stands."""
    found = Found()
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            found.problems.append(f"Folder not found: {folder}.")
            continue
        for place, below, names in os.walk(folder, onerror=lambda error: found.problems.append(f"{error}.")):
            below.sort()
            path = Path(place)
            if path.resolve() not in seen:
                seen.add(path.resolve())
                _read_folder(path, set(names), found)
    return found


def _read_folder(path: Path, names: set[str], found: Found) -> None:
    if sweep := _sweep_of(path):
        if names & {FILE_NAME, CONFIG}:
            found.trials[sweep] = found.trials.get(sweep, 0) + 1
        return
    try:
        if FILE_NAME in names:
            found.runs.append(Run(path, read_result(path / FILE_NAME)))
        elif names >= _STARTED:
            checkpoints = list_checkpoints(path)
            found.unfinished.append(Unfinished(path, checkpoints[-1].name if checkpoints else None))
    except UserError as error:
        found.problems.append(str(error))
    for name in sorted(match_names(names, LATENCY_FILES)):
        _read_timings(path / name, found)


def _sweep_of(path: Path) -> Path | None:
    """Return the folder of the sweep that a folder is a trial of, None if it is none."""
    for parent in path.absolute().parents:
        if parent.name == _TRIALS and (parent.parent / _JOURNAL).is_file():
            return parent.parent if path.is_absolute() else Path(os.path.relpath(parent.parent))
    return None


def _read_timings(path: Path, found: Found) -> None:
    try:
        timings = _TimingFile.model_validate(json.loads(path.read_text())).latencies
    except (OSError, ValueError) as error:
        found.problems.append(f"{path} is not what tools/latency.py --json prints: {_first_problem(error)}.")
        return
    measured = {(other.model, other.input, other.conditions) for other in found.timings}
    for timing in timings:
        if (timing.model, timing.input, timing.conditions) in measured:
            conditions = ", ".join(timing.conditions)
            found.problems.append(f"{path} times {timing.model} again ({conditions}): keep one of the times.")
        else:
            found.timings.append(timing)


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'top level'}: {first['msg']}"
