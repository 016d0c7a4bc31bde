"""Leaderboards as Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tabulate import LATEX_ESCAPE_RULES, tabulate

from benchmark.records.runs import Unfinished
from benchmark.reporting.leaderboard.columns import IDENTITY, Column
from benchmark.reporting.leaderboard.tables import Board, Cell, Report, Row, Value

NO_RESULTS = "No results."
UNFINISHED = "Failed or unfinished (a training's folder without a result.json)"
_NOTHING = "-"
_IDENTITY = {column.key for column in IDENTITY}
_CONTEXT = ("task", "data", "split", "demo", "line")
# What of a measured time a leaderboard leaves out: it depends on what was timed together, or follows from the rest.
_OF_THE_SESSION = {"fused", "norms_left", "images_per_second", "ratio", "peak_memory", "joules_per_image"}
# A bracket alone is plain text; one followed by these begins a link.
_UNSAFE_IN_MARKDOWN = re.compile(r"([\\`*<>|&]|\](?=[(\[:]))")


def format_cell(column: Column, cell: Cell) -> str:
    """Return a cell as tables print it: ``25.3 ± 0.2``, ``25.3 [24.8, 25.9]``, and ``(25.3, +0.0)`` of the paper."""
    if cell is None:
        return _NOTHING
    if isinstance(cell, str):
        return cell
    text = column.format(cell.mean)
    if cell.std is not None:
        text += f" ± {column.format(cell.std)}"
    if cell.interval:
        text += f" {format_interval(column, cell.interval)}"
    if cell.paper is not None:
        text += f" {format_paper(column, cell)}"
    return text


def format_interval(column: Column, interval: tuple[float, float]) -> str:
    """Return an interval in brackets."""
    return f"[{column.format(interval[0])}, {column.format(interval[1])}]"


def format_paper(column: Column, value: Value) -> str:
    """Return the paper's figure and ours minus it, in parentheses."""
    assert value.paper is not None and value.difference is not None  # there is something to compare with
    return f"({column.format(value.paper)}, {column.format(value.difference, '+')})"


def describe_unfinished(run: Unfinished) -> str:
    """Return a run's folder and how far it came."""
    return f"{run.folder} ({f'newest checkpoint {run.checkpoint}' if run.checkpoint else 'no checkpoint'})"


def markdown(report: Report) -> str:
    """Return the leaderboards as Markdown tables."""
    parts = []
    for board in report.boards:
        parts.append(f"### {markdown_text(board.title)}")
        parts.append(_table(board, "pipe", markdown_text))
        parts += map(markdown_text, board.notes)
    parts += [NO_RESULTS] if not report.boards else []
    parts += map(markdown_text, report.notes)
    if report.unfinished:
        items = "\n".join(f"- {markdown_text(describe_unfinished(run))}" for run in report.unfinished)
        parts.append(f"{UNFINISHED}:\n\n{items}")
    return "\n\n".join(parts) + "\n"


def latex(report: Report) -> str:
    r"""Return the leaderboards as ``table`` environments; they need ``\usepackage{booktabs}``."""
    parts = []
    for board in report.boards:
        body = _table(board, "latex_booktabs", str)
        caption = _latex_text(" ".join((f"{board.title}.", *board.notes)))
        parts.append(f"\\begin{{table}}\n\\centering\n{body}\n\\caption{{{caption}}}\n\\end{{table}}")
    parts += [NO_RESULTS] if not report.boards else []
    parts += map(_latex_text, report.notes)
    if report.unfinished:
        parts.append(_latex_text(f"{UNFINISHED}: {', '.join(map(describe_unfinished, report.unfinished))}."))
    return "\n\n".join(parts) + "\n"


def csv_table(report: Report) -> str:
    """Return one table of all leaderboards, in the units of result.json: params and multiply-adds as they are counted.

    ``line`` is ``row``, ``member`` (a run of the row above, which is the mean of several) or ``unfinished``; ``demo``
    is 1 for generated data, which are not comparable to real ones.
    """
    lines = [
        {**_identity(board), "demo": int(board.demo), "line": line, **_flat(board, row), "marks": "; ".join(row.marks)}
        for board in report.boards
        for line, row in _with_members(board.rows)
    ]
    lines += [{"line": "unfinished", "folder": str(run.folder)} for run in report.unfinished]
    present = dict.fromkeys(name for line in lines for name in line)
    columns = sorted((column for board in report.boards for column in board.columns), key=_place)
    names = [name for column in columns for name in _names(column) if name in present]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys([*_CONTEXT, *names, "folder", "marks"])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def json_text(report: Report) -> str:
    """Return everything as JSON, in the units of result.json: params and multiply-adds as they are counted."""
    content = {
        "leaderboards": [
            {
                **_identity(board),
                "title": board.title,
                "demo": board.demo,
                "ranking": board.ranking,
                "sorted_by": board.sorted_by,
                "notes": board.notes,
                "rows": [_json_row(board, row) for row in board.rows],
            }
            for board in report.boards
        ],
        "unfinished": [{"folder": str(run.folder), "checkpoint": run.checkpoint} for run in report.unfinished],
        "problems": report.problems,
        "notes": report.notes,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _table(board: Board, style: str, escape: Callable[[str], str]) -> str:
    rows = [
        [*(escape(format_cell(column, row.cells.get(column.key))) for column in board.shown), escape(_notes_of(row))]
        for row in board.rows
    ]
    headings = [*(column.heading for column in board.shown), "notes"]
    sides = ["left" if heading in ("backbone", "notes") else "right" for heading in headings]
    return tabulate(rows, headings, style, disable_numparse=True, colalign=sides)


def _notes_of(row: Row) -> str:
    return ", ".join(row.marks)


def markdown_text(text: str) -> str:
    """Return a text for a line or a cell of Markdown, in which nothing of it is markup."""
    return _UNSAFE_IN_MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _latex_text(text: str) -> str:
    return text.translate({ord(letter): escaped for letter, escaped in LATEX_ESCAPE_RULES.items()})


def _identity(board: Board) -> dict[str, str]:
    return {"task": board.task, "data": board.data, "split": board.split}


def _with_members(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    for row in rows:
        yield "row", row
        for member in row.members:
            yield "member", member


def _place(column: Column) -> int:
    """Return where a column stands in CSV: what a row is, its accuracy, the rest."""
    return 0 if column.key in _IDENTITY else 1 if column.kind == "accuracy" else 2


def _names(column: Column) -> list[str]:
    """Return a column's names in CSV."""
    name = column.field or column.key
    return [name, *(f"{name}_{part}" for part in ("std", "low", "high", "paper", "difference"))]


def _flat(board: Board, row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for column in board.columns:
        name, cell = column.field or column.key, row.cells.get(column.key)
        flat[name] = cell.mean if isinstance(cell, Value) else cell
        if column.kind == "accuracy" and isinstance(cell, Value):
            low, high = cell.interval or (None, None)
            flat |= {f"{name}_std": cell.std, f"{name}_low": low, f"{name}_high": high}
        if isinstance(cell, Value) and cell.paper is not None:
            flat |= {f"{name}_paper": cell.paper, f"{name}_difference": cell.difference}
    return flat


def _json_row(board: Board, row: Row) -> dict[str, Any]:
    """Return a row: texts, costs and accuracies by the key of their column, and what stands behind them."""
    cells = {column.key: (column, row.cells.get(column.key)) for column in board.columns}
    return {
        **{key: _json_cell(column, cell) for key, (column, cell) in cells.items()},
        "paper": {
            key: {"figure": cell.paper, "difference": cell.difference}
            for key, (_, cell) in cells.items()
            if isinstance(cell, Value) and cell.paper is not None
        },
        "marks": row.marks,
        "latencies": [timing.model_dump(exclude=_OF_THE_SESSION) for timing in row.timings],
        "members": [_json_row(board, member) for member in row.members],
        "older": [str(run.folder) for run in row.older],
    }


def _json_cell(column: Column, cell: Cell) -> Any:
    if not isinstance(cell, Value):
        return cell
    if column.kind != "accuracy":
        return cell.mean
    return {"mean": cell.mean, "std": cell.std, "interval": cell.interval}


TEXT_FORMATS: dict[str, Callable[[Report], str]] = {
    "markdown": markdown,
    "csv": csv_table,
    "json": json_text,
    "latex": latex,
}
