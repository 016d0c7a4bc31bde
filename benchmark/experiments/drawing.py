"""What the experiments' figures share: size, colours, and the lines that say what was measured and how sure it is."""

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.experiments.artefact import Artefact, Series
from benchmark.files.atomic import write_atomically

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "")
_FORMATS: dict[str, dict[str, Any]] = {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 130}}
_CAPTION_WIDTH = 14.5  # letters an inch at the caption's size
_LINE = 0.16  # in, height of a line of the caption
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "rexnet-benchmark",  # the same figure is the same file
}


def new_figure(rows: int, columns: int, *, width: float = 11, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, row by row; ``width`` in inches, ``height`` in inches of a row."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def draw_series(axes: Axes, curves: Sequence[Series], **style: Any) -> None:
    """Draw curves with their intervals as bands."""
    for number, curve in enumerate(curves):
        points = [point for point in zip(curve.x, curve.y, curve.low, curve.high, strict=True) if point[1] is not None]
        x, y, low, high = zip(*points, strict=True)
        colour, marker = COLOURS[number % len(COLOURS)], _MARKERS[number % len(_MARKERS)]
        axes.plot(x, y, label=curve.name, color=colour, marker=marker, markersize=3.5, linewidth=1.2, **style)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def caption_of(made: Artefact) -> str:
    """Return what a figure says on its face: what was measured, how often, how sure, when, on what machine."""
    commit = (made.provenance.git_commit or "no commit")[:10]
    return (
        f"{made.measured} Seeds {', '.join(map(str, made.seeds))}; {made.machine}, load {made.load[0]:g} to "
        f"{made.load[1]:g}; {made.provenance.date[:10]}, {commit}."
    )


def save_figure(draw: Callable[[Artefact], Figure], made: Artefact, stem: Path) -> None:
    """Draw an artefact, put title and caption around it, and write it as SVG and PNG."""
    with matplotlib.rc_context(_STYLE):
        _save(draw(made), made, stem)


def _save(figure: Figure, made: Artefact, stem: Path) -> None:
    width, height = figure.get_size_inches()
    title = textwrap.fill(made.title, int(width * 10))
    caption = textwrap.wrap(caption_of(made), int(width * _CAPTION_WIDTH))
    below, above = (len(caption) + 1) * _LINE, (title.count("\n") + 2) * _LINE
    total = height + below + above
    figure.set_size_inches(width, total)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, below / total, 1, height / total))  # type: ignore[call-arg]
    figure.text(0.01, 1 - 0.5 * _LINE / total, title, va="top", fontsize=11, fontweight="bold")
    figure.text(0.01, 0.3 * _LINE / total, "\n".join(caption), va="bottom", fontsize=7.5, color="#444444")
    write_figure(figure, stem)


def write_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG, and return the files."""
    written = []
    for ending, options in _FORMATS.items():
        written.append(stem.with_suffix(f".{ending}"))
        write_atomically(written[-1], partial(figure.savefig, format=ending, **options))
    return written
