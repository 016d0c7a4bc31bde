"""The charts of a leaderboard: accuracy against multiply-adds, params and every latency measured."""

from collections.abc import Sequence
from typing import Any

from benchmark.records.figures import COSTS, FIGURES
from benchmark.reporting.leaderboard import text
from benchmark.reporting.leaderboard.columns import Column
from benchmark.reporting.leaderboard.tables import Board, Row, Value
from benchmark.reporting.offline.charts import Point, colours, finished, scatter

MEASURED, PARTIAL, PAPER = "measured here", "partial data, not on the frontier", "the paper's"
_KINDS = {MEASURED: "accent", PARTIAL: "muted", PAPER: "printed"}


def plots(board: Board) -> dict[str, dict[str, Any]]:
    """Return a Vega-Lite specification by the heading of each cost, in the colours of the page."""
    costs = [column for column in board.columns if column.key in COSTS or column.key.startswith("latency")]
    costs.sort(key=lambda column: (column.key != "macs", column.key != "params"))
    return {column.heading: plot for column in costs if (plot := _plot(board, column))}


def _plot(board: Board, column: Column) -> dict[str, Any] | None:
    ranking = board.ranking_column
    runs = [point for row in board.rows if (point := _run_point(board, row, column, ranking))]
    if not runs:
        return None
    points = [*_paper_points(board, column, ranking), *runs]  # ours on top
    present = {point.kind for point in points}
    kinds = {kind: name for kind, name in _KINDS.items() if kind in present}
    unit = " (%)" if FIGURES[ranking.key].unit == "%" else ""
    colour = colours(page=True)
    titles = (column.heading, f"{ranking.heading}{unit}")
    return finished(scatter(points, kinds, colour=colour, titles=titles, best=ranking.best, diamonds=[PAPER]), colour)


def _run_point(board: Board, row: Row, column: Column, ranking: Column) -> Point | None:
    cost, accuracy = row.cells.get(column.key), row.cells.get(ranking.key)
    if not isinstance(cost, Value) or not isinstance(accuracy, Value):
        return None
    low, high = (None if end is None else end / ranking.scale for end in _whisker(accuracy))
    keys = dict.fromkeys((board.ranking, *COSTS, column.key, "seed"))
    columns = [other for other in board.columns if other.key in keys]
    tips = {
        **{other.heading: text.format_cell(other, row.cells.get(other.key)) for other in columns},
        **({"notes": ", ".join(row.marks)} if row.marks else {}),
        "folder": ", ".join(str(run.folder) for run in row.runs),
    }
    return Point(
        row.runs[0].result.backbone,
        cost.mean / column.scale,
        accuracy.mean / ranking.scale,
        low,
        high,
        kind=PARTIAL if row.partial else MEASURED,
        counts=not row.partial,
        tips=tips,
    )


def _paper_points(board: Board, column: Column, ranking: Column) -> Sequence[Point]:
    return [
        Point(
            point.label,
            point.costs[column.key] / column.scale,
            point.accuracy / ranking.scale,
            kind=PAPER,
            counts=False,
            tips={
                ranking.heading: f"{ranking.format(point.accuracy)}, in the paper",
                column.heading: column.format(point.costs[column.key]),
            },
        )
        for point in board.paper_points
        if column.key in point.costs
    ]


def _whisker(value: Value) -> tuple[float | None, float | None]:
    if value.std is not None:
        return value.mean - value.std, value.mean + value.std
    return value.interval or (None, None)
