"""The page's charts in Vega-Lite by Altair: the figure against the time, and every difference to the best."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmark.reporting.decision.choice import meets
from benchmark.reporting.offline.charts import Point, colours, finished, scatter

if TYPE_CHECKING:
    from benchmark.reporting.decision.decision import Decision, Deployed

_ROW = 24  # px
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
    points = [*_backbones(decision, timed), *(_formats(decision) if timed else ())]
    cost = "time of an image on this machine (ms)" if timed else "multiply-adds (billions); no time was measured"
    kinds = {TAKEN: "printed", MEETS: "accent", MEETS_NOT: "muted"}
    kinds |= {OTHER: "ink"} if any(point.kind == OTHER for point in points) else {}
    kind = f"datum.kind ? datum.kind : datum.name === taken ? '{TAKEN}' : "
    kind += f"indexof(able, datum.name) >= 0 ? '{MEETS}' : '{MEETS_NOT}'"
    heading = f"{decision.figure.heading} (%)"
    chart = scatter(points, kinds, colour=colour, titles=(cost, heading), kind=kind, diamonds=[OTHER])
    asked, answer = decision.constraints, decision.answer
    given = {
        "taken": "" if answer is None else decision.candidates[answer.taken].name,
        "able": [one.name for one in decision.candidates if meets(one.option, asked)],
        "max_ms": asked.max_ms if timed else None,
        "min_figure": asked.min_figure,
    }
    limits = [
        _limit(alt, "max_ms", points[0].cost, colour).encode(x=alt.X("limit:Q")),
        _limit(alt, "min_figure", points[0].figure, colour).encode(y=alt.Y("limit:Q")),
    ]
    whole = alt.layer(*chart.layer, *limits).properties(height=chart.height)
    return finished(
        whole.add_params(*(alt.param(name=name, value=value) for name, value in given.items())), colour, width
    )


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
    tips = [alt.Tooltip("name:N", title="title"), alt.Tooltip("said:N", title="difference")]
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=colour["muted"]).encode(x="zero:Q")
    layers = [
        zero,
        base.mark_rule(strokeWidth=2).encode(alt.X("low:Q", title=title), alt.X2("high:Q"), y, hue, tooltip=tips),
        base.mark_point(size=70, filled=True, opacity=1).encode(alt.X("value:Q", title=title), y, hue, tooltip=tips),
    ]
    return finished(alt.layer(*layers).properties(height=_ROW * len(rows)), colour, width)


def _limit(alt: Any, name: str, start: float, colour: Mapping[str, str]) -> Any:
    """Return the line of a limit, unseen at ``start`` while none is asked for."""
    asked = f"isValid({name})"
    chart = alt.Chart(alt.InlineData(values=[{}])).transform_calculate(limit=f"{asked} ? {name} : {start}")
    return chart.mark_rule(strokeDash=[5, 4], color=colour["printed"], opacity=alt.ExprRef(f"{asked} ? 1 : 0"))


def _backbones(decision: "Decision", timed: bool) -> list[Point]:
    points = []
    for one in decision.candidates:
        cost = one.option.ms if timed else one.result.cost.macs / 1e9
        if cost is None:
            continue
        found = one.found
        tips = {
            decision.figure.heading: f"{found.value:.1f} (95% interval {found.low:.1f} to {found.high:.1f})",
            "time" if timed else "multiply-adds": f"{cost:.2f} {'ms' if timed else 'B'}",
            "size": f"{one.result.cost.params / 1e6:.2f} M params",
        }
        points.append(Point(one.name, cost, found.value, found.low, found.high, tips=tips))
    return points


def _formats(decision: "Decision") -> list[Point]:
    return [
        point
        for other in decision.deployed
        if other.row.figure == decision.figure.key and (point := _format(other, decision.figure.heading))
    ]


def _format(other: "Deployed", heading: str) -> Point | None:
    row = other.row
    if row.ms is None or row.value is None:
        return None
    low, high = row.interval or (None, None)
    ends = f"95% interval {low:.1f} to {high:.1f}" if row.interval else "no interval"
    tips = {
        heading: f"{row.value:.1f} ({ends})",
        "time": f"{row.ms:.2f} ms",
        **({} if row.mb is None else {"size": f"file of {row.mb:.1f} MB"}),
    }
    name = f"{other.backbone}, {row.format} {row.precision}"
    return Point(name, row.ms, row.value, low, high, kind=OTHER, counts=False, tips=tips)
