"""The decision as text and as Markdown: the sentence, the tables, what would change the answer."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from tabulate import tabulate

from benchmark.reporting.decision.choice import Choice
from benchmark.reporting.decision.decision import Candidate, Decision
from benchmark.reporting.decision.statistics import Estimate
from benchmark.reporting.leaderboard.text import markdown_text

_NOTHING = "-"
_WIDTH = 100  # letters
_NAMED = 3
_CLASSES = 20  # by which backbones are told apart on a terminal
LIMITS = {
    "max_ms": ("at most, ms", "--max-ms"),
    "min_figure": ("at least, {heading}", "--min-ap"),
    "max_params": ("at most, M params", "--max-params"),
}


def interval(found: Estimate, sign: str = "") -> str:
    """Return a figure or a difference with its interval: ``34.1 [32.9, 35.2]``."""
    return f"{found.value:{sign}z.1f} [{found.low:{sign}z.1f}, {found.high:{sign}z.1f}]"


def number(value: float | None, digits: int, scale: float = 1.0) -> str:
    """Return a number, or a dash where there is none."""
    return _NOTHING if value is None else f"{value / scale:,.{digits}f}"


def alike(decision: Decision, place: int) -> str:
    """Return whom a backbone cannot be told apart from, the first of them by name."""
    names = decision.alike(place)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more or "none"


def rows(decision: Decision) -> list[dict[str, str]]:
    """Return a printable row per backbone, the highest figure first."""
    heading = decision.figure.heading
    return [
        {
            "backbone": ("* " if decision.answer and decision.answer.taken == place else "") + one.name,
            f"{heading} [95%]": interval(one.found),
            "to the highest [95%]": _to_highest(decision, place),
            "ms": number(one.option.ms, 2),
            "params (M)": number(one.result.cost.params, 2, 1e6),
            "hours": number(hours(one), 2),
            "seeds": str(len(one.row.runs)),
            "not told apart from": alike(decision, place),
        }
        for place, one in enumerate(decision.candidates)
    ]


def hours(one: Candidate) -> float | None:
    """Return how long a backbone was trained, all its seeds together."""
    trainings = [run.result.training for run in one.row.runs]
    known = [training.hours for training in trainings if training and training.hours is not None]
    return sum(known) if len(known) == len(trainings) else None


def training_rows(decision: Decision) -> list[dict[str, str]]:
    """Return what the training of each backbone cost."""
    found = []
    for one in decision.candidates:
        training = one.result.training
        peak = [run.result.training.peak_memory for run in one.row.runs if run.result.training]
        found.append(
            {
                "backbone": one.name,
                "runs": str(len(one.row.runs)),
                "iterations": str(training.iterations) if training else _NOTHING,
                "hours, all runs": number(hours(one), 2),
                "images/s": number(one.number("images_per_second"), 1),
                "peak memory (GB)": number(max((value for value in peak if value), default=None), 2, 1e9),
                "device": str(one.row.cells.get("device") or _NOTHING),
            }
        )
    return found


def class_rows(decision: Decision, most: int | None = None, classes: int | None = None) -> list[dict[str, str]]:
    """Return the figure of every class with its interval, a column for each of the first backbones.

    Args:
        decision: to print.
        most: backbones: what is taken first, then the highest; all by default.
        classes: at most so many, those in which these backbones differ most; all by default.
    """
    order = list(range(len(decision.candidates)))
    if (answer := decision.answer) is not None:
        taken = answer.taken
        order.sort(key=lambda place: place != taken)
    chosen = [decision.candidates[place] for place in order[:most]]
    names = [*dict.fromkeys(name for one in decision.candidates for name in one.classes)]

    def range_of(name: str) -> float:
        values = [one.classes[name].value for one in chosen if name in one.classes]
        return max(values, default=0.0) - min(values, default=0.0)

    shown = sorted(names, key=range_of, reverse=True)[:classes]
    return [
        {
            "class": name,
            **{one.name: interval(one.classes[name]) if name in one.classes else _NOTHING for one in chosen},
        }
        for name in names
        if name in shown
    ]


def change_rows(decision: Decision) -> list[dict[str, str]]:
    """Return what would be taken as one limit moves: a row per change of the answer."""
    found = []
    for limit, moves in decision.changes.items():
        heading, _ = LIMITS[limit]
        for value, answer in moves:
            shown = f"{value / 1e6:.2f}" if limit == "max_params" else f"{value:.2f}"
            found.append(
                {
                    "limit": heading.format(heading=decision.figure.heading),
                    "from": shown,
                    "take": _named(decision, answer),
                    decision.figure.heading: interval(decision.candidates[answer.taken].found) if answer else _NOTHING,
                }
            )
    return found


def deploy_rows(decision: Decision) -> list[dict[str, str]]:
    """Return a row per deployed format."""
    return [
        {
            "backbone": other.backbone,
            "format": f"{other.row.format} {other.row.precision}",
            "figure": _with_interval(other.row.value, other.row.interval, 1),
            "to PyTorch [95%]": _with_interval(other.row.delta, other.row.delta_interval, 2),
            "ms": _with_interval(other.row.ms, other.row.ms_interval, 2),
            "MB": number(other.row.mb, 1),
            "peak (MB)": number(other.row.peak_mb, 0),
            "outputs verified": other.row.verified,
            "note": other.row.note,
        }
        for other in decision.deployed
    ]


def plain_text(decision: Decision) -> str:
    """Return the decision as plain text."""
    parts = [fill(decision.sentence, _WIDTH), title(decision)]
    for heading, table in tables(decision, most=4, classes=_CLASSES).items():
        parts.append(f"{heading}\n\n{_plain(table)}")
    parts.append("\n".join(fill(note, _WIDTH) for note in decision.notes))
    return "\n\n".join(parts) + "\n"


def markdown(decision: Decision, picture: str) -> str:
    """Return the decision as Markdown; ``picture`` is the address of its chart."""
    parts = [f"# {markdown_text(decision.sentence)}", markdown_text(title(decision)), f"![The chart]({picture})"]
    for heading, table in tables(decision).items():
        escaped = [{markdown_text(key): markdown_text(value) for key, value in row.items()} for row in table]
        parts.append(f"## {heading}\n\n{tabulate(escaped, 'keys', 'pipe', disable_numparse=True)}")
    parts.append("\n".join(f"- {markdown_text(note)}" for note in decision.notes))
    return "\n\n".join(parts) + "\n"


def tables(decision: Decision, most: int | None = None, classes: int | None = None) -> dict[str, list[dict[str, str]]]:
    """Return the tables under their headings, without the empty ones; ``most`` and ``classes`` as in ``class_rows``."""
    heading = decision.figure.heading
    every = len({name for one in decision.candidates for name in one.classes})
    part = f", the {classes} of {every} that differ most" if classes is not None and classes < every else ""
    found: Mapping[str, list[dict[str, str]]] = {
        "Backbones": rows(decision),
        "What would change the answer": change_rows(decision),
        "Other formats": deploy_rows(decision),
        "Cost of training": training_rows(decision),
        f"{heading} by class{part}": class_rows(decision, most, classes),
    }
    return {name: table for name, table in found.items() if table}


def title(decision: Decision) -> str:
    """Return what was compared, on what."""
    data = decision.candidates[0].result.data
    runs = sum(len(one.row.runs) for one in decision.candidates)
    return (
        f"{decision.board.title}: {len(decision.candidates)} backbones, {runs} runs, evaluated on {data.images} "
        f"pictures{_asked(decision)}."
    )


def _asked(decision: Decision) -> str:
    asked = decision.constraints
    limits = [
        *([f"at most {asked.max_ms:g} ms"] if asked.max_ms is not None else []),
        *([f"at least {asked.min_figure:g} {decision.figure.heading}"] if asked.min_figure is not None else []),
        *([f"at most {asked.max_params / 1e6:g}M params"] if asked.max_params is not None else []),
    ]
    return f"; asked for: {', '.join(limits)}" if limits else ""


def _to_highest(decision: Decision, place: int) -> str:
    pair = decision.pairs[place][0]
    return interval(pair, "+") if pair else _NOTHING


def _named(decision: Decision, answer: Choice | None) -> str:
    return decision.candidates[answer.taken].name if answer else _NOTHING


def _with_interval(value: float | None, ends: tuple[float, float] | None, digits: int) -> str:
    if value is None:
        return _NOTHING
    shown = f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else " (no interval)"
    return f"{value:.{digits}f}{shown}"


def _plain(table: Sequence[Mapping[str, str]]) -> str:
    return tabulate(table, "keys", "simple", disable_numparse=True)
