"""The record of reproductions: one line per table or experiment that was held against the documents."""

import datetime
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from backbones.errors import UserError
from benchmark.experiments.artefact import Artefact
from benchmark.experiments.run import machine
from benchmark.files.atomic import check_file, write_atomically
from benchmark.records.verdicts import JUDGED, Verdict
from benchmark.reporting.reproduce.cells import State
from benchmark.training.provenance import git_commit

BEGINS = "# Reproductions"
HEADER = (
    "| date | commit | machine | figure | agrees | near | disagrees | no verdict |",
    "|---|---|---|---|---|---|---|---|",
)


def check_log(path: Path) -> None:
    """Check that a line can be appended to a file.

    Raises:
        UserError: it is a folder, cannot be written, or is a file of another kind.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is no regular file, which a record of reproductions is: give another name.")
    check_file(path, BEGINS)


def table_line(state: State) -> str:
    """Return the line of a table as it stands now, on this machine."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    verdicts = [*(cell.verdict for cell in state.cells), *(ratio.verdict for ratio in state.ratios)]
    return _line(today, git_commit(), machine(), f"Table {state.number}", verdicts)


def artefact_line(made: Artefact) -> str:
    """Return the line of an experiment's artefact: when, where and by which commit it was measured."""
    verdicts = [claim.verdict for claim in made.claims]
    small = ", small data" if made.small_data else ""
    return _line(
        made.provenance.date[:10],
        made.provenance.git_commit,
        made.machine,
        f"experiment {made.experiment}{small}",
        verdicts,
    )


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines to the record, which begins with its heading where there is none.

    Raises:
        UserError: as in ``check_log``.
    """
    check_log(path)
    try:
        text = path.read_text() if path.exists() else "\n".join((BEGINS, "", *HEADER, ""))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    write_atomically(path, lambda temporary: temporary.write_text(text.rstrip("\n") + "\n" + "\n".join(lines) + "\n"))


def _line(date: str, commit: str | None, where: str, figure: str, verdicts: list[Verdict]) -> str:
    counts = Counter(verdicts)
    judged = [str(counts[verdict]) for verdict in JUDGED]
    rest = len(verdicts) - sum(map(int, judged))
    return "| " + " | ".join((date, (commit or "unknown")[:10], where, figure, *judged, str(rest))) + " |"
