"""Runs -> leaderboards: one per task, data set and split; generated data never meet real ones. Pure functions.

Runs that differ in nothing but their seed are one row: mean, sample standard deviation and n of every accuracy figure.
"Nothing but" means config (its hash leaves the seed out), backbone, data, cost, and all that the result records of the
training but ``_MEASURED`` and a learning rate that each found by one search. Of several runs with one seed the newest
counts. A run of unknown seed is a row of its own, and so is one whose checkpoint is not known to be the last of its
training.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from backbones.errors import UserError, did_you_mean
from benchmark.records.latency import Latency
from benchmark.records.result import Result, TrainingRecord
from benchmark.records.runs import Found, Run, Unfinished
from benchmark.reporting.leaderboard.columns import (
    COST,
    IDENTITY,
    NUMBERS,
    TEXTS,
    TRAINING,
    Column,
    accuracy_columns,
    time_columns,
)
from benchmark.reporting.paper.printed import PaperPoint, cost_notes, paper_points, printed, printed_rows
from benchmark.reporting.paper.tables import Row as PaperRow
from benchmark.tasks import TASKS

# What two runs of one recipe may differ in besides the seed.
_MEASURED = {"seed", "world_size", "images_per_second", "hours", "peak_memory", "unreadable_images"}


@dataclass(frozen=True)
class Value:
    """A figure of one run or of several.

    Attributes:
        mean: over the runs that have it.
        std: sample standard deviation, None below two runs.
        interval: 95% bootstrap interval of a single run.
        paper: what the paper prints.
    """

    mean: float
    std: float | None = None
    interval: tuple[float, float] | None = None
    paper: float | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None else round(self.mean - self.paper, 6)


Cell = Value | str | None


@dataclass(frozen=True)
class Row:
    """A row of a leaderboard.

    Attributes:
        cells: by the key of their column.
        marks: why its figures are to be read with care.
        runs: by seed, the newest of each.
        members: a row per run, where there are several.
        older: runs that a newer one of the same seed replaces.
        timings: measured times.
    """

    cells: Mapping[str, Cell]
    marks: tuple[str, ...]
    runs: tuple[Run, ...]
    members: tuple["Row", ...]
    older: tuple[Run, ...]
    timings: tuple[Latency, ...]

    @property
    def partial(self) -> bool:
        """Tell whether a figure is of fewer images than the official split."""
        return any(run.result.data.partial for run in self.runs)


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        ranking: the figure that ranks.
        sorted_by: key of the column that its rows are sorted by, best first.
        columns: all of them; ``shown`` says which stand in a table made to be read.
        notes: what its reader must know.
        paper_points: the paper's rows, for plots.
    """

    task: str
    data: str
    split: str
    demo: bool
    ranking: str
    sorted_by: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    paper_points: tuple[PaperPoint, ...]

    @property
    def title(self) -> str:
        """Heading of the table."""
        demo = " (generated data, not comparable to real ones)" if self.demo else ""
        return f"{TASKS[self.task].title}, {self.data} {self.split}{demo}"

    @property
    def ranking_column(self) -> Column:
        """The column of the figure that ranks."""
        return next(column for column in self.columns if column.key == self.ranking)

    @property
    def shown(self) -> list[Column]:
        """The columns of a table made to be read."""
        return [column for column in self.columns if column.shown]


@dataclass(frozen=True)
class Report:
    """Leaderboards, and what was found besides; ``notes`` hold for all of them."""

    boards: tuple[Board, ...]
    unfinished: tuple[Unfinished, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Context:
    """What the rows of a leaderboard have in common."""

    figures: Sequence[str]
    timings: Sequence[Latency]
    times: Mapping[tuple[str, ...], Column]
    paper: Mapping[str, PaperRow]


def make_report(found: Found, *, metric: str | None = None, sort: str | None = None, paper: bool = False) -> Report:
    """Make the leaderboards of everything found.

    Args:
        found: see ``find_runs``.
        metric: figure that ranks, in place of each task's own.
        sort: key of a column to sort by, best first; the figure that ranks by default.
        paper: compare with the paper's figures.

    Raises:
        UserError: no leaderboard has that figure or column.
    """
    groups: dict[tuple[bool, int, str, str], list[Run]] = defaultdict(list)
    for run in found.runs:
        data = run.result.data
        groups[data.demo, list(TASKS).index(run.result.task), data.name, data.split].append(run)
    boards = [_board(groups[key], found.timings, metric, sort, paper) for key in sorted(groups)]
    columns = [column for board in boards for column in board.columns]
    _check_known("--metric", metric, {column.key for column in columns if column.kind == "accuracy"})
    _check_known("--sort", sort, {column.key for column in columns})
    return Report(tuple(boards), tuple(found.unfinished), tuple(found.problems), _notes(found, boards))


def _check_known(option: str, name: str | None, known: set[str]) -> None:
    if name is not None and known and name not in known:
        expected = ", ".join(sorted(known))
        raise UserError(
            f"{option} {name}: no leaderboard has it. Expected one of {expected}.{did_you_mean(name, known)}"
        )


def _notes(found: Found, boards: Sequence[Board]) -> tuple[str, ...]:
    rows = [row for board in boards for row in board.rows]
    values = [cell for row in rows for cell in row.cells.values() if isinstance(cell, Value)]
    used = {timing for row in rows for timing in row.timings}
    unused = sorted({timing.model for timing in found.timings if timing not in used})
    trials = ", ".join(f"{count} of {folder}" for folder, count in found.trials.items())
    return _holding(
        (rows, 'AP and accuracy in percent. "Multiply-adds" are what the paper calls FLOPs. "-" was not measured.'),
        (
            any(value.std is not None for value in values),
            "±: mean and sample standard deviation over n seeds; hours and images/s are means.",
        ),
        (
            any(run.result.intervals for row in rows for run in row.runs),
            "In brackets: 95% bootstrap interval; it covers the choice of images, not of seeds.",
        ),
        (
            any(value.paper is not None for value in values),
            "In parentheses: the paper's figure, and ours minus it.",
        ),
        (trials, f"The trials of sweeps are left out, their final trainings are not: {trials}."),
        (unused, f"Times of models that no result here is of: {', '.join(unused)}."),
    )


def _board(runs: Sequence[Run], timings: Sequence[Latency], metric: str | None, sort: str | None, paper: bool) -> Board:
    first = runs[0].result
    task, data = TASKS[first.task], first.data
    ranking = metric if metric in task.figures else task.ranking
    table = printed_rows(first.task, data)
    times = time_columns(sorted({t.conditions for t in timings if any(t.belongs_to(run.result) for run in runs)}))
    context = _Context(task.figures, timings, times, {row["backbone"]: row for row in table} if paper else {})
    rows = [_row(seeds, older, context) for seeds, older in _by_recipe(runs)]
    columns = {
        column.key: replace(column, shown=column.shown and _is_needed(column, rows))
        for column in (*IDENTITY, *accuracy_columns(task.figures, ranking), *COST, *times.values(), *TRAINING)
    }
    order = columns.get(sort or ranking, columns[ranking])
    older = [str(run.folder) for row in rows for run in row.older]
    notes = _holding(
        (any(row.partial for row in rows), "Partial rows are not ranked with the others: they stand below them."),
        (metric not in (None, ranking), f"No {metric} here: ranked by {ranking}."),
        (sort not in (None, order.key), f"No {sort} here: sorted by {order.key}."),
        (older, f"Of several runs with one seed the newest counts; left out: {', '.join(older)}."),
        *((context.paper, note) for note in cost_notes(first.task)),
        *((True, f"{column.heading}: {column.title}.") for column in times.values()),
    )
    return Board(
        task=first.task,
        data=data.name,
        split=data.split,
        demo=data.demo,
        ranking=ranking,
        sorted_by=order.key,
        columns=tuple(columns.values()),
        rows=tuple(_sorted(rows, order)),
        notes=notes,
        paper_points=paper_points(table, ranking),
    )


def _by_recipe(runs: Iterable[Run]) -> list[tuple[list[Run], list[Run]]]:
    """Group runs that differ in their seed alone; return the newest run of each seed, and the older ones."""
    recipes: dict[Hashable, dict[int, list[Run]]] = defaultdict(lambda: defaultdict(list))
    groups: list[tuple[list[Run], list[Run]]] = []
    for run in runs:
        training = run.result.training
        if training is None or training.seed is None or run.result.other_weights:
            groups.append(([run], []))
        else:
            recipes[_recipe(run.result, training)][training.seed].append(run)
    for seeds in recipes.values():
        by_age = [sorted(same, key=lambda run: run.result.provenance.date) for _, same in sorted(seeds.items())]
        groups.append(([same[-1] for same in by_age], [run for same in by_age for run in same[:-1]]))
    return groups


def _recipe(result: Result, training: TrainingRecord) -> Hashable:
    cost = result.cost
    settings = training.model_dump(exclude={*_MEASURED, "search"})
    if training.search:  # each seed finds a rate of its own, by one procedure that begins with one rate
        settings["learning_rate"] = ("found from", training.search.rates[0])
    return (
        result.config,
        result.backbone,
        result.data,
        result.provenance.precision,
        (cost.params, cost.macs, cost.input),
        tuple(sorted(settings.items())),
    )


def _row(runs: Sequence[Run], older: Sequence[Run], context: _Context) -> Row:
    results = [run.result for run in runs]
    paper = context.paper.get(results[0].backbone, {})
    timings = [timing for timing in context.timings if timing.belongs_to(results[0])]
    cells: dict[str, Cell] = {
        **{key: ", ".join(dict.fromkeys(filter(None, map(get, runs)))) or None for key, get in TEXTS.items()},
        **{key: _accuracy(results, key, printed(paper, key)) for key in context.figures},
        **{key: _cost(map(get, results), printed(paper, key)) for key, get in NUMBERS.items()},
        **{context.times[timing.conditions].key: Value(timing.median_ms) for timing in timings},
        "n": Value(len(runs)),
    }
    members = [_row([run], [], context) for run in runs] if len(runs) > 1 else []
    return Row(cells, _marks(results, timings), tuple(runs), tuple(members), tuple(older), tuple(timings))


def _accuracy(results: Sequence[Result], figure: str, paper: float | None) -> Value | None:
    values = [value for result in results if (value := result.metrics.get(figure)) is not None]
    if not values:
        return None
    if len(results) == 1:
        return Value(values[0], interval=results[0].intervals.get(figure), paper=paper)
    return Value(fmean(values), stdev(values) if len(values) > 1 else None, paper=paper)


def _cost(numbers: Iterable[float | None], paper: float | None) -> Value | None:
    values = [number for number in numbers if number is not None]
    if not values:
        return None
    return Value(values[0] if len(set(values)) == 1 else fmean(values), paper=paper)


def _marks(results: Sequence[Result], timings: Sequence[Latency]) -> tuple[str, ...]:
    counts = Counter(text for result in results for text in _marks_of(result))
    return (
        *(text if count == len(results) else f"{text} ({count} of {len(results)})" for text, count in counts.items()),
        *_holding((any(not timing.stable for timing in timings), "latency unstable")),
    )


def _marks_of(result: Result) -> tuple[str, ...]:
    data, training, provenance = result.data, result.training, result.provenance
    return _holding(
        (data.demo, "demo"),
        (data.partial, f"partial ({data.images} images)"),
        (data.unreadable, f"without {len(data.unreadable)} unreadable pictures"),
        (result.other_weights, result.other_weights),
        (training and training.partial, "trained on a part"),
        (training and training.subset_of, f"trained on {training.part}" if training else None),
        (data.own and data.own.validation == "drawn", "validation images drawn"),
        (training and training.unreadable_images, "unreadable pictures skipped"),
        (provenance.git_dirty, "changed code"),
        (provenance.precision != "fp32", f"evaluated in {provenance.precision}"),
    )


def _holding(*texts: tuple[object, str | None]) -> tuple[str, ...]:
    """Return the texts whose condition is true."""
    return tuple(text for condition, text in texts if condition and text)


def _sorted(rows: Sequence[Row], column: Column) -> list[Row]:
    """Return the rows best first; partial accuracy stands below all others, and a row without a value last."""

    def key(row: Row) -> float | str:
        cell = row.cells[column.key]
        assert cell is not None  # such rows are apart
        return cell.mean if isinstance(cell, Value) else cell

    with_value = sorted(
        (row for row in rows if row.cells.get(column.key) is not None), key=key, reverse=column.best == "high"
    )
    if column.kind == "accuracy":
        with_value.sort(key=lambda row: row.partial)
    return [*with_value, *(row for row in rows if row.cells.get(column.key) is None)]


def _is_needed(column: Column, rows: Sequence[Row]) -> bool:
    """Tell whether a column says anything: some have a rule, the others need a value."""
    rule = _NEEDED.get(column.key)
    return rule(rows) if rule else any(row.cells.get(column.key) is not None for row in rows)


def _kinds(rows: Sequence[Row], *keys: str) -> int:
    """Return how many different rows some columns make."""
    return len({tuple(row.cells.get(key) for key in keys) for row in rows})


# Where two rows agree in these, only their folders tell them apart.
_TELLING = ("backbone", "config", "pretrained", "iterations", "precision")
_NEEDED: dict[str, Callable[[Sequence[Row]], bool]] = {
    "config": lambda rows: _kinds(rows, "backbone", "config") > _kinds(rows, "backbone"),
    "folder": lambda rows: _kinds(rows, *_TELLING) < len(rows),
    "n": lambda rows: any(row.members for row in rows),
    "annotations": lambda rows: len({row.cells["annotations"] for row in rows if not row.partial}) > 1,
}
