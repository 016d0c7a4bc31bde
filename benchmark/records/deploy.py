"""``deploy.json``: a trained model in the formats of other runtimes, each with its size, figure and time.

One file is of one checkpoint; a row per format and precision. Fields that are not known here are left alone, so that
a newer file is still read. A figure that was not measured is null. Whoever takes rows from elsewhere reads a
``DeployFile``; this program writes a ``DeployTable``, which says how it was measured too.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from backbones.errors import did_you_mean
from benchmark.files.atomic import make_folder, write_atomically
from benchmark.records.figures import FIGURES
from benchmark.records.schema import read_record

Interval = tuple[float, float]
Positive = Annotated[float, Field(gt=0)]


class _Tolerant(BaseModel):
    """A record that ignores fields it does not know, and does not change."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class DeployRow(_Tolerant):
    """A model in one format and precision.

    Attributes:
        format: ``onnx``, ``openvino``, ``pytorch`` ...
        precision: ``fp32``, ``fp16``, ``int8`` ...
        file: its name or path; None where there is none (PyTorch itself, or a conversion that failed).
        mb: size of the file, in millions of bytes.
        figure: what ``value`` and ``delta`` are of: a key of ``FIGURES``.
        value: in percent.
        interval: 95% interval of ``value``.
        delta: ``value`` minus that of the model in PyTorch, on the same pictures.
        delta_interval: 95% interval of ``delta``, paired.
        ms: median time of an image.
        ms_interval: interval or quartiles of ``ms``; ``note`` or the page's reader knows which.
        peak_mb: memory at its peak, in millions of bytes.
        verified: whether its outputs were found equal to PyTorch's within the format's tolerance; INT8's are not, and
            its figure decides.
        note: for the reader, why something is missing say.
    """

    format: str
    precision: str
    file: str | None = None
    mb: Positive | None = None
    figure: str
    value: float | None = None
    interval: Interval | None = None
    delta: float | None = None
    delta_interval: Interval | None = None
    ms: Positive | None = None
    ms_interval: Interval | None = None
    peak_mb: Positive | None = None
    verified: Literal["yes", "no", "by figure", "unchecked"] = "unchecked"
    note: str = ""

    @field_validator("figure")
    @classmethod
    def _known_figure(cls, figure: str) -> str:
        if figure not in FIGURES:
            raise ValueError(f"unknown figure {figure!r}.{did_you_mean(figure, FIGURES)}")
        return figure

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        for name in ("interval", "delta_interval", "ms_interval"):
            ends = getattr(self, name)
            if ends and ends[0] > ends[1]:
                raise ValueError(f"{name} ends before it begins: {ends[0]:g} to {ends[1]:g}")
        return self


class DeployFile(_Tolerant):
    """The formats of one checkpoint.

    Attributes:
        backbone: name in the catalogue, as its result has it.
        config: name of its config.
        run: folder of the run that was converted.
        device: what ``ms`` was measured on: name of the GPU, or ``CPU``.
        threads: of the CPU.
        rows: a row per format and precision.
    """

    backbone: str
    config: str | None = None
    run: str | None = None
    device: str | None = None
    threads: int | None = None
    rows: tuple[DeployRow, ...]

    def write(self, path: Path) -> None:
        """Write it into a file, whose folder is made."""
        make_folder(path.parent)
        text = self.model_dump_json(indent=2) + "\n"
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a ``deploy.json``.

        Raises:
            UserError: unreadable, not JSON, or not of this schema; the first problem is named.
        """
        return read_record(cls, path, "no table of deployed formats (deploy.json)")


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
        timed += " (in brackets: middle half)." if self.stable else ", at whose end medians still moved."
        busy = f" Others took {self.busy:.0%} of the machine." if self.busy is not None else ""
        figures = f" Figures: {self.pictures} validation pictures, 95% paired intervals." if self.pictures else ""
        return f"{timed}{busy}{figures} {self.date[:10]}."
