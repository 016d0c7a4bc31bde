"""``deploy.json`` as this program writes it: ``DeployFile`` with how it was measured, and times with all threads."""

import json
from pathlib import Path

from pydantic import Field, ValidationError

from backbones.errors import UserError
from benchmark.files.reading import read_regular
from benchmark.records.deploy import DeployFile, DeployRow, Interval, Positive
from benchmark.records.schema import first_problem


class TimedRow(DeployRow):
    """A model in one format and precision; ``ms`` is with one thread, ``ms_interval`` holds the middle half of rounds.

    Attributes:
        cpu_ms: CPU time that belongs to ``ms``.
        all_ms: with a thread on every core.
        all_ms_interval: likewise.
        all_cpu_ms: likewise.
    """

    cpu_ms: float | None = None
    all_ms: Positive | None = None
    all_ms_interval: Interval | None = None
    all_cpu_ms: float | None = None


class DeployTable(DeployFile):
    """The formats of one checkpoint, and how they were measured.

    Attributes:
        machine: processor and number of cores.
        busy: share of the machine's time that others took right before the timing.
        rounds: that were timed.
        stable: whether the warm-up ended in stable medians.
        pictures: that the figures are of.
        date: UTC.
    """

    rows: tuple[TimedRow, ...]
    machine: str = ""
    busy: float | None = Field(default=None, ge=0, le=1)
    rounds: int = 0
    stable: bool = True
    pictures: int = 0
    date: str = ""

    @property
    def conditions(self) -> str:
        """How it was measured, in a sentence or two."""
        timed = f"Times: {self.machine}, batch 1, median of {self.rounds} interleaved rounds after a warm-up"
        timed += " (in brackets: middle half)." if self.stable else ", whose medians still moved: the machine is busy."
        busy = f" Others took {self.busy:.0%} of the machine." if self.busy is not None else ""
        figures = f" Figures: {self.pictures} validation pictures, 95% paired intervals." if self.pictures else ""
        return f"{timed}{busy}{figures} {self.date[:10]}."


def read_table(path: Path) -> DeployTable:
    """Read a ``deploy.json``.

    Raises:
        UserError: unreadable, not JSON, or not of this schema; the first problem is named.
    """
    try:
        return DeployTable.model_validate(json.loads(read_regular(path)))
    except (OSError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise UserError(f"{path} is no table of deployed formats (deploy.json): {problem}.") from error
