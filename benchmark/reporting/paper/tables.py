"""The paper's tables: the CSV files in this folder, one row per table. Imports neither torch nor MMDetection.

Which task a table is of stands in the task's row (``benchmark/tasks.py``).

Figures are printed in the paper's units: params in millions, multiply-adds in billions ("FLOPs" there).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backbones.errors import UserError
from benchmark.tasks import TASKS

FOLDER = Path(__file__).parent
Row = dict[str, str]


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        file: its figures.
        title: what it compares.
        config: pattern of its rows' configs, by ``backbone`` and ``dataset``; None where nothing is trained here.
        tolerances: how far ours may lie from the printed figure, by column and in the table's unit; where a column has
            none, half a unit of the last printed digit.
        timed: times are compared too, printed or not.
        note: what else must be known to compare it.
        cost_note: what must be known where the params and multiply-adds of runs are compared with its own.
    """

    file: str
    title: str
    config: str | None
    tolerances: Mapping[str, float] = field(default_factory=dict)
    timed: bool = False
    note: str = ""
    cost_note: str = ""


# Reruns of one recipe differ by up to 0.3 AP. The rest is for Table 6's images, test-dev2017, where ours are val2017.
_AP_TOLERANCE = dict.fromkeys((f"{kind}ap{iou}" for kind in ("", "box_", "mask_") for iou in ("", "50", "75")), 0.5)
# Two standard errors of 90% over Aircraft's 3333 test pictures, the fewest of the four data sets.
_TOP1_TOLERANCE = {"top1": 1.0}
_SSDLITE = {"params": 0.05, "flops": 0.01, **_AP_TOLERANCE}
_TWO_STAGE = {"params": 0.1, "flops": 0.3, **_AP_TOLERANCE}
TABLES = {
    4: PaperTable("table4_imagenet.csv", "ImageNet classifiers", None, timed=True),
    5: PaperTable("table5_scaling.csv", "ImageNet classifiers by size", None, timed=True),
    6: PaperTable(
        "table6_ssdlite.csv",
        "SSDLite at 320x320",
        "ssdlite_{backbone}.py",
        _SSDLITE,
        note="AP in the paper is of test-dev2017, ours of val2017.",
    ),
    7: PaperTable("table7_faster_rcnn.csv", "Faster R-CNN + FPN at 1280x800", "faster_rcnn_{backbone}.py", _TWO_STAGE),
    8: PaperTable(
        "table8_finegrained.csv",
        "ImageNet classifiers for fine-grained transfer",
        "finetune_{dataset}_{backbone}.py",
        _TOP1_TOLERANCE,
        note="The paper searched learning rate and weight decay for each of its figures; tools/sweep.py CONFIG does.",
        cost_note="The paper counts params and multiply-adds with ImageNet's 1000 classes, we with the data set's.",
    ),
    9: PaperTable("table9_mask_rcnn.csv", "Mask R-CNN + FPN at 1280x800", "mask_rcnn_{backbone}.py", _TWO_STAGE),
}
PAIRED_TABLE = 5  # its times of EfficientNets and ReXNets make ratios
# A row that the paper quotes from elsewhere was counted and trained elsewhere.
QUOTED_TOLERANCE = 0.05
# Another machine has other times, but a ratio of two that the paper prints from here on must be over 1 on any. Below it
# the paper's whole milliseconds do not tell which of two networks is faster.
CLEARLY_OVER_1 = 1.1


def find_table(number: int) -> PaperTable:
    """Return the row of a table.

    Raises:
        UserError: no such table.
    """
    if number not in TABLES:
        raise UserError(f"There is no table {number} here: expected one of {', '.join(map(str, TABLES))}.")
    return TABLES[number]


def table_task(number: int) -> str | None:
    """Return the task that a table is of; None for a table of ImageNet classifiers that nothing here trains."""
    return next((name for name, task in TASKS.items() if number in task.tables), None)


def counts_classifiers(number: int) -> bool:
    """Tell whether a table's params and multiply-adds are of ImageNet classifiers, at ``input_size`` or 224 pixels."""
    task = table_task(number)
    return task is None or TASKS[task].kind == "classifier"


def read_table(number: int) -> list[Row]:
    """Return the rows of a table as printed; ``backbone`` is our name, empty where the catalogue has none."""
    with (FOLDER / find_table(number).file).open(newline="") as file:
        return list(csv.DictReader(file))


def classifier_side(row: Row) -> int:
    """Return the side in pixels of the images that a row's classifier is counted and timed at."""
    return int(row.get("input_size") or 224)


def is_quoted(row: Row) -> bool:
    """Tell whether the paper took a row from elsewhere."""
    return row.get("source") == "paper"


def tolerance(number: int, row: Row, column: str) -> float:
    """Return how far ours may lie from a figure that a row prints, in its unit."""
    own = own_tolerance(find_table(number), row, column)
    return max(own, QUOTED_TOLERANCE * float(row[column])) if is_quoted(row) else own


def own_tolerance(table: PaperTable, row: Row, column: str) -> float:
    """Return how far ours may lie from a figure that a row prints, whoever has counted it."""
    return table.tolerances.get(column, _last_digit(row[column]) / 2)


def _last_digit(text: str) -> float:
    """Return the value of one unit of the last printed digit: 0.01 for ``0.40``, 1 for ``12``."""
    return 10.0 ** -len(text.partition(".")[2])
