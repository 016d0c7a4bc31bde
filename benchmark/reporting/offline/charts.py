"""What the pages' charts have in common: marks with intervals and names over a cost, the frontier, the colours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

_STYLE = Path(__file__).with_name("shared.css")
_COLOURS = ("paper-ground", "raised", "ink", "muted", "rule", "accent", "tint", "printed", "warning")
_HEIGHT = 360  # px
_LETTER, _LINE = 0.0085, 0.055  # width of a letter and height of a line, as shares of a chart
_ALL_LABELLED = 15  # points; of more, those on the frontier
# Where a label may stand: which end of it is at the point, and how far off, in pixels.
_SIDES = (("left", 9, 0), ("right", -9, 0), ("left", 7, -11), ("left", 7, 13), ("right", -7, -11), ("right", -7, 13))
Box = tuple[float, float, float, float]  # left, right, bottom, top


@dataclass(frozen=True)
class Point:
    """A mark.

    Attributes:
        name: label, and title of what hovering shows.
        cost: lower is better.
        figure: what is held against the cost.
        low: lower end of its interval or spread, None where there is none.
        high: upper end, likewise.
        kind: what the legend tells apart.
        counts: whether the frontier counts it.
        tips: what hovering shows, by heading.
    """

    name: str
    cost: float
    figure: float
    low: float | None = None
    high: float | None = None
    kind: str = ""
    counts: bool = True
    tips: Mapping[str, str] = field(default_factory=dict, hash=False)


def frontier(points: Sequence[Point], best: Literal["low", "high"] = "high") -> list[Point]:
    """Return the points that count and that no other beats in the figure at the same or a lower cost, cheapest first.

    Args:
        points: of one chart.
        best: which end of the figure is the better one.
    """
    sign = 1 if best == "high" else -1
    unbeaten: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -sign * point.figure)):
        if point.counts and (not unbeaten or sign * point.figure > sign * unbeaten[-1].figure):
            unbeaten.append(point)
    return unbeaten


def colours(*, page: bool) -> dict[str, str]:
    """Return the colours of charts by name: those of a page, which follow light and dark, or of a printed figure."""
    if page:
        return {name: f"var(--{name})" for name in _COLOURS}
    style = _STYLE.read_text(encoding="utf-8")
    return {name: found[1] for name in _COLOURS if (found := re.search(rf"--{name}: light-dark\((#\w+),", style))}


def scatter(
    points: Sequence[Point],
    kinds: Mapping[str, str],
    *,
    colour: Mapping[str, str],
    titles: tuple[str, str],
    best: Literal["low", "high"] = "high",
    kind: str = "datum.kind",
    diamonds: Sequence[str] = (),
) -> Any:
    """Return Altair's layered chart of figures against a cost.

    Args:
        points: at least one.
        kinds: colour of ``colour`` by kind, in the order of the legend.
        colour: of ``colours``.
        titles: of the cost and of the figure.
        best: which end of the figure is the better one.
        kind: Vega expression of a mark's kind.
        diamonds: kinds drawn as diamonds.
    """
    import altair as alt

    x = alt.X("cost:Q", title=titles[0], scale=alt.Scale(zero=False, nice=True, padding=30))
    y = alt.Y("figure:Q", title=titles[1], scale=alt.Scale(zero=False, nice=True, padding=16))
    hue = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=[*kinds], range=[colour[name] for name in kinds.values()]),
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1, labelLimit=0),
    )
    shape = alt.Shape(
        "kind:N",
        scale=alt.Scale(domain=[*kinds], range=["diamond" if one in diamonds else "circle" for one in kinds]),
        legend=alt.Legend(title=None, orient="top", labelLimit=0),
    )
    unbeaten = frontier(points, best)
    records = _records(points, unbeaten)
    base = alt.Chart(alt.InlineData(values=records)).transform_calculate(kind=kind)
    marks = base.mark_point(size=90, filled=True, opacity=1, stroke=colour["paper-ground"], strokeWidth=1)
    labels = base.transform_filter("datum.shown").mark_text(
        align=alt.ExprRef("datum.align"), dx=alt.ExprRef("datum.dx"), dy=alt.ExprRef("datum.dy"), color=colour["ink"]
    )
    layers = [labels.encode(x, y, text="name:N")]
    for number, headings in enumerate(_headings(points)):  # hovering says only what a mark has
        tips = [alt.Tooltip(f"{_field(heading)}:N", title=heading) for heading in headings]
        own = marks.transform_filter(f"datum.group === {number}")
        layers.append(own.encode(x, y, hue, shape, tooltip=[alt.Tooltip("name:N", title="title"), *tips]))
    if any(point.low is not None for point in points):
        spread = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.5, opacity=0.6)
        layers.insert(0, spread.encode(x, alt.Y("low:Q", title=titles[1]), alt.Y2("high:Q"), hue))
    if unbeaten:
        line = alt.Chart(alt.InlineData(values=[{"cost": one.cost, "figure": one.figure} for one in unbeaten]))
        layers.insert(0, line.mark_line(color=colour["accent"], opacity=0.45, strokeWidth=1.5).encode(x, y))
    return alt.layer(*layers).properties(height=_HEIGHT)


def finished(chart: Any, colour: Mapping[str, str], width: int | str = "container") -> dict[str, Any]:
    """Return a chart's Vega-Lite specification in these colours and of this width, in pixels."""
    font = {"labelColor": colour["muted"], "titleColor": colour["muted"], "labelFontSize": 12, "titleFontSize": 12}
    axis = {**font, "titleFontWeight": "normal", "gridColor": colour["rule"], "domainColor": colour["rule"]}
    return (
        chart.properties(width=width, autosize={"type": "fit-x", "contains": "padding"})
        .configure(background="transparent" if colour["ink"].startswith("var") else "white")
        .configure_axis(**axis, tickColor=colour["rule"], labelOverlap=True)
        .configure_legend(**font)
        .configure_view(stroke=None)
        .configure_text(fontSize=12)
        .to_dict()
    )


def _headings(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """Return the different lists of what hovering shows."""
    return list(dict.fromkeys(tuple(point.tips) for point in points))


def _field(heading: str) -> str:
    """Return a name for a heading that Vega takes for no path."""
    return "tip_" + re.sub(r"\W", "_", heading)


def _records(points: Sequence[Point], unbeaten: Sequence[Point]) -> list[dict[str, Any]]:
    few = len(points) <= _ALL_LABELLED
    shown = [few or point in unbeaten for point in points]
    headings = _headings(points)
    return [
        {
            **{key: value for key, value in asdict(point).items() if key not in ("tips", "counts")},
            **{_field(heading): told for heading, told in point.tips.items()},
            "group": headings.index(tuple(point.tips)),
            "shown": labelled,
            "align": align,
            "dx": dx,
            "dy": dy,
        }
        for point, labelled, (align, dx, dy) in zip(points, shown, _place_labels(points, shown), strict=True)
    ]


def _place_labels(points: Sequence[Point], shown: Sequence[bool]) -> list[tuple[str, int, int]]:
    """Return where each label hides the least, a row of ``_SIDES``; reckoned in shares of the chart."""
    ends = [end for point in points for end in (point.figure, point.low, point.high) if end is not None]
    across = max(point.cost for point in points) - min(point.cost for point in points) or 1
    along = max(ends) - min(ends) or 1
    places = [(point.cost / across, point.figure / along) for point in points]
    left, right = min(x for x, _ in places) - 0.03, max(x for x, _ in places) + 0.03
    taken = [(x - 0.006, x + 0.006, y - 0.02, y + 0.02) for x, y in places]
    chosen = []
    for point, (x, y), labelled in zip(points, places, shown, strict=True):
        boxes = [_label_box(point.name, x, y, side) for side in _SIDES]
        hidden = [sum(_overlap(box, other) for other in taken) for box in boxes]
        costs = [count + 3 * (box[0] < left or box[1] > right) for count, box in zip(hidden, boxes, strict=True)]
        best = costs.index(min(costs))
        taken += [boxes[best]] if labelled else []
        chosen.append(_SIDES[best])
    return chosen


def _label_box(name: str, x: float, y: float, side: tuple[str, int, int]) -> Box:
    align, _, dy = side
    width, middle = _LETTER * len(name), y - dy / (0.55 * _HEIGHT)
    start = x + 0.009 if align == "left" else x - 0.009 - width
    return start, start + width, middle - _LINE / 2, middle + _LINE / 2


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
