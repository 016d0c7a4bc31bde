"""The figures of results: one row per figure. Checks, columns, pages, logs and the paper's tables derive from it.

A figure is a row here and a function in ``benchmark/evaluation`` that counts it: docs/extending.md has the lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """A figure of a model.

    Attributes:
        key: its name in result.json.
        heading: of its column, short, without group and unit.
        title: the heading in more words.
        unit: of what tables print.
        best: which end is the better one.
        scale: one unit of the tables, in the unit of result.json.
        digits: after the point, in tables.
        group: what it is of where a task has figures of several things: a key of ``IOU_TYPES``; empty for none.
    """

    key: str
    heading: str
    title: str
    unit: str = "%"
    best: Literal["low", "high"] = "high"
    scale: float = 1
    digits: int = 1
    group: str = ""

    def format(self, value: float, sign: str = "") -> str:
        """Return a value of result.json in the unit of the tables; ``sign`` as in a format specification."""
        return f"{value / self.scale:{sign}z,.{self.digits}f}"

    def is_better(self, value: float, than: float | None) -> bool:
        """Tell whether a value beats another one; any value beats none."""
        if than is None:
            return True
        return value > than if self.best == "high" else value < than


IouType = Literal["bbox", "segm"]
# Group of figures -> what COCO's evaluation calls the shapes compared.
IOU_TYPES: dict[str, IouType] = {"box": "bbox", "mask": "segm"}
_AP = {
    "AP": "average precision, mean over IoU 0.50 to 0.95",
    "AP50": "average precision at IoU 0.50",
    "AP75": "average precision at IoU 0.75",
    "APs": "average precision of objects below 32x32 pixels",
    "APm": "average precision of objects from 32x32 to 96x96 pixels",
    "APl": "average precision of objects above 96x96 pixels",
}
_ROWS = (
    *(
        Figure(f"{group}_{name}", name, f"{title}, by {group}", group=group)
        for group in IOU_TYPES
        for name, title in _AP.items()
    ),
    Figure("top1", "top-1", "share of images whose first answer is right"),
    Figure("top5", "top-5", "share of images with the right answer among the first five"),
    Figure("real", "ReaL", "share of images whose first answer is one of the reassessed labels"),
    Figure("mean_per_class", "per class", "top-1 by class, mean over the classes"),
)
FIGURES = {row.key: row for row in _ROWS}

PARAMS = Figure("params", "params", "parameters, millions", "M", "low", 1e6, 2)
MACS = Figure("macs", "multiply-adds", "multiply-adds of an image of the input, billions", "B", "low", 1e9, 2)
COSTS = {row.key: row for row in (PARAMS, MACS)}


def headings(figures: Sequence[Figure]) -> list[str]:
    """Return the headings of columns side by side: with the group where there are several; percent is not said."""
    several = len({figure.group for figure in figures if figure.group}) > 1
    return [
        (f"{figure.group} " if several and figure.group else "")
        + figure.heading
        + ("" if figure.unit == "%" else f" ({figure.unit})")
        for figure in figures
    ]


def format_figures(
    metrics: Mapping[str, float | None], intervals: Mapping[str, tuple[float, float]] | None = None
) -> str:
    """Return the figures of a result, a line per group; a 95% interval over images follows its figure in brackets."""
    lines: dict[str, list[str]] = {}
    for key, value in metrics.items():
        figure = FIGURES[key]
        text = f"{figure.heading} {'-' if value is None else figure.format(value)}"
        if intervals and key in intervals:
            text += " ({} to {})".format(*map(figure.format, intervals[key]))
        lines.setdefault(figure.group, []).append(text)
    return "\n".join(f"{group:>4}  {'  '.join(texts)}" for group, texts in lines.items())
