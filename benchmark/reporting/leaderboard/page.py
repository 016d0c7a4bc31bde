"""Leaderboards as one HTML page: styles and script stand in it, and its policy forbids every request."""

import base64
import hashlib
import os
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.files.run_folder import CONFIG, PICTURES, SHEET
from benchmark.records.figures import COSTS
from benchmark.records.runs import Run
from benchmark.reporting.leaderboard import plots, text
from benchmark.reporting.leaderboard.columns import Column
from benchmark.reporting.leaderboard.tables import Board, Report, Value
from benchmark.tasks import TASKS

_PARTS = Path(__file__).parent


def page(report: Report, place: Path) -> str:
    """Return the page; links to runs are relative to ``place``, the folder that it will lie in."""
    # Everything that is not Markup is escaped, and a name that the template misspells is an error.
    environment = Environment(
        loader=FileSystemLoader(_PARTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (Markup((_PARTS / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        report=report,
        sections=_sections(report),
        tasks={board.task: TASKS[board.task].title for board in report.boards},
        runs=sum(len(row.runs) for board in report.boards for row in board.rows),
        newest=max((run.result.provenance.date for board in report.boards for run in _runs(board)), default="")[:10],
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:",
        links=lambda run: _links(run, place),
        is_value=lambda cell: isinstance(cell, Value),
        tip=_tip,
        plots=plots,
        text=text,
    )


def _sections(report: Report) -> list[tuple[str, list[Board]]]:
    """Return headings and their leaderboards: generated data come last, under a heading of their own."""
    return [
        (heading, boards)
        for heading, demo in (("", False), ("Generated data, not comparable to real ones", True))
        if (boards := [board for board in report.boards if board.demo == demo])
    ]


def _runs(board: Board) -> list[Run]:
    return [run for row in board.rows for run in row.runs]


def _hash(source: str) -> str:
    """Return the source expression of a Content-Security-Policy that lets one inline text through."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _links(run: Run, place: Path) -> list[tuple[str, str]]:
    """Return text and address of what lies in a run's folder."""
    pictures = run.folder / PICTURES
    found = (
        ("config", run.folder / CONFIG),
        ("pictures", pictures / SHEET if (pictures / SHEET).is_file() else pictures),
    )
    return [(name, quote(os.path.relpath(path, place).replace(os.sep, "/"))) for name, path in found if path.exists()]


def _tip(board: Board, point: plots.Point, column: Column) -> str:
    """Return what hovering a mark shows, line by line."""
    ranking = board.ranking_column
    if point.row is None:
        lines = [
            f"{point.label}, in the paper",
            f"{ranking.heading}: {point.accuracy:.{ranking.digits}f}",
            f"{column.heading}: {point.cost:.{column.digits}f}",
        ]
        return "\n".join(lines)
    row = board.rows[point.row]
    keys = dict.fromkeys((board.ranking, *COSTS, column.key, "seed"))
    columns = [other for other in board.columns if other.key in keys]
    lines = [f"{other.heading}: {text.format_cell(other, row.cells.get(other.key))}" for other in columns]
    return "\n".join((point.label, *lines, *row.marks, *(str(run.folder) for run in row.runs)))
