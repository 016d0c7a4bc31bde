"""How things stand with a table, as text and as JSON."""

from collections import Counter
from typing import Any

from tabulate import tabulate

from benchmark.records.verdicts import JUDGED, Verdict
from benchmark.reporting.paper.tables import CLEARLY_OVER_1, QUOTED_TOLERANCE, TABLES, is_quoted, read_table
from benchmark.reporting.reproduce.cells import Cell, State

_NOTHING = "-"
_STYLE: dict[str, Any] = {"headers": "keys", "tablefmt": "github", "disable_numparse": True}


def render(state: State) -> str:
    """Return every cell of a table, what measures it, and last a line that sums up."""
    parts = [f"Table {state.number}, {TABLES[state.number].title}"]
    parts.append(tabulate([_cell_row(cell) for cell in state.cells], **_STYLE))
    if state.ratios:
        parts.append(tabulate(_ratio_rows(state), **_STYLE))
    parts.append(_notes(state))
    parts.append(tabulate(_command_rows(state), **_STYLE))
    if state.skipped:
        parts.append("\n".join(("Runs that fill no cell:", *(f"- {run}" for run in state.skipped))))
    parts.append(summary(state))
    return "\n\n".join(parts)


def summary(state: State) -> str:
    """Return the numbers of cells in one line."""
    counts = _counts(state)
    text = (
        f"{state.rows} rows, {counts['cells']} cells: {counts['measured']} measured, {counts['agree']} agree, "
        f"{counts['near']} near, {counts['disagree']} disagree, {counts['missing']} missing"
    )
    if counts["not in the catalogue"]:
        text += f" ({counts['not in the catalogue']} of them not in the catalogue)"
    if not state.ratios:
        return text
    verdicts = Counter(ratio.verdict for ratio in state.ratios)
    return (
        f"{text}; {len(state.ratios)} ratios: {verdicts[Verdict.AGREES]} agree, {verdicts[Verdict.NEAR]} near, "
        f"{verdicts[Verdict.DISAGREES]} disagree, {verdicts[Verdict.NOT_COMPARED]} not compared"
    )


def state_json(state: State) -> dict[str, Any]:
    """Return everything as JSON's containers; figures in the paper's unit."""
    return {
        "table": state.number,
        "title": TABLES[state.number].title,
        "cells": [
            {
                "row": cell.row,
                "backbone": cell.backbone or None,
                "figure": cell.column.heading,
                "printed": _printed(cell),
                "ours": cell.ours,
                "runs": cell.runs,
                "difference": cell.difference,
                "tolerance": cell.tolerance,
                "near": cell.near,
                "verdict": cell.verdict,
                "command": cell.command,
            }
            for cell in state.cells
        ],
        "ratios": [{**vars(ratio), "verdict": ratio.verdict} for ratio in state.ratios],
        "conditions": state.conditions,
        "skipped": state.skipped,
        "problems": state.problems,
        "summary": {"rows": state.rows, **_counts(state)},
    }


def _printed(cell: Cell) -> float | str | None:
    return cell.printed if cell.column.kind == "structure" else float(cell.printed) if cell.printed else None


def _counts(state: State) -> dict[str, int]:
    verdicts = Counter(cell.verdict for cell in state.cells)
    measured = sum(cell.ours is not None for cell in state.cells)
    return {
        "cells": len(state.cells),
        "measured": measured,
        "agree": verdicts[Verdict.AGREES],
        "near": verdicts[Verdict.NEAR],
        "disagree": verdicts[Verdict.DISAGREES],
        "missing": len(state.cells) - measured,
        "not in the catalogue": verdicts[Verdict.NOT_IN_THE_CATALOGUE],
    }


def _cell_row(cell: Cell) -> dict[str, str]:
    digits = cell.column.digits
    return {
        "row": cell.row,
        "figure": cell.column.heading,
        "in the paper": cell.printed or "not printed",
        "ours": _ours(cell),
        "difference": _NOTHING if cell.difference is None else f"{cell.difference:+z.{digits}f}",
        "tolerance": _NOTHING if cell.tolerance is None else f"{cell.tolerance:.3g}",
        "verdict": cell.verdict,
    }


def _ours(cell: Cell) -> str:
    if cell.ours is None:
        return _NOTHING
    if isinstance(cell.ours, str):
        return cell.ours
    seeds = f" (mean of {cell.runs})" if cell.runs > 1 else ""
    return f"{cell.ours:.{cell.column.digits}f}{seeds}"


def _ratio_rows(state: State) -> list[dict[str, str]]:
    return [
        {
            "time over time": ratio.pair,
            "device": f"{ratio.device}, batch {ratio.batch}",
            "in the paper": f"{ratio.printed:.2f}",
            "ours": f"{ratio.ours:.2f}",
            "quartiles": ratio.quartiles,
            "verdict": ratio.verdict,
        }
        for ratio in state.ratios
    ]


def _command_rows(state: State) -> list[dict[str, str]]:
    """Return what measures the cells, and how far it has: the cheap ones first."""
    cells: dict[str, list[Cell]] = {}
    for cell in sorted(state.cells, key=lambda cell: cell.column.kind, reverse=True):
        if cell.command:
            cells.setdefault(cell.command, []).append(cell)
    return [
        {"command": command, "cells": str(len(own)), "measured": str(sum(cell.ours is not None for cell in own))}
        for command, own in cells.items()
    ]


def _notes(state: State) -> str:
    table = TABLES[state.number]
    notes = [f"{heading}: {conditions}." for heading, conditions in state.conditions.items()]
    quoted = any(map(is_quoted, read_table(state.number)))
    own = "within twice the tolerance" + (
        f", for a row that the paper quotes from elsewhere within {QUOTED_TOLERANCE:.0%}" if quoted else ""
    )
    if {cell.verdict for cell in state.cells} & {*JUDGED}:
        notes.append(f"Near: {own}; of accuracy also whatever is better than printed.")
    if table.timed:
        notes.append(
            "Times depend on the machine and get no verdict; where the paper's ratio of two is "
            f"{CLEARLY_OVER_1} or more, ours must be over 1, and is near within 5% below."
        )
    if any((cell.command or "").startswith("python tools/train.py") for cell in state.cells):
        notes.append(
            "A training line is for one process at the recipe's batch. On 8 GPUs: torchrun --nproc_per_node=8 in place "
            "of python, and no --batch-size."
        )
    notes += [f"{row}, {column}: {text}." for (row, column), text in table.footnotes.items()]
    return "\n".join(filter(None, (*notes, table.note)))
