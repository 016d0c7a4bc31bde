"""The columns of a leaderboard: one row per column, with what fills its cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.records.figures import COSTS, FIGURES, Figure, headings
from benchmark.records.result import Result
from benchmark.records.runs import Run


@dataclass(frozen=True)
class Column:
    """A column of a leaderboard.

    Attributes:
        key: its name for ``--sort`` and in JSON.
        heading: in tables.
        kind: ``text``, ``accuracy`` (has spread and interval) or ``cost``.
        title: the heading in more words.
        field: its name in CSV, where one table holds all leaderboards; the key by default.
        digits: after the point, in tables.
        scale: one unit of the tables, in the unit of the results.
        best: which end comes first when sorted.
        shown: stands in tables made to be read; the others are in CSV and JSON alone.
    """

    key: str
    heading: str
    kind: Literal["text", "accuracy", "cost"] = "text"
    title: str = ""
    field: str = ""
    digits: int = 0
    scale: float = 1
    best: Literal["low", "high"] = "low"
    shown: bool = True

    def format(self, number: float, sign: str = "") -> str:
        """Return a number of this column in the unit of the tables; ``sign`` as in a format specification."""
        return f"{number / self.scale:{sign}z,.{self.digits}f}"


IDENTITY = (Column("backbone", "backbone"), Column("config", "config"), Column("folder", "folder"))


def _figure_columns(figures: Sequence[Figure], kind: Literal["accuracy", "cost"]) -> list[Column]:
    return [
        Column(figure.key, heading, kind, figure.title, digits=figure.digits, scale=figure.scale, best=figure.best)
        for figure, heading in zip(figures, headings(figures), strict=True)
    ]


COST = (
    *_figure_columns([*COSTS.values()], "cost"),
    Column("input", "input", title="width x height in pixels at which multiply-adds are counted"),
)
TRAINING = (
    Column("pretrained", "pretrained", title="where the backbone's weights came from"),
    Column("hours", "hours", "cost", "of training, evaluation left out", digits=2),
    Column("iterations", "iterations", "cost"),
    Column("images_per_second", "images/s", "cost", "in training", digits=1, best="high"),
    Column("precision", "precision", title="of training"),
    Column("seed", "seed"),
    Column("n", "n", "cost", "seeds", best="high"),
    Column("annotations", "annotations", title="beginning of the annotations' SHA-256"),
    Column("images", "images", "cost", "of the split", shown=False),
    Column("batch_size", "batch size", "cost", shown=False),
    Column("learning_rate", "learning rate", "cost", shown=False),
    Column("date", "date", shown=False),
    Column("commit", "commit", shown=False),
    Column("device", "device", shown=False),
)


def accuracy_columns(keys: Sequence[str], ranking: str) -> list[Column]:
    """Return the columns of accuracy; the figure that ranks comes first."""
    return _figure_columns([FIGURES[key] for key in (ranking, *(key for key in keys if key != ranking))], "accuracy")


def time_columns(conditions: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Column]:
    """Return a column of latency for each set of conditions; its heading names those that are not common to all."""
    columns = {}
    for number, own in enumerate(conditions, 1):
        special = [part for part, *values in zip(own, *conditions, strict=True) if set(values) != {part}]
        columns[own] = Column(
            key="latency" if number == 1 else f"latency_{number}",
            heading=", ".join(("latency (ms)", *special)),
            kind="cost",
            title=f"median of a batch; {', '.join(own)}",
            field=f"latency_ms ({', '.join(own)})",
            digits=1,
        )
    return columns


def seed_of(result: Result) -> int | None:
    """Return the seed of the training, None where it is not known."""
    return result.training.seed if result.training else None


def _origin(result: Result) -> str | None:
    if result.training is None:
        return None
    return Path(result.training.pretrained).name if result.training.pretrained else "none"


def _of_training(name: str) -> Callable[[Result], float | None]:
    return lambda result: getattr(result.training, name) if result.training else None


TEXTS: dict[str, Callable[[Run], str | None]] = {
    "backbone": lambda run: run.result.backbone,
    "config": lambda run: run.result.config.name,
    "folder": lambda run: str(run.folder),
    "input": lambda run: "{1}x{0}".format(*run.result.cost.input[2:]),
    "pretrained": lambda run: _origin(run.result),
    "precision": lambda run: run.result.training.precision if run.result.training else None,
    "seed": lambda run: None if seed_of(run.result) is None else str(seed_of(run.result)),
    "annotations": lambda run: run.result.data.annotations_sha256[:8] or None,
    "date": lambda run: run.result.provenance.date,
    "commit": lambda run: run.result.provenance.git_commit,
    "device": lambda run: run.result.provenance.device,
}
NUMBERS: dict[str, Callable[[Result], float | None]] = {
    "params": lambda result: result.cost.params,
    "macs": lambda result: result.cost.macs,
    "images": lambda result: result.data.images,
    "hours": _of_training("hours"),
    "iterations": _of_training("iterations"),
    "batch_size": _of_training("batch_size"),
    "learning_rate": _of_training("learning_rate"),
    "images_per_second": _of_training("images_per_second"),
}
