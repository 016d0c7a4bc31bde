"""From folders of runs to a decision: candidates, their differences, their costs, the answer. Measures nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backbones.errors import UserError
from benchmark.evaluation.compare import check_same_data
from benchmark.files.run_folder import SERIES
from benchmark.records.deploy import DeployFile, DeployRow
from benchmark.records.figures import FIGURES, Figure
from benchmark.records.result import Result
from benchmark.records.runs import Found, find_runs
from benchmark.reporting.decision.choice import Choice, Constraints, Option, changes, choose
from benchmark.reporting.decision.evidence import Evidence, gather
from benchmark.reporting.decision.statistics import Estimate, Spreads, difference, estimate, spreads, unlike_spreads
from benchmark.reporting.decision.times import Speed, Timed, assign_times, read_sessions, speed
from benchmark.reporting.decision.words import option_text, page_words, pair_text, sentence
from benchmark.reporting.leaderboard.tables import Board, Row, Value, make_report
from benchmark.reporting.leaderboard.text import UNFINISHED, describe_unfinished
from benchmark.tasks import TASKS
from benchmark.training.series.plan import read_series

RESAMPLES = 400  # a standard deviation from so many is known to 4%


@dataclass(frozen=True)
class Candidate:
    """A backbone as it was trained, with all its seeds.

    Attributes:
        name: of the backbone, and what tells it from another one of that name.
        row: its row of the leaderboard.
        found: its figure, in percent.
        classes: that of each class; None for one without objects.
        timed: its time, None where none was measured.
        evidence: what these stand on.
    """

    name: str
    row: Row
    found: Estimate
    classes: Mapping[str, Estimate]
    timed: Timed | None
    evidence: Evidence

    @property
    def result(self) -> Result:
        """Return the result of its first seed."""
        return self.row.runs[0].result

    @property
    def option(self) -> Option:
        """Return what the rule knows of it."""
        ms = self.timed.record.median_ms if self.timed else None
        return Option(self.found.value, ms, self.result.cost.params, self.evidence.guess)

    def number(self, key: str) -> float | None:
        """Return a cost of the leaderboard's row."""
        cell = self.row.cells.get(key)
        return cell.mean if isinstance(cell, Value) else None


@dataclass(frozen=True)
class Deployed:
    """A model in another format; ``candidate`` is the place of the one that it was made of, None if it is not here."""

    backbone: str
    candidate: int | None
    device: str | None
    threads: int | None
    row: DeployRow


@dataclass(frozen=True)
class Decision:
    """What the page says.

    Attributes:
        board: the leaderboard of the runs.
        figure: what ranks.
        candidates: highest figure first.
        pairs: difference of candidate i minus candidate j, None for i = j.
        speeds: how many times as fast i is as j, None where it is not known.
        constraints: that the answer was chosen by.
        answer: None if nothing can be taken.
        changes: by limit, where the answer changes as it moves.
        deployed: other formats.
        data: what the page's script needs: options, pairs, words.
        sentence: the answer.
        notes: what its reader must know.
        problems: what could not be read.
    """

    board: Board
    figure: Figure
    candidates: tuple[Candidate, ...]
    pairs: tuple[tuple[Estimate | None, ...], ...]
    speeds: tuple[tuple[Speed | None, ...], ...]
    constraints: Constraints
    answer: Choice | None
    changes: Mapping[str, Sequence[tuple[float, Choice | None]]]
    deployed: tuple[Deployed, ...]
    data: Mapping[str, Any]
    sentence: str
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def alike(self, place: int) -> list[str]:
        """Return the names of the candidates that one cannot be told apart from."""
        return [self.candidates[other].name for other, pair in enumerate(self.pairs[place]) if pair and not pair.told]


def decide(
    folders: Sequence[Path],
    constraints: Constraints,
    *,
    latencies: Sequence[Path] = (),
    deploys: Sequence[Path] = (),
    annotations: Path | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Decision:
    """Decide between the backbones of the runs below some folders.

    Args:
        folders: of runs, or with runs below them.
        constraints: what is asked for.
        latencies: files of measured times, in place of those found below the folders.
        deploys: files of deployed formats.
        annotations: of detectors; what the first run's config names by default.
        resamples: draws of the pictures.
        seed: of the draws.

    Raises:
        UserError: no results, runs that cannot be compared, or files that do not fit them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"Folder not found: {folder}. Give a run's folder or one with runs below it.")
    files = [DeployFile.read(path) for path in deploys]
    found = find_runs(folders)
    board, rows, notes = _comparable(found, folders)
    sessions = read_sessions(found, latencies)
    gathered = gather([row.runs for row in rows], annotations=annotations, resamples=resamples, seed=seed)
    spread = spreads([one.figure for one in gathered])
    times = assign_times([row.runs[0].result for row in rows], sessions)
    candidates = [
        Candidate(name, row, estimate(one.figure, spread), _classes(one, gathered), timed, one)
        for name, row, one, timed in zip(_names(rows), rows, gathered, times, strict=True)
    ]
    candidates.sort(key=lambda one: (-one.found.value, one.option.ms or float("inf"), one.option.params, one.name))
    pairs = tuple(
        tuple(None if a is b else difference(a.evidence.figure, b.evidence.figure, spread) for b in candidates)
        for a in candidates
    )
    speeds = tuple(
        tuple(speed(a.timed, b.timed) if a.timed and b.timed and a is not b else None for b in candidates)
        for a in candidates
    )
    figure = FIGURES[board.ranking]
    data = _data(candidates, pairs, speeds, figure, constraints, spread)
    options = [one.option for one in candidates]
    low = [[pair.low if pair else 0.0 for pair in row] for row in pairs]
    high = [[pair.high if pair else 0.0 for pair in row] for row in pairs]
    answer = choose(options, low, high, constraints)
    return Decision(
        board=board,
        figure=figure,
        candidates=tuple(candidates),
        pairs=pairs,
        speeds=speeds,
        constraints=constraints,
        answer=answer,
        changes={
            limit: changes(options, low, high, constraints, limit) for limit in ("max_ms", "min_figure", "max_params")
        },
        deployed=tuple(_deployed(files, candidates)),
        data=data,
        sentence=sentence(data, answer, constraints),
        notes=(*notes, *_dropped(folders), *_notes(candidates, board), *_format_notes(files)),
        problems=tuple(found.problems),
    )


def _comparable(found: Found, folders: Sequence[Path]) -> tuple[Board, list[Row], list[str]]:
    """Return the one leaderboard of all runs, its rows with a figure, and what is said of the others.

    Raises:
        UserError: no results, or results that cannot be compared.
    """
    boards = make_report(found).boards
    named = ", ".join(map(str, folders))
    if not boards:
        why = f" ({found.problems[0]})" if found.problems else ""
        raise UserError(f"No results below {named}{why}. Train with tools/bench.py or tools/train.py first.")
    first, *others = [run for board in boards for row in board.rows for run in row.runs]
    for run in others:
        if run.result.task != first.result.task:
            tasks = [TASKS[one.result.task].title for one in (first, run)]
            raise UserError(
                f"Runs of different tasks cannot be compared: {first.folder} is {tasks[0]}, {run.folder} {tasks[1]}. "
                "Give the runs of one."
            )
        check_same_data(first, run)
    board = boards[0]
    if len(boards) > 1:  # one file of annotations under two names
        named = " and ".join(board.title for board in boards)
        raise UserError(f"The runs are not on the same data: {named}. Give the runs of one.")
    rows = [row for row in board.rows if isinstance(row.cells.get(board.ranking), Value)]
    if not rows:
        raise UserError(f"No run below {named} has a {FIGURES[board.ranking].heading}: there is nothing to compare.")
    left = [row.runs[0].result.backbone for row in board.rows if row not in rows]
    notes = [f"Without a {FIGURES[board.ranking].heading}, and left out: {', '.join(left)}."] if left else []
    if found.unfinished:
        notes.append(f"{UNFINISHED}, and not here: {', '.join(map(describe_unfinished, found.unfinished))}.")
    return board, rows, notes


_TELLING: Mapping[str, Callable[[Row], str]] = {
    "pretrained": lambda row: f"weights {row.cells.get('pretrained') or 'unknown'}",
    "config": lambda row: str(row.cells.get("config")),
    "precision": lambda row: str(row.cells.get("precision")),
    "iterations": lambda row: f"{row.runs[0].result.training.iterations} steps" if row.runs[0].result.training else "",
    "part": lambda row: row.runs[0].result.training.part if row.runs[0].result.training else "",
    "weights": lambda row: row.runs[0].result.other_weights or "last",
    "folder": lambda row: str(row.cells.get("folder")),
}


def _names(rows: Sequence[Row]) -> list[str]:
    """Return a name of its own for each row: the backbone, and the first thing that tells it from its namesakes."""
    names = [row.runs[0].result.backbone for row in rows]
    for tell in _TELLING.values():
        doubled = {name for name in names if names.count(name) > 1}
        for name in doubled:
            own = [place for place, other in enumerate(names) if other == name]
            told = [tell(rows[place]) for place in own]
            if len(set(told)) > 1:
                for place, text in zip(own, told, strict=True):
                    names[place] = f"{name}, {text}" if text else name
    return names


def _classes(own: Evidence, every: Sequence[Evidence]) -> dict[str, Estimate]:
    return {
        name: estimate(figure, spreads([one.classes[name] for one in every if name in one.classes]))
        for name, figure in own.classes.items()
    }


def _data(
    candidates: Sequence[Candidate],
    pairs: Sequence[Sequence[Estimate | None]],
    speeds: Sequence[Sequence[Speed | None]],
    figure: Figure,
    constraints: Constraints,
    spread: Spreads,
) -> dict[str, Any]:
    one_seed = all(len(one.row.runs) == 1 for one in candidates)
    return {
        "options": [
            {
                "name": one.name,
                **asdict(one.option),
                "low": one.found.low,
                "high": one.found.high,
                "text": option_text(one.found, figure.heading, one.evidence.guess),
            }
            for one in candidates
        ],
        "pairs": [
            [
                {
                    "low": pair.low,
                    "high": pair.high,
                    "told": pair.told,
                    "text": pair_text(
                        pair, speeds[i][j], constraints.margin, _pairing(candidates[i], candidates[j], spread)
                    ),
                }
                if pair
                else None
                for j, pair in enumerate(row)
            ]
            for i, row in enumerate(pairs)
        ],
        "words": page_words(figure.heading, len(candidates), one_seed),
    }


def _pairing(a: Candidate, b: Candidate, spread: Spreads) -> str:
    """Say what a difference is paired over and covers."""
    ours, theirs = a.evidence.figure, b.evidence.figure
    pictures = "not paired over pictures" if ours.own_draws or theirs.own_draws else "paired over pictures"
    if spread.alone is None:
        return f"{pictures}, of one seed each"
    if spread.paired is None:
        return f"{pictures}, not over seeds"
    return "paired over pictures and seeds" if pictures.startswith("paired") else f"paired over seeds, {pictures}"


def _deployed(files: Sequence[DeployFile], candidates: Sequence[Candidate]) -> list[Deployed]:
    found = []
    for file in files:
        own = [place for place, one in enumerate(candidates) if one.result.backbone == file.backbone]
        exact = [
            place for place in own if file.run and Path(file.run) in {run.folder for run in candidates[place].row.runs}
        ]
        place = next(iter(exact or own), None)
        found += [Deployed(file.backbone, place, file.device, file.threads, row) for row in file.rows]
    return found


def _notes(candidates: Sequence[Candidate], board: Board) -> list[str]:
    seeds = sorted({len(one.row.runs) for one in candidates})
    timed = next((one.timed for one in candidates if one.timed), None)
    missing = [one.name for one in candidates if not one.timed]
    figures = [one.evidence.figure for one in candidates]
    count = len(candidates) * (len(candidates) - 1) // 2
    heading = FIGURES[board.ranking].heading
    notes = [
        f"Intervals hold with 95%, each by itself, and cover the choice of {figures[0].images} pictures"
        + (", not of seeds: each backbone has one." if seeds == [1] else " and of seeds.")
    ]
    if 1 in seeds and len(seeds) > 1:
        notes.append("A backbone with one seed borrows the others' spread over seeds.")
    if unlike_spreads(figures):
        notes.append(
            "Some backbones vary more from seed to seed than others, and intervals take one spread for all: those of "
            "the less steady ones are too narrow."
        )
    if any(figure.own_draws for figure in figures):
        notes.append(
            "Some runs hold no answers by picture: differences with them are not paired over pictures, and their "
            "intervals are rather too wide."
        )
    if count > 1:
        notes.append(
            f"Of {count} pairs, one in twenty would be told apart by chance if all were equal: where much hangs on "
            "one pair, train it with more seeds."
        )
    if timed:
        record = timed.record
        notes.append(f"Time: median of an image, {', '.join(record.conditions)}, {record.input[2]}x{record.input[3]}.")
        if not record.stable:
            notes.append("The times still moved when they were taken: the machine was busy.")
        if missing:
            notes.append(f"No time under these conditions, so neither fast nor slow: {', '.join(missing)}.")
    elif board.demo:
        notes.append("No times: a config's are those of its own classes, of which generated data have fewer.")
    else:
        notes.append("No times: tools/latency.py --json > latency.json in the folder of the runs gives them.")
    recipes = {_recipe(one.result) for one in candidates}
    if len(recipes) > 1:
        notes.append(f"Not all were trained alike: {'; '.join(sorted(recipes))}.")
    if board.demo:
        notes.append(f"Generated data: their {heading} says nothing about real ones.")
    return notes


def _dropped(folders: Sequence[Path]) -> list[str]:
    """Return which backbones of a series were dropped before all their seeds, if there is a series."""
    read = [read_series(folder / SERIES) for folder in folders if (folder / SERIES).is_file()]
    told = [
        f"{loser.backbone} after {loser.runs} of {series.seeds}, by {loser.difference:+.1f} to {loser.leader} (95% "
        f"interval {loser.interval[0]:+.1f} to {loser.interval[1]:+.1f})"
        for series in read
        for loser in series.dropped
    ]
    return [f"Dropped as clear losers before all their seeds were run: {'; '.join(told)}."] if told else []


def _format_notes(files: Sequence[DeployFile]) -> list[str]:
    """Return on what the times of other formats were measured."""
    places = dict.fromkeys(
        f"{file.device or 'an unknown device'}, {file.threads or 'an unknown number of'} threads" for file in files
    )
    told = f"Other formats were timed apart from the backbones: on {'; '.join(places)}."
    return [told] if places else []


def _recipe(result: Result) -> str:
    training = result.training
    if training is None:
        return "training unknown"
    weights = Path(training.pretrained).name if training.pretrained else "none"
    return (
        f"{training.iterations} steps of {training.batch_size}, learning rate {training.learning_rate:g}, weights "
        f"{weights}, {training.part}, {training.precision}"
    )


def json_text(decision: Decision) -> str:
    """Return the decision as JSON: figures in percent, times in ms, params as they are counted."""
    answer = decision.answer
    names = [one.name for one in decision.candidates]
    content = {
        "sentence": decision.sentence,
        "taken": names[answer.taken] if answer else None,
        "best": names[answer.best] if answer else None,
        "constraints": asdict(decision.constraints),
        "figure": decision.figure.key,
        "data": decision.candidates[0].result.data.model_dump(mode="json", exclude_none=True),
        "candidates": [_json_candidate(decision, place) for place in range(len(names))],
        "changes": {
            limit: [{"from": value, "taken": names[found.taken] if found else None} for value, found in moves]
            for limit, moves in decision.changes.items()
        },
        "deployed": [
            {"backbone": one.backbone, "device": one.device, "threads": one.threads, **one.row.model_dump(mode="json")}
            for one in decision.deployed
        ],
        "notes": decision.notes,
        "problems": decision.problems,
        **decision.data,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_candidate(decision: Decision, place: int) -> dict[str, Any]:
    one = decision.candidates[place]
    record = one.timed.record if one.timed else None
    return {
        "name": one.name,
        "backbone": one.result.backbone,
        "runs": [str(run.folder) for run in one.row.runs],
        "seeds": [*one.evidence.figure.values],
        "figure": {"value": one.found.value, "interval": [one.found.low, one.found.high]},
        "variance": {
            "pictures": one.found.pictures,
            "seeds": one.found.seeds and one.found.seeds.variance,
        },
        "not_told_apart_from": decision.alike(place),
        "ms": record and {"median": record.median_ms, "p95": record.p95_ms},
        "params": one.result.cost.params,
        "macs": one.result.cost.macs,
        "hours": one.number("hours"),
        "images_per_second": one.number("images_per_second"),
        "classes": {
            name: {"value": found.value, "interval": [found.low, found.high]} for name, found in one.classes.items()
        },
        "marks": one.row.marks,
    }
