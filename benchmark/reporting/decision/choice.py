"""Which backbone to take: a rule over figures, intervals and costs. ``choose.js`` is the same for the page.

Of the backbones that meet the constraints the best is the one with the highest figure. Taken is the fastest of those
that are as good as the best: the interval of their difference to it holds 0 and does not reach further down than the
margin, what one would give for speed. Times within 5% are one time; the higher figure decides then. Without a time of
the best one nothing can be given for speed, and it is taken itself. A backbone whose figure is not over what
guessing reaches by more than the margin has learned nothing that one could choose by, and is not taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

AS_FAST = 0.95  # a time that is not below this share of another one is no shorter


@dataclass(frozen=True)
class Constraints:
    """What is asked for.

    Attributes:
        max_ms: longest time of an image.
        min_figure: lowest AP or top-1, in percent.
        max_params: most parameters.
        margin: of the figure, in points, that one would give for speed.
    """

    max_ms: float | None = None
    min_figure: float | None = None
    max_params: float | None = None
    margin: float = 1.0


@dataclass(frozen=True)
class Option:
    """What the rule knows of a backbone.

    Attributes:
        figure: in percent.
        ms: median time of an image, None where it was not measured.
        params: how many.
        guess: the figure that guessing reaches.
    """

    figure: float
    ms: float | None
    params: float
    guess: float = 0.0


@dataclass(frozen=True)
class Choice:
    """The rule's answer, by the options' places.

    Attributes:
        taken: the option to take.
        best: the one with the highest figure of those that meet the constraints.
        next: the next highest after ``taken``, None if no other meets them.
        untold: a faster one of which the data cannot tell whether it is as good, None if there is none.
    """

    taken: int
    best: int
    next: int | None
    untold: int | None


Ends = Sequence[Sequence[float]]


def choose(options: Sequence[Option], low: Ends, high: Ends, constraints: Constraints) -> Choice | None:
    """Return what to take, None if no option meets the constraints and has learned anything.

    Args:
        options: the backbones.
        low: lower ends of the 95% interval of the figure of option i minus that of option j, by i and j.
        high: upper ends, likewise.
        constraints: what is asked for.
    """

    def order(i: int) -> tuple[float, float, float, int]:
        ms = options[i].ms
        return -options[i].figure, float("inf") if ms is None else ms, options[i].params, i

    able = [
        i
        for i, option in enumerate(options)
        if meets(option, constraints) and option.figure > option.guess + constraints.margin
    ]
    if not able:
        return None
    best = min(able, key=order)
    taken, untold = best, None
    times = {i: ms for i in able if (ms := options[i].ms) is not None}
    if best in times:
        level = [i for i in times if high[i][best] >= 0]
        equal = [i for i in level if low[i][best] >= -constraints.margin or i == best]
        fastest = min(times[i] for i in equal)
        taken = min((i for i in equal if times[i] * AS_FAST <= fastest), key=order)
        faster = [i for i in level if i not in equal and times[i] < AS_FAST * times[taken]]
        untold = min(faster, key=order, default=None)
    return Choice(taken, best, min((i for i in able if i != taken), key=order, default=None), untold)


def meets(option: Option, constraints: Constraints) -> bool:
    """Tell whether an option meets the constraints; an unknown time meets no limit."""
    within_time = constraints.max_ms is None or (option.ms is not None and option.ms <= constraints.max_ms)
    high_enough = constraints.min_figure is None or option.figure >= constraints.min_figure
    return within_time and high_enough and (constraints.max_params is None or option.params <= constraints.max_params)


def changes(
    options: Sequence[Option], low: Ends, high: Ends, constraints: Constraints, limit: str
) -> list[tuple[float, Choice | None]]:
    """Return where the answer changes as one limit moves and the others stay: the limit from which on, and the answer.

    Args:
        options: as in ``choose``; likewise ``low`` and ``high``.
        constraints: the others.
        limit: ``max_ms``, ``min_figure`` or ``max_params``.

    Returns:
        In the order of the limit: rising, as one allows more time or parameters; falling for ``min_figure``.
    """
    values = sorted({value for option in options if (value := _OF[limit](option)) is not None})
    found: list[tuple[float, Choice | None]] = []
    for value in values if limit != "min_figure" else reversed(values):
        answer = choose(options, low, high, replace(constraints, **{limit: value}))
        if answer and (not found or found[-1][1] is None or answer.taken != found[-1][1].taken):
            found.append((value, answer))
    return found


_OF: dict[str, Callable[[Option], float | None]] = {
    "max_ms": lambda option: option.ms,
    "min_figure": lambda option: option.figure,
    "max_params": lambda option: option.params,
}
