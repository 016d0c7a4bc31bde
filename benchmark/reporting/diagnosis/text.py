"""Tables of diagnoses for the terminal."""

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from benchmark.evaluation.diagnosis import ERRORS, SIZES, SUMS, Diagnosis

_CLASSES = 20  # rows of a table; of more classes those with the lowest AP are shown
_CONFUSIONS = 5


def describe(diagnoses: Sequence[Diagnosis]) -> str:
    """Return tables of some diagnoses: their figures and errors side by side, then the classes of each."""
    parts = [
        "Average precision in percent, by size of the objects:",
        _table(figure_rows(diagnoses)),
        "What each kind of error costs in AP at IoU 0.5, and how often it happens:",
        _table(error_rows(diagnoses)),
        "\n".join(f"{kind}: {meaning}" for kind, meaning in {**ERRORS, **SUMS}.items())
        + "\nEach cost is what AP would gain if that kind alone were mended; they do not add up (TIDE).",
    ]
    for each in diagnoses:
        parts += [f"{name_of(each)}, {_heading(each)}:", _table(class_rows(each)[:_CLASSES])]
        if confused := confusions(each)[:_CONFUSIONS]:
            score = f"{each.score:g}"
            parts.append(f"Most confused (detections from a score of {score} on): " + ", ".join(confused) + ".")
    return "\n\n".join(parts)


def name_of(each: Diagnosis) -> str:
    """Return what a diagnosis is of."""
    return f"{each.run.folder} ({each.group})"


def show(value: float | int | None) -> str:
    """Return a figure as tables print it."""
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) else f"{value:,}"


def class_rows(each: Diagnosis) -> list[dict[str, str]]:
    """Return a row per class, the lowest AP first; classes without an object come last."""
    order = sorted(each.classes.items(), key=lambda item: (item[1]["AP"] is None, item[1]["AP"] or 0))
    return [{"class": name, **{key: show(value) for key, value in row.items()}} for name, row in order]


def confusions(each: Diagnosis) -> list[str]:
    """Return which objects were detected as which other class, and how often, the most frequent first."""
    names, counts = each.confusion["cat_names"], np.array(each.confusion["matrix"]).astype(int)[:-1, :-1]
    np.fill_diagonal(counts, 0)
    pairs = sorted(zip(*np.nonzero(counts), strict=True), key=lambda pair: -counts[pair])
    return [f"{names[true]} as {names[called]} ({counts[true, called]})" for true, called in pairs]


def _heading(each: Diagnosis) -> str:
    shown = min(len(each.classes), _CLASSES)
    return f"the {shown} of {len(each.classes)} classes with the lowest AP" if shown < len(each.classes) else "by class"


def figure_rows(diagnoses: Sequence[Diagnosis]) -> list[dict[str, str]]:
    """Return a row per diagnosis: AP, and by size of the objects, with their number in brackets."""
    return [
        {
            "run": name_of(each),
            **{key: show(value) for key, value in each.figures.items()},
            **{size: f"{show(each.sizes[size]['AP'])} ({show(each.sizes[size]['objects'])})" for size in SIZES},
        }
        for each in diagnoses
    ]


def error_rows(diagnoses: Sequence[Diagnosis]) -> list[dict[str, str]]:
    """Return a row per diagnosis: the cost of each kind of error, with its number in brackets."""
    return [{"run": name_of(each), **{kind: _cost(row) for kind, row in each.errors.items()}} for each in diagnoses]


def _cost(row: dict[str, float | int | None]) -> str:
    return show(row["cost"]) + (f" ({show(row['count'])})" if row["count"] is not None else "")


def _table(rows: Sequence[dict[str, str]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)
