"""The decision as one HTML page, with the constraints as controls."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.files.run_folder import CONFIG, PICTURES, SHEET
from benchmark.reporting import offline
from benchmark.reporting.decision import text
from benchmark.reporting.decision.charts import difference_chart, frontier_chart
from benchmark.reporting.decision.decision import Decision

_PARTS = Path(__file__).parent
_BY_CLASS = 5  # backbones side by side


def page(decision: Decision, place: Path) -> str:
    """Return the page; links to runs are relative to ``place``, the folder that it will lie in."""
    charts: dict[str, Any] = {"frontier": frontier_chart(decision, page=True)}
    if len(decision.candidates) > 1:
        charts["differences"] = difference_chart(decision, page=True)
    classes = text.class_rows(decision, _BY_CLASS)
    answer, _, reserve = decision.sentence.partition(". ")
    return offline.render(
        _PARTS,
        {
            "decision": decision,
            "answer": f"{answer.removesuffix('.')}.",
            "reserve": reserve,
            "text": text,
            "heading": decision.figure.heading,
            "classes": classes,
            "tables": {
                name: table
                for name, table in text.tables(decision, _BY_CLASS).items()
                if name != "Backbones" and table is not classes
            },
            "by_class": len(decision.candidates) > _BY_CLASS,
            "links": [_links(decision, number, place) for number in range(len(decision.candidates))],
        },
        data={**decision.data, "constraints": asdict(decision.constraints), "charts": charts},
        scripts=("choose.js", "page.js"),
    )


def _links(decision: Decision, number: int, place: Path) -> list[tuple[str, str]]:
    """Return text and address of what lies in the folders of a backbone's runs."""
    found = []
    for run in decision.candidates[number].row.runs:
        pictures = run.folder / PICTURES
        for name, path in (
            ("config", run.folder / CONFIG),
            ("pictures", pictures / SHEET if (pictures / SHEET).is_file() else pictures),
        ):
            if path.exists():
                address = quote(os.path.relpath(path, place).replace(os.sep, "/"))
                found.append((f"{run.folder.name}: {name}", address))
    return found
