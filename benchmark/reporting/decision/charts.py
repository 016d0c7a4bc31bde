"""The page's charts in Vega-Lite by Altair: the figure against the time, and every difference to the best."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.reporting.decision.choice import meets
from benchmark.reporting.offline import colours

if TYPE_CHECKING:
    from benchmark.reporting.decision.decision import Decision

_ALL_LABELLED = 15  # points; of more, those on the frontier
_LETTER, _LINE = 0.0085, 0.055  # width of a letter and height of a line, as shares of a chart
_ROW = 24  # px
Box = tuple[float, float, float, float]  # left, right, bottom, top
TAKEN, MEETS, MEETS_NOT, OTHER = "taken", "meets what is asked for", "does not", "other formats"


def frontier_chart(decision: "Decision", *, page: bool, width: int | str = "container") -> dict[str, Any]:
    """Return the chart of the figure against the time or, where no time is known, the multiply-adds.

    Args:
        decision: to draw.
        page: in the colours of the page, which follow light and dark.
        width: in pixels.

    Returns:
        A Vega-Lite specification. Its parameters ``taken`` (a name), ``able`` (names), ``max_ms`` and ``min_figure``
        are set by the page.
    """
    import altair as alt

    colour, timed = colours(page=page), any(one.timed for one in decision.candidates)
    points = _points(decision, timed)
    heading = f"{decision.figure.heading} (%)"
    cost = "time of an image on this machine (ms)" if timed else "multiply-adds (billions); no time was measured"
    able = [one.name for one in decision.candidates if meets(one.option, decision.constraints)]
    names = [one.name for one in decision.candidates]
    taken = names[decision.answer.taken] if decision.answer else ""
    limits = {"max_ms": decision.constraints.max_ms if timed else None, "min_figure": decision.constraints.min_figure}
    x = alt.X("cost:Q", title=cost, scale=alt.Scale(zero=False, nice=True, padding=30))
    y = alt.Y("figure:Q", title=heading, scale=alt.Scale(zero=False, nice=True, padding=16))
    ranges = {TAKEN: colour["printed"], MEETS: colour["accent"], MEETS_NOT: colour["muted"], OTHER: colour["ink"]}
    shown = [role for role in ranges if role != OTHER or decision.deployed]
    role = f"datum.format ? '{OTHER}' : datum.name === taken ? '{TAKEN}' : "
    role += f"indexof(able, datum.name) >= 0 ? '{MEETS}' : '{MEETS_NOT}'"
    base = alt.Chart(alt.InlineData(values=points)).transform_calculate(role=role)
    hue = alt.Color(
        "role:N",
        scale=alt.Scale(domain=shown, range=[ranges[one] for one in shown]),
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1),
    )
    tips = [
        alt.Tooltip("label:N", title="backbone"),
        alt.Tooltip("said:N", title=decision.figure.heading),
        alt.Tooltip("time:N", title="time" if timed else "multiply-adds"),
        alt.Tooltip("params:N", title="params"),
    ]
    line = alt.Chart(alt.InlineData(values=_frontier(points))).mark_line(
        color=colour["accent"], opacity=0.45, strokeWidth=1.5
    )
    layers = [
        line.encode(x, y),
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(x, alt.Y("low:Q", title=heading), alt.Y2("high:Q"), hue),
        base.mark_point(size=90, filled=True, opacity=1, stroke=colour["paper-ground"], strokeWidth=1).encode(
            x, y, hue, tooltip=tips, shape=alt.condition("datum.format", alt.value("diamond"), alt.value("circle"))
        ),
        base.transform_filter("datum.shown")
        .mark_text(
            align=alt.ExprRef("datum.align"),
            dx=alt.ExprRef("datum.dx"),
            dy=alt.ExprRef("datum.dy"),
            color=colour["ink"],
        )
        .encode(x, y, text="label:N"),
        _limit(alt, "max_ms", points[0]["cost"], colour).encode(x=alt.X("limit:Q")),
        _limit(alt, "min_figure", points[0]["figure"], colour).encode(y=alt.Y("limit:Q")),
    ]
    given = {"taken": taken, "able": able, **limits}
    chart = alt.layer(*layers).add_params(*(alt.param(name=name, value=value) for name, value in given.items()))
    return _finished(chart.properties(width=width, height=400), colour)


def difference_chart(decision: "Decision", *, page: bool, width: int | str = "container") -> dict[str, Any]:
    """Return the chart of every backbone's difference to the highest, with its interval."""
    import altair as alt

    colour = colours(page=page)
    rows = [
        {
            "name": one.name,
            "value": pair.value,
            "low": pair.low,
            "high": pair.high,
            "told": "told apart" if pair.told else "not told apart",
            "said": f"{pair.value:+.1f} ({pair.low:+.1f} to {pair.high:+.1f})",
        }
        for one, pair in ((one, decision.pairs[place][0]) for place, one in enumerate(decision.candidates))
        if pair
    ]
    title = f"{decision.figure.heading} minus that of {decision.candidates[0].name}"
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=300, ticks=False, domain=False))
    hue = alt.Color(
        "told:N",
        scale=alt.Scale(domain=["told apart", "not told apart"], range=[colour["accent"], colour["printed"]]),
        legend=alt.Legend(title=None, orient="top"),
    )
    base = alt.Chart(alt.InlineData(values=rows))
    tips = [alt.Tooltip("name:N", title="backbone"), alt.Tooltip("said:N", title="difference")]
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=colour["muted"]).encode(x="zero:Q")
    layers = [
        zero,
        base.mark_rule(strokeWidth=2).encode(alt.X("low:Q", title=title), alt.X2("high:Q"), y, hue, tooltip=tips),
        base.mark_point(size=70, filled=True, opacity=1).encode(alt.X("value:Q", title=title), y, hue, tooltip=tips),
    ]
    return _finished(alt.layer(*layers).properties(width=width, height=_ROW * len(rows)), colour)


def _limit(alt: Any, name: str, start: float, colour: Mapping[str, str]) -> Any:
    """Return the line of a limit, unseen at ``start`` while none is asked for."""
    asked = f"isValid({name})"
    chart = alt.Chart(alt.InlineData(values=[{}])).transform_calculate(limit=f"{asked} ? {name} : {start}")
    return chart.mark_rule(strokeDash=[5, 4], color=colour["printed"], opacity=alt.ExprRef(f"{asked} ? 1 : 0"))


def _finished(chart: Any, colour: Mapping[str, str]) -> dict[str, Any]:
    font = {"labelColor": colour["muted"], "titleColor": colour["muted"], "labelFontSize": 12, "titleFontSize": 12}
    axis = {**font, "titleFontWeight": "normal", "gridColor": colour["rule"], "domainColor": colour["rule"]}
    return (
        chart.properties(autosize={"type": "fit-x", "contains": "padding"})
        .configure(background="transparent" if colour["ink"].startswith("var") else "white")
        .configure_axis(**axis, tickColor=colour["rule"], labelOverlap=True)
        .configure_legend(**font)
        .configure_view(stroke=None)
        .configure_text(fontSize=12)
        .to_dict()
    )


def _points(decision: "Decision", timed: bool) -> list[dict[str, Any]]:
    """Return a record per mark, with where its label goes."""
    points = []
    for one in decision.candidates:
        cost = one.option.ms if timed else one.result.cost.macs / 1e9
        if cost is not None:
            points.append(
                {
                    "name": one.name,
                    "label": one.name,
                    "cost": cost,
                    "figure": one.found.value,
                    "low": one.found.low,
                    "high": one.found.high,
                    "said": f"{one.found.value:.1f} (95% interval {one.found.low:.1f} to {one.found.high:.1f})",
                    "time": f"{cost:.2f} ms" if timed else f"{cost:.2f} B",
                    "params": f"{one.result.cost.params / 1e6:.2f} M",
                    "format": "",
                }
            )
    for other in decision.deployed if timed else ():
        row = other.row
        if row.ms is not None and row.value is not None and row.figure == decision.figure.key:
            name = f"{other.backbone}, {row.format} {row.precision}"
            low, high = row.interval or (row.value, row.value)
            said = f"95% interval {low:.1f} to {high:.1f}" if row.interval else "no interval"
            size = "" if row.mb is None else f"file of {row.mb:.1f} MB"
            points.append(
                {
                    "name": name,
                    "label": name,
                    "cost": row.ms,
                    "figure": row.value,
                    "low": low,
                    "high": high,
                    "said": f"{row.value:.1f} ({said})",
                    "time": f"{row.ms:.2f} ms",
                    "params": size,
                    "format": row.format,
                }
            )
    best = {point["name"] for point in _frontier(points)}
    few = len(points) <= _ALL_LABELLED
    for point in points:
        point["shown"] = few or point["name"] in best
    _place_labels(points)
    return points


def _frontier(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the backbones that no other beats at the same or a lower cost, cheapest first."""
    unbeaten: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda point: (point["cost"], -point["figure"])):
        if not point["format"] and (not unbeaten or point["figure"] > unbeaten[-1]["figure"]):
            unbeaten.append(point)
    return unbeaten


def _place_labels(points: Sequence[dict[str, Any]]) -> None:
    """Put each label where it hides the least: right, left, above or below its point, in shares of the chart."""
    if not points:
        return
    across = max(point["cost"] for point in points) - min(point["cost"] for point in points) or 1
    along = max(point["high"] for point in points) - min(point["low"] for point in points) or 1
    places = [(point["cost"] / across, point["figure"] / along) for point in points]
    left_end, right_end = min(x for x, _ in places) - 0.03, max(x for x, _ in places) + 0.03
    taken = [(x - 0.006, x + 0.006, y - 0.02, y + 0.02) for x, y in places]
    sides = (("left", 9, 0), ("right", -9, 0), ("left", 7, -11), ("left", 7, 13), ("right", -7, -11), ("right", -7, 13))
    for point, (x, y) in zip(points, places, strict=True):
        point["align"], point["dx"], point["dy"] = sides[0]
        if not point["shown"]:
            continue
        fits: list[tuple[int, int, Box, tuple[str, int, int]]] = []
        for align, dx, dy in sides:
            width, up = _LETTER * len(point["label"]), -dy / 220
            start = x + 0.009 if align == "left" else x - 0.009 - width
            box = (start, start + width, y + up - _LINE / 2, y + up + _LINE / 2)
            hidden = sum(box[0] < o[1] and o[0] < box[1] and box[2] < o[3] and o[2] < box[3] for o in taken)
            outside = box[0] < left_end or box[1] > right_end
            fits.append((hidden + 3 * outside, len(fits), box, (align, dx, dy)))
        _, _, box, (point["align"], point["dx"], point["dy"]) = min(fits)
        taken.append(box)
