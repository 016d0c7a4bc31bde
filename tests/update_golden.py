"""Recorded output, and how to rewrite it after a change that is meant: ``python tests/update_golden.py leaderboard``.

Read the diff before it is committed.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmark.leaderboard import find_runs, make_report, render

LEADERBOARD = Path(__file__).parent / "golden" / "leaderboard"
# File -> format, and whether the paper's figures stand in it.
LEADERBOARDS = {
    "plain.md": ("markdown", False),
    "paper.md": ("markdown", True),
    "table.tex": ("latex", True),
    "table.csv": ("csv", True),
    "table.json": ("json", True),
    "page.html": ("html", True),
}


def leaderboard(name: str) -> str:
    """Return what a recorded leaderboard should be; of the page only what stands between its header and its script."""
    format, paper = LEADERBOARDS[name]
    before = Path.cwd()
    os.chdir(LEADERBOARD)  # the output names the folders as they were given
    try:
        text = render(make_report(find_runs([Path("runs")]), paper=paper), format)
    finally:
        os.chdir(before)
    return text[text.index("<header>") : text.index("<script>")] if format == "html" else text


def _update_leaderboards() -> None:
    for name in LEADERBOARDS:
        (LEADERBOARD / name).write_text(leaderboard(name), encoding="utf-8")


_UPDATES: dict[str, Callable[[], None]] = {"leaderboard": _update_leaderboards}

if __name__ == "__main__":
    for asked in sys.argv[1:] or _UPDATES:
        _UPDATES[asked]()
