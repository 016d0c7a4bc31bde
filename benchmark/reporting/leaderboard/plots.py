"""Where the marks of a Pareto plot stand: accuracy against a cost, in the pixels of an SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.ticker import MaxNLocator

from benchmark.records.figures import COSTS, FIGURES
from benchmark.reporting.leaderboard.columns import Column
from benchmark.reporting.leaderboard.tables import Board, Row, Value

WIDTH, HEIGHT = 380, 280
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 14, 44  # margins
_LETTER, _CAPITAL = 6.6, 9  # width and height of the labels' letters
_TICKS = 5
Box = tuple[float, float, float, float]  # left, right, top, bottom


@dataclass(frozen=True)
class Point:
    """A run or a row of the paper, in the units of the tables.

    Attributes:
        cost: lower is better.
        accuracy: the figure that ranks.
        low: lower end of the spread or interval, None where there is none.
        high: upper end, likewise.
        label: backbone.
        row: index of the row in its leaderboard, None for the paper's.
        kind: ``run``, ``partial`` or ``paper``.
    """

    cost: float
    accuracy: float
    label: str
    row: int | None
    kind: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mark:
    """A point in its place; ``low`` and ``high`` are the ends of its whisker."""

    point: Point
    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Plot:
    """A plot in pixels.

    Attributes:
        x_ticks: place and text.
        y_ticks: likewise.
        frontier: points of an SVG polyline.
        labels: place and text of the frontier's labels.
    """

    column: Column
    y_title: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    marks: Sequence[Mark]
    frontier: str
    labels: Sequence[tuple[float, float, str]]


def frontier(points: Sequence[Point], best: Literal["low", "high"] = "high") -> list[Point]:
    """Return the points that no other beats in accuracy at the same or a lower cost, cheapest first.

    Args:
        points: of one plot.
        best: which end of the accuracy is the better one.
    """
    sign = 1 if best == "high" else -1
    unbeaten: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -sign * point.accuracy)):
        if not unbeaten or sign * point.accuracy > sign * unbeaten[-1].accuracy:
            unbeaten.append(point)
    return unbeaten


def plots(board: Board) -> list[Plot]:
    """Return a plot of accuracy against multiply-adds, params, and each latency measured."""
    costs = [column for column in board.columns if column.key in COSTS or column.key.startswith("latency")]
    costs.sort(key=lambda column: (column.key != "macs", column.key != "params"))
    return [plot for column in costs if (plot := _plot(board, column))]


def _plot(board: Board, column: Column) -> Plot | None:
    ranking = board.ranking_column
    runs = [point for index, row in enumerate(board.rows) if (point := _run_point(index, row, column, ranking))]
    paper = [
        Point(point.costs[column.key] / column.scale, point.accuracy / ranking.scale, point.label, None, "paper")
        for point in board.paper_points
        if column.key in point.costs
    ]
    if not runs:
        return None
    points = [*paper, *runs]
    x_ticks = _ticks([point.cost for point in points])
    y_ticks = _ticks([y for point in points for y in (point.accuracy, point.low, point.high) if y is not None])

    def x(cost: float) -> float:
        share = (cost - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(accuracy: float) -> float:
        share = (accuracy - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def mark(point: Point) -> Mark:
        low, high = (None if end is None else y(end) for end in (point.low, point.high))
        return Mark(point, x(point.cost), y(point.accuracy), low, high)

    marks = {point: mark(point) for point in points}
    best = [marks[point] for point in frontier([point for point in runs if point.kind == "run"], ranking.best)]
    return Plot(
        column,
        f"{ranking.heading} (%)" if FIGURES[ranking.key].unit == "%" else ranking.heading,
        [(x(tick), f"{tick:g}") for tick in x_ticks],
        [(y(tick), f"{tick:g}") for tick in y_ticks],
        list(marks.values()),
        " ".join(f"{mark.x},{mark.y}" for mark in best),
        _labels(best, list(marks.values())),
    )


def _run_point(index: int, row: Row, column: Column, ranking: Column) -> Point | None:
    cost, accuracy = row.cells.get(column.key), row.cells.get(ranking.key)
    if not isinstance(cost, Value) or not isinstance(accuracy, Value):
        return None
    low, high = (None if end is None else end / ranking.scale for end in _whisker(accuracy))
    kind = "partial" if row.partial else "run"
    mean = accuracy.mean / ranking.scale
    return Point(cost.mean / column.scale, mean, row.runs[0].result.backbone, index, kind, low, high)


def _whisker(value: Value) -> tuple[float | None, float | None]:
    if value.std is not None:
        return value.mean - value.std, value.mean + value.std
    return value.interval or (None, None)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return round numbers; the first and the last enclose the values."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1
    bottom = low - room if low < 0 else max(0.0, low - room)
    return [float(tick) for tick in MaxNLocator(_TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(bottom, high + room)]


def _labels(best: Sequence[Mark], marks: Sequence[Mark]) -> list[tuple[float, float, str]]:
    """Place a label to the upper left or lower right of each mark, the best first; one without room is left out."""
    labels, taken = [], [(mark.x - 3, mark.x + 3, mark.y - 3, mark.y + 3) for mark in marks]
    for mark in reversed(best):
        width = _LETTER * len(mark.point.label)
        for right, y in ((mark.x - 7, mark.y - 7), (mark.x + 7 + width, mark.y + 15)):
            box = (right - width, right, y - _CAPITAL, y)
            if box[0] >= LEFT and right <= WIDTH and all(_are_apart(box, other) for other in taken):
                labels.append((round(right, 1), round(y, 1), mark.point.label))
                taken.append(box)
                break
    return labels


def _are_apart(a: Box, b: Box) -> bool:
    return a[1] < b[0] or b[1] < a[0] or a[3] < b[2] or b[3] < a[2]
