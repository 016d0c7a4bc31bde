"""The cells of the paper's tables: which figures there are, and what can become of one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from benchmark.reporting.paper.tables import CLEARLY_OVER_1, TABLES, read_table


@dataclass(frozen=True)
class Figure:
    """A column of figures in the paper's tables.

    Attributes:
        heading: with its unit.
        kind: what measures it.
        key: its name in our results.
        unit: of the table, in the unit of our results.
        digits: of ours, after the point.
    """

    heading: str
    kind: Literal["accuracy", "count", "time"]
    key: str
    unit: float = 1
    digits: int = 1


@dataclass(frozen=True)
class Timed:
    """What a column of times is measured at."""

    device: Literal["cpu", "cuda"]
    batch_size: int


FIGURES = {
    **{
        f"{kind}ap{iou}": Figure(f"{kind.replace('_', ' ')}AP{iou}", "accuracy", f"{kind or 'box_'}AP{iou}")
        for kind in ("", "mask_", "box_")
        for iou in ("", "50", "75")
    },
    "top1": Figure("top-1", "accuracy", "top1"),
    "top5": Figure("top-5", "accuracy", "top5"),
    "params": Figure("params (M)", "count", "params", 1e6, 3),
    "flops": Figure("multiply-adds (B)", "count", "macs", 1e9, 3),
    "cpu_ms_batch1": Figure("CPU, batch 1 (ms)", "time", "median_ms"),
    "gpu_ms_batch64": Figure("GPU, batch 64 (ms)", "time", "median_ms"),
}
TIMED = {"cpu_ms_batch1": Timed("cpu", 1), "gpu_ms_batch64": Timed("cuda", 64)}


class Verdict(StrEnum):
    """What became of a cell."""

    OK = "ok"
    OUTSIDE = "outside"
    NOT_PRINTED = "not printed"
    NOT_COMPARED = "not compared"  # times of another machine, and ratios near 1
    MISSING = "missing"
    NOT_MEASURED_HERE = "not measured here"  # the benchmark trains no ImageNet classifier
    NOT_IN_THE_CATALOGUE = "not in the catalogue"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        row: label, with the data set where there are several.
        backbone: our name, empty where the catalogue has none.
        column: a key of ``FIGURES``.
        config: what trains the row, None where nothing does.
        printed: as the paper has it, empty where it prints nothing.
        ours: in the paper's unit, None where it is not measured.
        runs: how many measurements ours is the mean of.
        tolerance: how far ours may lie from the printed figure, None where they are not compared.
        command: what measures it, None where nothing here does.
    """

    row: str
    backbone: str
    column: str
    config: Path | None
    printed: str
    ours: float | None
    runs: int
    tolerance: float | None
    verdict: Verdict
    command: str | None

    @property
    def figure(self) -> Figure:
        """What stands in its column."""
        return FIGURES[self.column]

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return round(self.ours - float(self.printed), 6) if self.printed and self.ours is not None else None


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
        return Verdict.OK if self.ours > 1 else Verdict.OUTSIDE


@dataclass(frozen=True)
class State:
    """How things stand with a table.

    Attributes:
        rows: number of its rows.
        cells: row by row.
        ratios: of times, where two belong together.
        conditions: of the times, by heading of their column.
        passed_over: runs of a row's backbone and data that fill no cell, and why.
        problems: files and folders that cannot be read.
    """

    number: int
    rows: int
    cells: tuple[Cell, ...]
    ratios: tuple[Ratio, ...]
    conditions: Mapping[str, str]
    passed_over: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def outside(self) -> int:
        """Number of cells and ratios outside their tolerance."""
        return Counter(part.verdict for part in (*self.cells, *self.ratios))[Verdict.OUTSIDE]


def columns(number: int) -> list[str]:
    """Return the columns of a table that hold figures to measure, printed or added."""
    header = read_table(number)[0]
    return [name for name in FIGURES if name in header or (TABLES[number].timed and name in TIMED)]
