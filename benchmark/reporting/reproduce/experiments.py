"""The experiments that lie below folders, as text and as JSON: claim by claim beside the tables' cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from backbones.errors import UserError
from benchmark.experiments.artefact import Artefact, read_artefact
from benchmark.experiments.run import list_artefacts
from benchmark.experiments.table import EXPERIMENTS


def read_experiments(folders: Sequence[Path]) -> tuple[dict[Path, Artefact], list[str]]:
    """Return the artefacts below folders by their file, and what cannot be read."""
    found, problems = {}, [f"Folder not found: {folder}." for folder in folders if not folder.is_dir()]
    for path in list_artefacts(folders):
        try:
            found[path] = read_artefact(path)
        except UserError as error:
            problems.append(str(error))
    return found, problems


def render_experiments(found: dict[Path, Artefact]) -> str:
    """Return every claim with its verdict, and the experiments that have not been run."""
    parts = []
    for path, made in found.items():
        rows = [{"claim": claim.text, "source": claim.source, "verdict": claim.verdict} for claim in made.claims]
        table = tabulate(rows, headers="keys", tablefmt="github", maxcolwidths=[70, 40, None])
        parts.append(f"{made.title}\n{path}, {made.provenance.date[:10]}, {made.machine}\n\n{table}")
    done = {made.experiment for made in found.values()}
    missing = [f"{name}: python tools/experiment.py {name}" for name in EXPERIMENTS if name not in done]
    if missing:
        parts.append("\n".join(("Not run here:", *missing)))
    return "\n\n".join(parts)


def experiments_json(found: dict[Path, Artefact]) -> list[dict[str, Any]]:
    """Return the claims and figures as JSON's containers, without the curves."""
    return [
        {"file": str(path), **made.model_dump(mode="json", exclude={"series", "config"})}
        for path, made in found.items()
    ]
