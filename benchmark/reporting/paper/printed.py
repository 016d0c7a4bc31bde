"""The paper's figures by the names and in the units of our results."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.records.result import DataRecord
from benchmark.reporting.paper.tables import Row, read_table
from benchmark.tasks import TASKS

# The paper's detectors are on COCO; its table of fine-grained transfer names the data set in each row.
_DATA = "coco2017"
_COSTS = {"params": ("params", 1e6), "macs": ("flops", 1e9)}  # column of the paper's table, and its unit


@dataclass(frozen=True)
class PaperPoint:
    """A row of the paper's table: its label, the figure that ranks, and its costs by our names, where printed."""

    label: str
    accuracy: float
    costs: Mapping[str, float]


def printed_rows(task: str, data: DataRecord) -> list[Row]:
    """Return the rows of a task's table that results on a data set may stand beside; none for generated data."""
    if data.demo:
        return []
    return [row for row in read_table(TASKS[task].paper_table) if row.get("dataset", _DATA) == data.name]


def printed(row: Row, key: str) -> float | None:
    """Return what a row prints for a figure or a cost of ours, None where it prints nothing.

    A table without masks calls ``box_AP`` "ap".
    """
    column, unit = _COSTS.get(key, (key.lower(), None))
    text = row.get(column) or row.get(column.removeprefix("box_"))
    if not text:
        return None
    return round(float(text) * unit) if unit else float(text)


def paper_points(rows: list[Row], figure: str) -> tuple[PaperPoint, ...]:
    """Return the rows that print a figure."""
    return tuple(
        PaperPoint(row["label"], accuracy, {key: cost for key in _COSTS if (cost := printed(row, key)) is not None})
        for row in rows
        if (accuracy := printed(row, figure)) is not None
    )
