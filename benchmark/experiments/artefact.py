"""``artefact.json``: what an experiment measured and what it says of the documents' claims. The only schema.

Figures are drawn from it alone. A figure that was not measured is null.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from backbones.errors import UserError
from benchmark.files.atomic import write_atomically
from benchmark.files.reading import read_regular
from benchmark.files.run_folder import ARTEFACT
from benchmark.records.result import Provenance
from benchmark.records.schema import Strict, first_problem
from benchmark.records.verdicts import Verdict

Interval = tuple[float, float]


class Figure(Strict):
    """One number.

    Attributes:
        name: what it is of.
        value: None where nothing was measured.
        interval: 95%, None where there is none (a count).
        n: how many measurements it is from.
        unit: empty for a ratio.
        printed: what the document prints.
        verdict: how they compare, None where they are not compared.
    """

    name: str
    value: float | None
    interval: Interval | None = None
    n: int = 1
    unit: str = ""
    printed: float | None = None
    verdict: Verdict | None = None


class Series(Strict):
    """A curve or a cloud of points: means with 95% intervals, or with the spread that ``measured`` names.

    Attributes:
        group: panel that it belongs to.
        name: its label.
        x: of every point.
        y: mean, None where nothing was measured.
        low: lower end of the interval.
        high: upper end.
        n: measurements a point.
    """

    group: str
    name: str
    x: list[float]
    y: list[float | None]
    low: list[float | None]
    high: list[float | None]
    n: int


class Claim(Strict):
    """What a document claims and what became of it here.

    Attributes:
        claim: its name on the command line.
        text: in a sentence.
        source: document, section, table.
        test: what was asked of the data, stated before.
        verdict: of the test.
        evidence: the figures that decide it.
    """

    claim: str
    text: str
    source: str
    test: str
    verdict: Verdict
    evidence: str


class Artefact(Strict):
    """What came of an experiment.

    Attributes:
        experiment: its name.
        title: what it is about; says so where the data are small or the run is a quick one.
        measured: what was measured, on what, how often.
        small_data: measured on data that no document uses; never set beside printed figures as a reproduction.
        config: every setting.
        seeds: of the random numbers.
        machine: processor and number of cores.
        load: the machine's load average of a minute when it began and when it ended.
    """

    schema_version: Literal[1] = 1
    experiment: str
    title: str
    measured: str
    small_data: bool
    config: dict[str, Any]
    seeds: list[int]
    figures: list[Figure]
    series: list[Series]
    claims: list[Claim]
    machine: str
    load: tuple[float, float]
    provenance: Provenance

    def write(self, folder: Path) -> Path:
        """Write ``artefact.json`` into an experiment's folder and return its path."""
        path = folder / ARTEFACT
        write_atomically(path, lambda temporary: temporary.write_text(self.json_text()))
        return path

    def json_text(self) -> str:
        """Return it as JSON, a line per figure, curve and claim."""
        fields = (f"{json.dumps(key)}: {_lines(value)}" for key, value in self.model_dump(mode="json").items())
        return "{\n" + ",\n".join(fields) + "\n}\n"

    def panel(self, group: str) -> list[Series]:
        """Return the curves of a panel."""
        return [series for series in self.series if series.group == group]


def _lines(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[" + ",\n ".join(json.dumps(item) for item in value) + "]"


def read_artefact(path: Path) -> Artefact:
    """Read an artefact.

    Raises:
        UserError: unreadable, or not of this schema; the first problem is named.
    """
    try:
        return Artefact.model_validate_json(read_regular(path))
    except OSError as error:
        raise UserError(f"{path} is not readable JSON: {error}.") from error
    except ValidationError as error:
        raise UserError(f"{path} is no artefact of an experiment: {first_problem(error)}.") from error
