"""A table of deployed formats as text, Markdown and a picture: figure against time."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmark.experiments.drawing import COLOURS, new_figure, write_figure
from benchmark.files.atomic import write_atomically
from benchmark.records.deploy import DeployTable, TimedRow
from benchmark.records.figures import FIGURES

MARKDOWN, PICTURE = "deploy.md", "deploy"
_UNKNOWN = "-"


def write_reports(table: DeployTable, folder: Path) -> str:
    """Write Markdown and picture beside the files, and return the text for the terminal."""
    markdown = f"{render(table, 'github')}\n"
    write_atomically(folder / MARKDOWN, lambda path: path.write_text(markdown))
    drawn = " ".join(map(str, draw(table, folder / PICTURE)))
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


def draw(table: DeployTable, stem: Path) -> list[Path]:
    """Draw time with one thread and figure, a line a file, as SVG and PNG; return the files, none without points.

    Files of one model have nearly one figure, so that points of one over the other would lie upon one another.
    """
    points = [(row, row.ms, row.value) for row in table.rows if row.value is not None and row.ms is not None]
    if not points:
        return []
    figure, (left, right) = new_figure(1, 2, width=8, height=1.2 + 0.28 * len(points))
    for place, (row, ms, value) in enumerate(points):
        look: dict[str, Any] = {"color": COLOURS[1 if row.precision == "int8" else 0]}
        for axes, x, interval in ((left, ms, row.ms_interval), (right, value, row.interval)):
            axes.plot(interval or (x, x), [place, place], alpha=0.4, linewidth=2, **look)
            axes.plot(x, place, "o", markersize=5, **look)
            axes.annotate(f"{x:.1f}", (x, place), fontsize=7, xytext=(0, 5), textcoords="offset points", ha="center")
    heading = FIGURES[points[0][0].figure]
    left.set_yticks(range(len(points)), [f"{row.format} {row.precision}" for row, *_ in points], fontsize=8)
    right.set_yticks([])
    left.set(xlabel="ms a picture, 1 thread", xlim=(0, None))
    right.set_xlabel(f"{heading.group} {heading.heading} (%)".strip())
    for axes in (left, right):
        axes.set_ylim(len(points) - 0.5, -0.7)  # the first on top
    figure.suptitle(f"{table.config}: {table.machine}", fontsize=9)
    return write_figure(figure, stem)
