"""What a check found: one row each."""

import itertools
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.console import SHOWN

_LONGEST = 60  # characters of a value that is shown
Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Row:
    """One check of one split, or of the run.

    Attributes:
        split: ``train2017``, ``test``, ...; ``run`` for what belongs to no split.
        check: what was looked for, as a plural noun where it is counted.
        status: an error stops a run, a warning says how the run handles it.
        count: how many were found; None where there is nothing to count.
        examples: the first of them.
        message: for a warning and an error one line: what was found, where, and what to do.
    """

    split: str
    check: str
    status: Status
    count: int | None
    examples: tuple[str, ...] = ()
    message: str = ""


class Outcome(NamedTuple):
    """What a fault means to a split, and what becomes of it or what to do."""

    status: Status
    advice: str


def table_row(row: Row) -> dict[str, Any]:
    """Return what the table shows of a row, by heading."""
    return {
        "split": row.split,
        "check": row.check,
        "result": row.status,
        "how many": "" if row.count is None else row.count,
        "first examples": "; ".join(row.examples[:SHOWN]),
    }


def printable(value: Any) -> str:
    """Return a value of a file in a form that is safe and short enough to print."""
    text = value if isinstance(value, str) else reprlib.repr(value)  # neither long nor deep
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def found_row(
    split: str, check: str, outcome: Outcome, where: Path, count: int, examples: Iterable[str], named: int = SHOWN
) -> Row:
    """Return the row of a check that counts faults.

    Args:
        split: as in ``Row``.
        check: as in ``Row``.
        outcome: what the faults mean, if there are any.
        where: the file or folder that has them.
        count: how many there are.
        examples: descriptions of them; only the first are looked at.
        named: how many the row keeps; the message has ``SHOWN`` of them.
    """
    if not count:
        return Row(split, check, "ok", 0)
    kept = tuple(itertools.islice(examples, named))
    more = " (check_data.py --json names all)" if len(kept) > SHOWN else ""
    message = f"{where}: {count} {check}; first: {'; '.join(kept[:SHOWN])}{more}. {outcome.advice}"
    return Row(split, check, outcome.status, count, kept, message)
