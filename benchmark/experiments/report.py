"""What an experiment says on the terminal."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from benchmark.experiments.artefact import Artefact
from benchmark.files.run_folder import ARTEFACT, FIGURE

_WIDTH = 110


def render(made: Artefact, folder: Path, claims: Sequence[str] = ()) -> str:
    """Return the claims with their verdicts, and where artefact and figure lie; some claims alone with their tests."""
    parts = [made.title, textwrap.fill(made.measured, _WIDTH)]
    for claim in made.claims:
        if claims and claim.claim not in claims:
            continue
        lines = [f"{claim.claim}: {claim.verdict}", claim.text, f"Source: {claim.source}."]
        lines += [f"Test: {claim.test}."] if claims else []
        lines += [f"Found: {claim.evidence}"]
        parts.append("\n".join((lines[0], *(_indented(line) for line in lines[1:]))))
    parts.append(f"{folder / ARTEFACT}, {folder / FIGURE}.svg and .png")
    return "\n\n".join(parts)


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")
