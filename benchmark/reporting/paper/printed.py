"""The paper's figures by the names and in the units of our results."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from benchmark.records.figures import COSTS, FIGURES
from benchmark.records.result import DataRecord
from benchmark.reporting.paper.tables import TABLES, Row, read_table
from benchmark.tasks import TASKS

COST_COLUMNS = {"params": "params", "macs": "flops"}


@dataclass(frozen=True)
class PaperPoint:
    """A row of the paper: its label, the figure that ranks, and its costs by our names, where printed."""

    label: str
    accuracy: float
    costs: Mapping[str, float]


def is_on_data(row: Row, task: str, data: DataRecord) -> bool:
    """Tell whether a row of a task's table is of the data of a result; a table that names none has the task's own."""
    return not data.demo and row.get("dataset", TASKS[task].data) == data.name


def printed_rows(task: str, data: DataRecord) -> list[Row]:
    """Return the rows of a task's tables that results on a data set are compared with; none for generated data.

    A label that several tables have is one row: what the first one leaves out is the next one's.
    """
    rows: dict[str, Row] = {}
    for number in TASKS[task].tables:
        for row in read_table(number):
            if is_on_data(row, task, data):
                known = {column: text for column, text in rows.get(row["label"], {}).items() if text}
                rows[row["label"]] = {**row, **known}
    return list(rows.values())


def cost_notes(task: str) -> list[str]:
    """Return what must be known where costs of results are compared with those of a task's tables."""
    return [note for number in TASKS[task].tables if (note := TABLES[number].cost_note)]


def paper_column(key: str, columns: Container[str]) -> str | None:
    """Return the column that prints a figure or a cost of ours; a table without masks calls ``box_AP`` "ap"."""
    own = COST_COLUMNS.get(key, key.lower())
    return next((column for column in (own, own.removeprefix("box_")) if column in columns), None)


def printed(row: Row, key: str) -> float | None:
    """Return what a row prints for a figure or a cost of ours, in the unit of result.json; None for nothing."""
    column = paper_column(key, row)
    if column is None or not (text := row[column]):
        return None
    return round(float(text) * COSTS[key].scale) if key in COSTS else float(text) * FIGURES[key].scale


def paper_points(rows: list[Row], figure: str) -> tuple[PaperPoint, ...]:
    """Return the rows that print a figure."""
    return tuple(
        PaperPoint(row["label"], accuracy, {key: cost for key in COSTS if (cost := printed(row, key)) is not None})
        for row in rows
        if (accuracy := printed(row, figure)) is not None
    )
