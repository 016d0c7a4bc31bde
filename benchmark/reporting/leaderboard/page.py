"""Leaderboards as one HTML page, which asks for nothing but itself."""

import os
from pathlib import Path
from urllib.parse import quote

from benchmark.files.run_folder import CONFIG, PICTURES, SHEET
from benchmark.records.figures import COSTS
from benchmark.records.runs import Run
from benchmark.reporting import offline
from benchmark.reporting.leaderboard import text
from benchmark.reporting.leaderboard.columns import Column
from benchmark.reporting.leaderboard.plots import plots
from benchmark.reporting.leaderboard.tables import Board, Report, Value
from benchmark.tasks import TASKS

_PARTS = Path(__file__).parent
_FIGURES = 6  # columns of accuracy beside one another
_MAIN = {"n", *COSTS}


def page(report: Report, place: Path) -> str:
    """Return the page; links to runs are relative to ``place``, the folder that it will lie in.

    Raises:
        UserError: a package that pages are made with is missing.
    """
    offline.check_installed()
    numbered = {number: board for number, (_, board) in enumerate(_in_order(report))}
    return offline.render(
        _PARTS,
        {
            "report": report,
            "sections": _sections(report),
            "tasks": {board.task: TASKS[board.task].title for board in report.boards},
            "runs": sum(len(row.runs) for board in report.boards for row in board.rows),
            "newest": max((run.result.provenance.date for board in report.boards for run in _runs(board)), default="")[
                :10
            ],
            "links": lambda run: _links(run, place),
            "main": main_columns,
            "others": lambda board: [column for column in board.shown if column not in main_columns(board)],
            "is_value": lambda cell: isinstance(cell, Value),
            "text": text,
        },
        data={"charts": {f"board{number}": plots(board) for number, board in numbered.items()}},
        scripts=("page.js",),
    )


def main_columns(board: Board) -> list[Column]:
    """Return the columns that a screen has room for: what a row is, its figures and what it costs.

    The others unfold with the row.
    """
    shown = board.shown
    figures = [column for column in shown if column.kind == "accuracy"][:_FIGURES]
    costs = [column for column in shown if column.key in _MAIN or column.key.startswith("latency")]
    chosen = [shown[0], *figures, *costs]
    return [column for column in shown if column in chosen]


def _sections(report: Report) -> list[tuple[str, list[Board]]]:
    """Return headings and their leaderboards: generated data come last, under a heading of their own."""
    return [
        (heading, boards)
        for heading, demo in (("", False), ("Generated data, not comparable to real ones", True))
        if (boards := [board for board in report.boards if board.demo == demo])
    ]


def _in_order(report: Report) -> list[tuple[str, Board]]:
    return [(heading, board) for heading, boards in _sections(report) for board in boards]


def _runs(board: Board) -> list[Run]:
    return [run for row in board.rows for run in row.runs]


def _links(run: Run, place: Path) -> list[tuple[str, str]]:
    """Return text and address of what lies in a run's folder."""
    pictures = run.folder / PICTURES
    found = (
        ("config", run.folder / CONFIG),
        ("pictures", pictures / SHEET if (pictures / SHEET).is_file() else pictures),
    )
    return [(name, quote(os.path.relpath(path, place).replace(os.sep, "/"))) for name, path in found if path.exists()]
