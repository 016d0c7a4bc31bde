"""What lies below folders: results, runs that came to none, and measured times.

A run is a folder with a result.json. One with the config.py and run.log that a training begins with, but without
result.json, has failed or is not finished. The trials of a sweep are no runs to compare: their figures are those of the
validation split that chose the best; the sweep's final training is a run like any other.

Measured times are what ``tools/latency.py --json`` prints, in files named ``latency*.json``.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import filter as match_names
from pathlib import Path

from backbones.errors import UserError
from benchmark.files.run_folder import CONFIG, LATENCIES, RESULT, is_run, list_checkpoints, sweep_of
from benchmark.records.latency import Latency, Pair, read_latencies
from benchmark.records.result import Result, read_result


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
        sessions: the same by file, in their order there: what was measured together.
        pairs: ratios of times that the paper prints too.
        trials: number of trials by the folder of their sweep.
        problems: one message per file or folder that cannot be read.
    """

    runs: list[Run] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)
    timings: list[Latency] = field(default_factory=list)
    sessions: dict[Path, list[Latency]] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
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
    if sweep := sweep_of(path):
        if names & {RESULT, CONFIG}:
            place = sweep if path.is_absolute() else Path(os.path.relpath(sweep))
            found.trials[place] = found.trials.get(place, 0) + 1
        return
    try:
        if RESULT in names:
            found.runs.append(Run(path, read_result(path / RESULT)))
        elif is_run(path):
            checkpoints = list_checkpoints(path)
            found.unfinished.append(Unfinished(path, checkpoints[-1].name if checkpoints else None))
    except UserError as error:
        found.problems.append(str(error))
    for name in sorted(match_names(names, LATENCIES)):
        _read_times(path / name, found)


def _read_times(path: Path, found: Found) -> None:
    try:
        file = read_latencies(path)
    except UserError as error:
        found.problems.append(str(error))
        return
    found.sessions[path] = file.latencies
    measured = {(other.model, other.input, other.conditions) for other in found.timings}
    for timing in file.latencies:
        if (timing.model, timing.input, timing.conditions) in measured:
            conditions = ", ".join(timing.conditions)
            found.problems.append(f"{path} times {timing.model} again ({conditions}): keep one of the times.")
        else:
            found.timings.append(timing)
    known = {(other.device, other.batch, other.pair) for other in found.pairs}
    found.pairs += [pair for pair in file.pairs if (pair.device, pair.batch, pair.pair) not in known]
