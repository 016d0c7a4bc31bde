"""The paper's tables (benchmark/paper/*.csv), and ours beside them.

Figures are printed in the paper's units: params in millions, multiply-adds in billions ("FLOPs" there).
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.complexity import Complexity, classifier_complexity, detector_complexity
from benchmark.config import CONFIGS, complete_model, load_config
from benchmark.errors import UserError

FOLDER = Path(__file__).with_name("paper")
Row = dict[str, str]


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        file: its figures.
        title: what it compares.
        config: pattern of its rows' configs; None for classifiers, counted at ``input_size`` or 224.
        params_tolerance: how far params may lie from the printed ones, in millions; None for half a unit of the last
            printed digit.
        macs_tolerance: likewise for multiply-adds, in billions.
    """

    file: str
    title: str
    config: str | None
    params_tolerance: float | None = None
    macs_tolerance: float | None = None


TABLES = {
    4: PaperTable("table4_imagenet.csv", "ImageNet classifiers", None),
    5: PaperTable("table5_scaling.csv", "ImageNet classifiers by size", None),
    6: PaperTable("table6_ssdlite.csv", "SSDLite at 320x320", "ssdlite_{}.py", 0.05, 0.01),
    7: PaperTable("table7_faster_rcnn.csv", "Faster R-CNN + FPN at 1280x800", "faster_rcnn_{}.py", 0.1, 0.3),
    8: PaperTable("table8_finegrained.csv", "ImageNet classifiers for fine-grained transfer", None),
    9: PaperTable("table9_mask_rcnn.csv", "Mask R-CNN + FPN at 1280x800", "mask_rcnn_{}.py", 0.1, 0.3),
}
# A row that the paper quotes from elsewhere was counted elsewhere.
QUOTED_TOLERANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """A row of the paper beside our count.

    Attributes:
        row: as printed.
        ours: as counted.
        quoted: the paper took the row from elsewhere.
        verdict: ``yes`` within the table's tolerances, ``within 5%`` for a quoted row, else ``NO``.
    """

    row: Row
    ours: Complexity
    quoted: bool
    verdict: str


def read_table(number: int) -> list[Row]:
    """Return the rows of a table as printed; ``backbone`` is our name, empty where the catalogue has none."""
    with (FOLDER / _table(number).file).open(newline="") as file:
        return list(csv.DictReader(file))


def compare_complexity(number: int) -> list[Comparison]:
    """Count every row of a table that the catalogue has, and set it beside the printed figures."""
    table = _table(number)
    comparisons = []
    for row in read_table(number):
        if not row["backbone"]:
            continue
        ours = _count(table, row)
        quoted = row.get("source") == "paper"
        comparisons.append(Comparison(row, ours, quoted, _verdict(table, row, ours, quoted)))
    return comparisons


def _count(table: PaperTable, row: Row) -> Complexity:
    if table.config is None:
        return classifier_complexity(row["backbone"], int(row.get("input_size") or 224))
    cfg = load_config(CONFIGS / table.config.format(row["backbone"]))
    complete_model(cfg)
    return detector_complexity(cfg)


def _verdict(table: PaperTable, row: Row, ours: Complexity, quoted: bool) -> str:
    pairs = (
        (ours.params / 1e6, row["params"], table.params_tolerance),
        (ours.macs / 1e9, row["flops"], table.macs_tolerance),
    )
    printed = [
        (found, float(text), _last_digit(text) / 2 if tolerance is None else tolerance)
        for found, text, tolerance in pairs
        if text
    ]
    if all(abs(found - figure) <= tolerance for found, figure, tolerance in printed):
        return "yes"
    if quoted and all(abs(found - figure) <= QUOTED_TOLERANCE * figure for found, figure, _ in printed):
        return f"within {QUOTED_TOLERANCE:.0%}"
    return "NO"


def _last_digit(text: str) -> float:
    """Return the value of one unit of the last printed digit: 0.01 for ``0.40``, 1 for ``12``."""
    return 10.0 ** -len(text.partition(".")[2])


def complexity_rows(comparisons: Sequence[Comparison]) -> list[dict[str, str]]:
    """Return one printable row a comparison: ours, the paper's, and whether they agree."""
    return [
        {
            "backbone": c.row["label"] + (" (quoted)" if c.quoted else ""),
            "params (M)": f"{c.ours.params / 1e6:.3f}",
            "in the paper": c.row["params"],
            "multiply-adds (B)": f"{c.ours.macs / 1e9:.3f}",
            "in the paper ": c.row["flops"],
            "agrees": c.verdict,
            **_mask_head(c.ours),
            **({"notes": c.row["notes"]} if "notes" in c.row else {}),
        }
        for c in comparisons
    ]


def _mask_head(ours: Complexity) -> dict[str, str]:
    if "mask_head" not in ours.parts:
        return {}
    return {"mask head (B)": f"{ours.parts['mask_head'].macs / 1e9:.3f}"}


def describe_table(number: int) -> str:
    """Return what a comparison with a table means."""
    table = _table(number)
    tolerances = (
        "to the printed digits"
        if table.params_tolerance is None
        else f"within {table.params_tolerance}M and {table.macs_tolerance}B of the printed figures"
    )
    return f"Table {number}, {table.title}. Agrees: {tolerances}. A row marked (quoted) the paper took from elsewhere."


def _table(number: int) -> PaperTable:
    if number not in TABLES:
        raise UserError(f"There is no table {number} here: expected one of {', '.join(map(str, TABLES))}.")
    return TABLES[number]
