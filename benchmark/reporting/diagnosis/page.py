"""Diagnoses as one HTML page: charts and pictures stand in it, and its policy forbids every request."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from backbones.errors import UserError
from benchmark.evaluation.diagnosis import ERRORS, SIZES, SUMS, Diagnosis, WorstPicture
from benchmark.reporting.diagnosis.drawing import COLOURS, draw_charts, draw_worst
from benchmark.reporting.diagnosis.text import class_rows, confusions, error_rows, figure_rows, name_of

_PARTS = Path(__file__).parent
_STYLES = (_PARTS.parent / "leaderboard" / "page.css", _PARTS / "page.css")
_CONFUSIONS = 10


@dataclass(frozen=True)
class _Section:
    """What the page says of one diagnosis; images are data: addresses."""

    name: str
    score: str
    charts: dict[str, str]
    confusions: list[str]
    classes: list[dict[str, str]]
    pictures: list[tuple[WorstPicture, str]]
    left_out: list[str]


def page(diagnoses: Sequence[Diagnosis], folder_of: Callable[[Diagnosis], Path]) -> str:
    """Return the page.

    Args:
        diagnoses: in this order.
        folder_of: the folder of a diagnosis' pictures; one of a UserError, or pictures that cannot be read, are named
            on the page.
    """
    keys = "".join(f".key-{status} {{ background: {colour}; }}\n" for status, colour in COLOURS.items())
    environment = Environment(
        loader=FileSystemLoader(_PARTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        style=Markup("".join(path.read_text(encoding="utf-8") for path in _STYLES) + keys),
        figures=figure_rows(diagnoses),
        errors=error_rows(diagnoses),
        sizes=SIZES,
        kinds={**ERRORS, **SUMS},
        colours=COLOURS,
        sections=[_section(each, folder_of) for each in diagnoses],
    )


def _section(each: Diagnosis, folder_of: Callable[[Diagnosis], Path]) -> _Section:
    pictures: list[tuple[WorstPicture, str]] = []
    left_out: list[str] = []
    try:
        folder = folder_of(each)
        for picture in each.worst:
            try:
                pictures.append((picture, _address("jpeg", draw_worst(picture, folder, each))))
            except UserError as error:
                left_out.append(str(error))
    except UserError as error:
        left_out.append(str(error))
    return _Section(
        name=name_of(each),
        score=f"{each.score:g}",
        charts={title: _address("png", content) for title, content in draw_charts(each).items()},
        confusions=confusions(each)[:_CONFUSIONS],
        classes=class_rows(each),
        pictures=pictures,
        left_out=left_out,
    )


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
