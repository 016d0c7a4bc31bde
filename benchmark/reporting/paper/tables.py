"""The paper's tables: the CSV files in this folder, one row per table. Imports neither torch nor MMDetection.

Which task a table is of stands in the task's row (``benchmark/tasks.py``).

Figures are printed in the paper's units: params in millions, multiply-adds in billions ("FLOPs" there).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backbones.errors import UserError
from benchmark.records.tolerances import TOLERANCES, Tolerance
from benchmark.tasks import TASKS

FOLDER = Path(__file__).parent
Row = dict[str, str]
TableNumber = int | str  # as printed: 4, "A"


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        file: its figures.
        title: what it compares.
        config: pattern of its rows' configs, by ``backbone`` and ``dataset``; None where nothing is trained here.
        tolerances: key of ``TOLERANCES`` by column, in the table's unit; where a column has none, the printed digits.
        timed: times are compared too, printed or not.
        note: what else must be known to compare it.
        cost_note: what must be known where the params and multiply-adds of runs are compared with its own.
        structure: columns that print a network's stem and blocks.
        footnotes: (label, column) -> why a printed cell differs from what is built, or from other printed ones.
    """

    file: str
    title: str
    config: str | None
    tolerances: Mapping[str, str] = field(default_factory=dict)
    timed: bool = False
    note: str = ""
    cost_note: str = ""
    structure: tuple[str, ...] = ()
    footnotes: Mapping[tuple[str, str], str] = field(default_factory=dict)


_AP = dict.fromkeys((f"{kind}ap{iou}" for kind in ("", "box_", "mask_") for iou in ("", "50", "75")), "AP")
_SSDLITE = {"params": "SSDLite params", "flops": "SSDLite multiply-adds", **_AP}
_TWO_STAGE = {"params": "two-stage params", "flops": "two-stage multiply-adds", **_AP}
_IMAGENET = {"top1": "ImageNet accuracy", "top5": "ImageNet accuracy"}
_STAGES = tuple(f"stage{number}" for number in range(1, 8))
_B0_MARKS = "every block of EfficientNet-B0 has squeeze-and-excitation; the marks are missing here"
_A1_MARKS = "MnasNet-A1 has squeeze-and-excitation in these blocks; the marks are missing here"
TABLES: dict[TableNumber, PaperTable] = {
    1: PaperTable(
        "table1_channels.csv",
        "channel configurations of lightweight models",
        None,
        _IMAGENET,
        note="Blocks are output channels x repeats.",
        structure=("stem", "blocks"),
        footnotes={
            ("MobileNetV2", "params"): "Table 4 prints 3.5M",
            ("FBNet-C", "blocks"): "a block of the second stage, which the search made a skip, is counted",
            ("MixNet-M", "flops"): "timm's network, of the same blocks, has fewer",
            ("EfficientNet-B0", "params"): "Table 4 prints 5.3M, as EfficientNet's paper does",
            ("AtomNas-C", "params"): "the figures are those of AtomNAS-C+, which Table 4 names",
            (
                "FairNas-A",
                "params",
            ): "Table 4 prints 5.3M; ours squeezes to half of a block's input",
        },
    ),
    4: PaperTable(
        "table4_imagenet.csv",
        "ImageNet classifiers",
        None,
        _IMAGENET,
        timed=True,
        footnotes={
            ("MobileNetV2", "params"): "Table 1 prints 3.4M",
            ("MobileNetV2 x1.4", "params"): "ours has a last 1x1 convolution of 1792 channels, 1.4 times 1280",
            ("AmoebaNet-A", "top1"): "its own paper has 74.5",
            ("DARTS", "params"): "the two cells that its authors' code names have 4.5M and 4.7M",
            ("DARTS", "flops"): "the two cells that its authors' code names have 0.51B and 0.53B",
            ("EfficientNet-B0", "params"): "Table 1 prints 4.8M",
            ("MixNet-M", "flops"): "timm's network, of the same blocks, has fewer",
            (
                "FairNAS-A",
                "params",
            ): "Table 1 prints 5.9M, as ours has that squeezes to half of a block's input",
        },
    ),
    5: PaperTable("table5_scaling.csv", "ImageNet classifiers by size", None, _IMAGENET, timed=True),
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
        {"top1": "top-1"},
        note="The paper searched learning rate and weight decay for each of its figures; tools/sweep.py CONFIG does.",
        cost_note="The paper counts params and multiply-adds with ImageNet's 1000 classes, we with the data set's.",
    ),
    9: PaperTable("table9_mask_rcnn.csv", "Mask R-CNN + FPN at 1280x800", "mask_rcnn_{backbone}.py", _TWO_STAGE),
    "A": PaperTable(
        "table_a_blocks.csv",
        "blocks of lightweight models",
        None,
        note="A block is expanded-out,stride,kernel; * marks squeeze-and-excitation.",
        structure=("stem", *_STAGES),
        footnotes={
            ("MnasNet-A1", "stage3"): _A1_MARKS,
            ("MnasNet-A1", "stage5"): _A1_MARKS,
            ("MnasNet-A1", "stage6"): _A1_MARKS,
            ("FBNet-C", "stage2"): "timm, whose weights fit, has a kernel of 3 in the second block",
            ("MobileNetV3-Large", "stem"): "its paper has 16, and so have its weights",
            ("MobileNetV3-Large", "stage1"): "follows from the stem of 16",
            ("EfficientNet-B0", "stage2"): _B0_MARKS,
            ("EfficientNet-B0", "stage3"): _B0_MARKS,
            ("EfficientNet-B0", "stage4"): _B0_MARKS,
            ("MixNet-M", "stage4"): "an expansion of 6 on 80 channels makes 480; timm, whose weights fit, has that",
            ("ReXNet", "stage7"): "the authors' code, whose weights fit, has squeeze-and-excitation in the last block",
        },
    ),
}
PAIRED_TABLE = 5  # its times of EfficientNets and ReXNets make ratios
QUOTED_TOLERANCE = TOLERANCES["quoted"].near_share
# Another machine has other times, but a ratio of two that the paper prints from here on must be over 1 on any. Below it
# the paper's whole milliseconds do not tell which of two networks is faster.
CLEARLY_OVER_1 = 1.1


def table_number(text: str) -> TableNumber:
    """Return the number that a command line names: ``4``, ``table4``, ``A``, ``tableA``."""
    text = text.removeprefix("table")
    return int(text) if text.isdecimal() else text.upper()


def find_table(number: TableNumber) -> PaperTable:
    """Return the row of a table.

    Raises:
        UserError: no such table.
    """
    if number not in TABLES:
        raise UserError(f"There is no table {number} here: expected one of {', '.join(map(str, TABLES))}.")
    return TABLES[number]


def table_task(number: TableNumber) -> str | None:
    """Return the task that a table is of; None for one of ImageNet classifiers, which no leaderboard shows."""
    return next((name for name, task in TASKS.items() if number in task.tables), None)


def counts_classifiers(number: TableNumber) -> bool:
    """Tell whether a table's params and multiply-adds are of ImageNet classifiers, at ``input_size`` or 224 pixels."""
    task = table_task(number)
    return task is None or TASKS[task].kind == "classifier"


def read_table(number: TableNumber) -> list[Row]:
    """Return the rows of a table as printed.

    ``backbone`` is our name, empty where the catalogue has none; ``recipe`` the template of configs/ that is nearest to
    the training of an ImageNet classifier.
    """
    with (FOLDER / find_table(number).file).open(newline="") as file:
        return list(csv.DictReader(file))


def classifier_side(row: Row) -> int:
    """Return the side in pixels of the images that a row's classifier is counted and timed at."""
    return int(row.get("input_size") or 224)


def is_quoted(row: Row) -> bool:
    """Tell whether the paper took a row from elsewhere."""
    return row.get("source") == "paper"


def tolerance(number: TableNumber, row: Row, column: str) -> tuple[float, float]:
    """Return how far ours may lie from a figure that a row prints, in its unit, to agree and to be near."""
    table = find_table(number)
    own, near = _find_tolerance(table, column).bounds(row[column])
    return (own, max(own, TOLERANCES["quoted"].bounds(row[column])[1])) if is_quoted(row) else (own, near)


def own_tolerance(table: PaperTable, row: Row, column: str) -> float:
    """Return how far ours may lie from a figure that a row prints and agree, whoever has counted it."""
    return _find_tolerance(table, column).bounds(row[column])[0]


def _find_tolerance(table: PaperTable, column: str) -> Tolerance:
    return TOLERANCES[table.tolerances.get(column, "printed digits")]
