"""Params and multiply-adds of the paper's rows as we count them, compared with what it prints.

Figures are printed in the paper's units: params in millions, multiply-adds in billions ("FLOPs" there).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.data.layouts import LAYOUTS
from benchmark.measuring.complexity import Complexity, classifier_complexity, detector_complexity
from benchmark.records.figures import MACS, PARAMS, headings
from benchmark.records.tolerances import TOLERANCES
from benchmark.reporting.paper.blocks import read_architecture, structure
from benchmark.reporting.paper.tables import (
    QUOTED_TOLERANCE,
    PaperTable,
    Row,
    TableNumber,
    classifier_side,
    counts_classifiers,
    find_table,
    is_quoted,
    own_tolerance,
    read_table,
    tolerance,
)


@dataclass(frozen=True)
class Comparison:
    """A row of the paper and our count.

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


def row_config(number: TableNumber, row: Row) -> Path | None:
    """Return the config that trains a row; None where the catalogue has no backbone for it, or nothing is trained."""
    pattern = find_table(number).config
    if pattern is None or not row["backbone"]:
        return None
    dataset = next((name for name, layout in LAYOUTS.items() if layout.title == row.get("dataset")), None)
    return CONFIGS / pattern.format(backbone=row["backbone"], dataset=dataset)


def compare_complexity(number: TableNumber) -> list[Comparison]:
    """Count every row of a table that the catalogue has, and compare it with the printed figures."""
    table = find_table(number)
    comparisons = []
    for row in read_table(number):
        if not row["backbone"]:
            continue
        ours = _count(number, row)
        comparisons.append(Comparison(row, ours, is_quoted(row), _verdict(table, row, ours)))
    return comparisons


def _count(number: TableNumber, row: Row) -> Complexity:
    if counts_classifiers(number):
        return classifier_complexity(row["backbone"], classifier_side(row))
    config = row_config(number, row)
    assert config is not None  # a table of detectors has configs
    cfg = load_config(config)
    complete_model(cfg)
    return detector_complexity(cfg)


def _verdict(table: PaperTable, row: Row, ours: Complexity) -> str:
    printed = [
        (abs(found - float(row[column])), float(row[column]), own_tolerance(table, row, column))
        for column, found in (("params", ours.params / PARAMS.scale), ("flops", ours.macs / MACS.scale))
        if row.get(column)
    ]
    if all(difference <= allowed for difference, _, allowed in printed):
        return "yes"
    if is_quoted(row) and all(difference <= QUOTED_TOLERANCE * figure for difference, figure, _ in printed):
        return f"within {QUOTED_TOLERANCE:.0%}"
    return "NO"


def cell_rows(number: TableNumber) -> list[dict[str, str]]:
    """Return one printable row per cell that a table prints of built networks: ours, whether they agree, and why not.

    Costs that the table does not print, and activations (elements of all convolutions' outputs), stand without verdict.
    """
    table, rows = find_table(number), []
    for comparison in compare_complexity(number):
        row, ours = comparison.row, comparison.ours
        cells: dict[str, tuple[str, bool | None]] = {}
        if table.structure:
            architecture = read_architecture(row["backbone"], classifier_side(row))
            cells |= {name: (text, row[name] == text) for name, text in structure(row, architecture).items()}
            activations = {"activations": (f"{architecture.activations / 1e6:.3f}", None)}
        else:
            activations = {}
        for column, found in (("params", ours.params / PARAMS.scale), ("flops", ours.macs / MACS.scale)):
            printed = row.get(column)
            agrees = abs(found - float(printed)) <= tolerance(number, row, column)[is_quoted(row)] if printed else None
            cells[column] = (f"{found:.3f}", agrees)
        for column, (text, agrees) in (cells | activations).items():
            rows.append(
                {
                    "model": row["label"],
                    "backbone": row["backbone"],
                    "figure": column,
                    "in the paper": row.get(column) or "not printed",
                    "ours": text,
                    "agrees": {True: "yes", False: "NO", None: "-"}[agrees],
                    "note": table.footnotes.get((row["label"], column), ""),
                }
            )
    return rows


def describe_cells(number: TableNumber, rows: Sequence[dict[str, str]]) -> str:
    """Return what a comparison cell by cell means, and how many cells agree."""
    table, verdicts = find_table(number), Counter(row["agrees"] for row in rows)
    missing = [row["label"] for row in read_table(number) if not row["backbone"]]
    return " ".join(
        filter(
            None,
            (
                f"Table {number}, {table.title}: {verdicts['yes']} of {verdicts['yes'] + verdicts['NO']} cells agree.",
                "Params and activations in millions, flops (multiply-adds) in billions, within half a unit of the last "
                f"printed digit, or {QUOTED_TOLERANCE:.0%} for a row that the paper quotes.",
                table.note,
                f"Not in the catalogue: {', '.join(missing)}." if missing else "",
            ),
        )
    )


def complexity_rows(comparisons: Sequence[Comparison]) -> list[dict[str, str]]:
    """Return one printable row per comparison: ours, the paper's, and whether they agree."""
    params, macs = headings((PARAMS, MACS))
    return [
        {
            "backbone": c.row["label"] + (" (quoted)" if c.quoted else ""),
            params: f"{c.ours.params / PARAMS.scale:.3f}",
            "in the paper": c.row.get("params", ""),
            macs: f"{c.ours.macs / MACS.scale:.3f}",
            "in the paper ": c.row.get("flops", ""),
            "agrees": c.verdict,
            **_mask_head(c.ours),
            **({"notes": c.row["notes"]} if "notes" in c.row else {}),
        }
        for c in comparisons
    ]


def _mask_head(ours: Complexity) -> dict[str, str]:
    if "mask_head" not in ours.parts:
        return {}
    return {"mask head (B)": f"{ours.parts['mask_head'].macs / MACS.scale:.3f}"}


def describe_table(number: TableNumber) -> str:
    """Return what a comparison with a table means."""
    table = find_table(number)
    tolerances = (
        f"within {_within(table, 'params')}M and {_within(table, 'flops')}B of the printed figures"
        if "params" in table.tolerances
        else "to the printed digits"
    )
    return f"Table {number}, {table.title}. Agrees: {tolerances}. A row marked (quoted) the paper took from elsewhere."


def _within(table: PaperTable, column: str) -> float | None:
    return TOLERANCES[table.tolerances[column]].within
