"""A table of deployed formats as text, Markdown and a picture: figure against time."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.files.atomic import write_atomically
from benchmark.records.deployed import DeployTable, TimedRow
from benchmark.records.figures import FIGURES

MARKDOWN, PICTURE = "deploy.md", "deploy"
_UNKNOWN = "-"


def write_reports(table: DeployTable, folder: Path) -> str:
    """Write Markdown and picture beside the files, and return the text for the terminal."""
    markdown = f"{render(table, 'github')}\n"
    write_atomically(folder / MARKDOWN, lambda path: path.write_text(markdown))
    drawn = " ".join(str(folder / f"{PICTURE}.{ending}") for ending in draw(table, folder / PICTURE))
    return f"{render(table, 'simple')}\n\n{folder / 'deploy.json'} {folder / MARKDOWN} {drawn}"


def render(table: DeployTable, style: str, leave_out: Collection[str] = ()) -> str:
    """Return a table in a style of tabulate's, without some columns, the notes, and how it was measured."""
    rows = [
        {name: cell for name, cell in _cells(row).items() if name not in leave_out}
        for row in table.rows
        if row.file or row.value is not None or row.ms is not None
    ]
    notes = [f"{row.format} {row.precision}: {row.note}" for row in table.rows if row.note]
    listed = "\n".join(f"- {note}" for note in notes)
    text = tabulate(rows, headers="keys", tablefmt=style, disable_numparse=True)
    return f"{text}\n\n{table.conditions}\n{listed}".rstrip()


def _cells(row: TimedRow) -> dict[str, str]:
    figure = FIGURES[row.figure]
    heading = f"{figure.group} {figure.heading}".strip()
    return {
        "format": row.format,
        "precision": row.precision,
        "file": row.file or _UNKNOWN,
        "MB": _number(row.mb),
        heading: _number(row.value),
        f"change of {heading}": _spread(row.delta, row.delta_interval, sign="+", to=" to "),
        "ms, 1 thread": _spread(row.ms, row.ms_interval),
        "CPU ms": _number(row.cpu_ms),
        "ms, all": _spread(row.all_ms, row.all_ms_interval),
        "CPU ms, all": _number(row.all_cpu_ms),
        "peak MB": _number(row.peak_mb, 0),
        "verified": row.verified,
    }


def _number(value: float | None, digits: int = 1, sign: str = "") -> str:
    return _UNKNOWN if value is None else f"{value:{sign}z.{digits}f}"


def _spread(value: float | None, ends: Sequence[float] | None, *, sign: str = "", to: str = "-") -> str:
    if value is None or ends is None:
        return _number(value, sign=sign)
    low, high = (_number(end, sign=sign) for end in ends)
    return f"{_number(value, sign=sign)} ({low}{to}{high})"


def draw(table: DeployTable, stem: Path) -> list[str]:
    """Draw the figure against the time with one thread as SVG and PNG; return the endings, none without points."""
    points = [(row, row.ms, row.value) for row in table.rows if row.value is not None and row.ms is not None]
    if not points:
        return []
    figure, (axes,) = new_figure(1, 1, width=7, height=4.2)
    for row, ms, value in points:
        colour, marker = (COLOURS[1], "s") if row.precision == "int8" else (COLOURS[0], "o")
        axes.plot([ms, ms], row.interval or (value, value), color=colour, alpha=0.3, linewidth=1)
        axes.plot(ms, value, marker, color=colour, markersize=5)
        axes.annotate(
            f"{row.format} {row.precision}", (ms, value), fontsize=7, xytext=(4, 4), textcoords="offset points"
        )
    heading = FIGURES[points[0][0].figure]
    axes.set(xlabel="ms a picture, 1 thread", ylabel=f"{heading.group} {heading.heading} (%)".strip(), xlim=(0, None))
    axes.set_title(f"{table.config}: {table.machine}", fontsize=9)
    options: dict[str, dict[str, Any]] = {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 130}}
    for ending, given in options.items():
        write_atomically(stem.with_suffix(f".{ending}"), partial(figure.savefig, format=ending, **given))
    return list(options)
