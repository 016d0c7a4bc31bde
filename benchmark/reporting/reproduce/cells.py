"""The cells of the paper's tables: which figures there are, and what can become of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.records.figures import COSTS, FIGURES, headings
from benchmark.records.tolerances import TOLERANCES
from benchmark.records.verdicts import Verdict, judge
from benchmark.reporting.paper.printed import COST_COLUMNS, paper_column
from benchmark.reporting.paper.tables import CLEARLY_OVER_1, TABLES, TableNumber, read_table

_COUNT_DIGITS = 3  # one more than the paper's


@dataclass(frozen=True)
class Column:
    """A column of a table of the paper that holds figures.

    Attributes:
        name: in the paper's file.
        heading: with its unit.
        kind: what measures it.
        key: its name in our results.
        scale: one unit of the table, in the unit of our results.
        digits: of ours, after the point.
    """

    name: str
    heading: str
    kind: Literal["accuracy", "count", "structure", "time"]
    key: str
    scale: float = 1
    digits: int = 1


@dataclass(frozen=True)
class Timed:
    """What a column of times is measured at."""

    device: Literal["cpu", "cuda"]
    batch_size: int


TIMED = {"cpu_ms_batch1": Timed("cpu", 1), "gpu_ms_batch64": Timed("cuda", 64)}
_TIMES = (
    Column("cpu_ms_batch1", "CPU, batch 1 (ms)", "time", "median_ms"),
    Column("gpu_ms_batch64", "GPU, batch 64 (ms)", "time", "median_ms"),
)


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        row: label, with the data set where there are several.
        backbone: our name, empty where the catalogue has none.
        column: what it is a figure of.
        config: what trains the row, None where nothing does.
        printed: as the paper has it, empty where it prints nothing.
        ours: in the paper's unit, text of a structure; None where it is not measured.
        runs: how many measurements ours is the mean of.
        tolerance: how far ours may lie from the printed figure and agree, None where they are not compared.
        near: how far it may lie and be near, likewise.
        command: what measures it, None where nothing here does.
    """

    row: str
    backbone: str
    column: Column
    config: Path | None
    printed: str
    ours: float | str | None
    runs: int
    tolerance: float | None
    near: float | None
    verdict: Verdict
    command: str | None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        if not self.printed or self.ours is None or isinstance(self.ours, str):
            return None
        return round(self.ours - float(self.printed), 6)


@dataclass(frozen=True)
class Ratio:
    """Time of an EfficientNet over that of the ReXNet nearest in accuracy; the quartiles are of its rounds."""

    device: str
    batch: int
    pair: str
    printed: float
    ours: float
    quartiles: str

    @property
    def verdict(self) -> Verdict:
        """Whether the ReXNet is the faster one here, where it clearly is in the paper."""
        if self.printed < CLEARLY_OVER_1:
            return Verdict.NOT_COMPARED
        if self.ours > 1:
            return Verdict.AGREES
        within, near = TOLERANCES["ratio of times"].bounds("1")
        return judge(self.ours, 1, tolerance=within, near=near)


@dataclass(frozen=True)
class State:
    """How things stand with a table.

    Attributes:
        rows: number of its rows.
        cells: row by row.
        ratios: of times, where two belong together.
        conditions: of the times, by heading of their column, and which weights are from elsewhere.
        skipped: runs of a row's backbone and data that fill no cell, and why.
        problems: files and folders that cannot be read.
    """

    number: TableNumber
    rows: int
    cells: tuple[Cell, ...]
    ratios: tuple[Ratio, ...]
    conditions: Mapping[str, str]
    skipped: tuple[str, ...]
    problems: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """Return the number of cells and ratios with a verdict."""
        return [*(cell.verdict for cell in self.cells), *(ratio.verdict for ratio in self.ratios)].count(verdict)


def columns(number: TableNumber) -> list[Column]:
    """Return the columns of a table that hold figures to measure, printed or added: accuracy, counts, times."""
    header = list(read_table(number)[0])
    names = {column: key for key in FIGURES if (column := paper_column(key, header))}
    printed = [column for column in header if column in names]
    figures = [FIGURES[names[column]] for column in printed]
    return [
        *(
            Column(column, heading, "accuracy", figure.key, figure.scale, figure.digits)
            for column, figure, heading in zip(printed, figures, headings(figures), strict=True)
        ),
        *(
            Column(COST_COLUMNS[figure.key], heading, "count", figure.key, figure.scale, _COUNT_DIGITS)
            for figure, heading in zip(COSTS.values(), headings([*COSTS.values()]), strict=True)
            if COST_COLUMNS[figure.key] in header
        ),
        *(Column(name, name, "structure", name) for name in TABLES[number].structure),
        *(column for column in _TIMES if TABLES[number].timed or column.name in header),
    ]
