"""Recorded output, and how to rewrite it after a change that is meant: ``make golden`` and ``make tables``.

``python dev/golden.py leaderboard`` rewrites one alone. Read the diff before it is committed.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from benchmark.measuring.golden import Counts, count_everything, differences, model_rows
from benchmark.records.models import RECORD, model_notes, model_table, read_models, source_table
from benchmark.reporting.leaderboard import find_runs, make_report, render
from benchmark.reporting.markers import replace_between_markers
from benchmark.reporting.paper.counts import compare_complexity, complexity_rows
from benchmark.reporting.paper.tables import TABLES, read_table

DOCS = Path(__file__).parents[1] / "docs"
LEADERBOARD = Path(__file__).parents[1] / "tests" / "golden" / "leaderboard"
# File -> format, and whether the paper's figures are in it.
LEADERBOARDS = {
    "plain.md": ("markdown", False),
    "paper.md": ("markdown", True),
    "table.tex": ("latex", True),
    "table.csv": ("csv", True),
    "table.json": ("json", True),
    "page.html": ("html", True),
}


def leaderboard(name: str) -> str:
    """Return what a recorded leaderboard should be; of the page only what stands between its header and its scripts."""
    format, paper = LEADERBOARDS[name]
    before = Path.cwd()
    os.chdir(LEADERBOARD)  # the output names the folders as they were given
    try:
        text = render(make_report(find_runs([Path("runs")]), paper=paper), format)
    finally:
        os.chdir(before)
    return text[text.index("<header>") : text.rindex('<script type="application/json"')] if format == "html" else text


def _update_leaderboards() -> None:
    for name in LEADERBOARDS:
        (LEADERBOARD / name).write_text(leaderboard(name), encoding="utf-8")


def recorded_counts() -> Counts:
    """Return the recorded params and multiply-adds."""
    return json.loads(RECORD.read_text())


def _update_complexity() -> None:
    found = count_everything()
    print("\n".join(differences(recorded_counts() if RECORD.exists() else {}, found)) or "no count has changed")
    RECORD.write_text(json.dumps(found, indent=1) + "\n")


def _models() -> str:
    printed = {row["backbone"] for number in TABLES for row in read_table(number)}
    return tabulate(model_rows(recorded_counts(), printed), "keys", "github", disable_numparse=True)


def _zoo() -> str:
    models = read_models()
    return "\n\n".join(
        (
            tabulate(model_table(models), "keys", "github", disable_numparse=True),
            "\n".join(f"- {note}" for note in model_notes(models)),
            tabulate(source_table(models), "keys", "github", disable_numparse=True),
        )
    )


def _table_6() -> str:
    return tabulate(complexity_rows(compare_complexity(6)), "keys", "github")


# The documents' generated parts, by the name of their markers: where, and what makes them.
BLOCKS: dict[str, tuple[Path, Callable[[], str]]] = {
    "models": (DOCS / "models.md", _models),
    "table6": (DOCS / "paper.md", _table_6),
    "zoo": (DOCS / "zoo.md", _zoo),
}


def _update_tables() -> None:
    for name, (path, make) in BLOCKS.items():
        replace_between_markers(path, make(), name)


_UPDATES: dict[str, Callable[[], None]] = {
    "leaderboard": _update_leaderboards,
    "complexity": _update_complexity,
    "tables": _update_tables,
}

if __name__ == "__main__":
    for asked in sys.argv[1:] or _UPDATES:
        _UPDATES[asked]()
