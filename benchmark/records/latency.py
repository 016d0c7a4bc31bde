"""A file of measured times, as ``tools/latency.py --json`` prints it: the only schema of times.

A time belongs to a result if the model timed is the result's config and has its input; a classifier may also be named
by its backbone. The config's name must end in the result's backbone, so that a backbone changed on the command line
does not get the time of the config's own, and no time goes to a result of generated data, whose head has another number
of classes.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from benchmark.files.atomic import make_folder, write_atomically
from benchmark.files.run_folder import slug
from benchmark.records.result import Result
from benchmark.records.schema import Strict, read_record
from benchmark.tasks import TASKS

_TIMED = {
    "classifier": "classifier",
    "network": "network without box decoding and NMS",
    "prediction": "network with box decoding and NMS",
    "training step": "training step",
}


class Ratio(Strict):
    """Time over another model's, round by round: the median, and the quartiles as its spread."""

    median: float
    low: float
    high: float


Timed = Literal["classifier", "network", "prediction", "training step"]


class Latency(Strict):
    """The time of one model and what belongs to the figure.

    Attributes:
        model: name of a backbone (timed as a classifier) or config.
        timed: what runs: ``classifier``, ``network`` (a detector without post-processing), ``prediction`` or
            ``training step``.
        input: (N, C, H, W).
        device: name of the GPU, or ``CPU``.
        threads: of the CPU.
        fused: re-parameterised branches were merged before; files from before this was recorded have none of them.
        norms_folded: how many batch normalisations were folded, None without folding.
        norms_left: how many were not, because no convolution stands right before them.
        warm_up: rounds before the timed ones.
        stable: whether the warm-up ended in stable medians, not at its cap.
        runs: timed rounds.
        median_ms: of one run of the batch.
        p95_ms: 95th percentile.
        images_per_second: batch size over the median.
        ratio: to the first model compared, None for that one.
        peak_memory: in bytes; on a GPU weights and activations of this model, on a CPU the whole process's resident
            memory, None where several models share the process.
        joules_per_image: of the whole GPU (NVML) or CPU packages (RAPL), None where the machine reports none.
    """

    model: str
    timed: Timed
    input: tuple[int, int, int, int]
    device: str
    threads: int
    precision: str
    memory_format: str
    compiled: bool
    fused: bool = False
    norms_folded: int | None
    norms_left: int | None
    warm_up: int
    stable: bool
    runs: int
    median_ms: float = Field(gt=0)
    p95_ms: float = Field(gt=0)
    images_per_second: float
    ratio: Ratio | None
    peak_memory: int | None
    joules_per_image: float | None

    @property
    def conditions(self) -> tuple[str, ...]:
        """What times must have in common to stand in one column."""
        return (
            _TIMED[self.timed],
            f"batch {self.input[0]}",
            f"{self.device} ({self.threads} thread{'s' if self.threads > 1 else ''})",
            self.precision,
            self.memory_format,
            "compiled" if self.compiled else "eager",
            "BN as it is" if self.norms_folded is None else "BN folded",
        )

    def belongs_to(self, result: Result) -> bool:
        """Tell whether this is the time of a result's model."""
        own_config = self.model == result.config.name and result.config.name.endswith(f"_{slug(result.backbone)}")
        classifies = self.timed == "classifier" and TASKS[result.task].kind == "classifier"
        own_backbone = classifies and self.model == result.backbone
        return (own_config or own_backbone) and self.input[1:] == result.cost.input[1:] and not result.data.demo


class Pair(Strict):
    """Time of one model over another's, compared with what the paper prints; figures to their printed digits.

    Attributes:
        device: as in ``Latency``.
        batch: images per run.
        pair: labels of both.
        top1: of both, as the paper prints them.
        ratio: median over the rounds.
        quartiles: of the rounds.
        printed: the paper's ratio.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    device: str
    batch: int
    pair: str
    top1: str = Field(alias="top-1")
    ratio: Decimal = Field(gt=0)
    quartiles: str
    printed: Decimal = Field(alias="in the paper", gt=0)


class LoaderRate(Strict):
    """How fast a config's training data come by themselves.

    Attributes:
        config: its name.
        workers: data-loading processes; with none the main process loads.
        batch: images.
        images_per_second: of all processes together.
    """

    config: str
    workers: int
    batch: int
    images_per_second: float = Field(gt=0)

    def limit(self, step: Latency) -> str:
        """Say in a sentence which is slower on this machine, these data or a training step."""
        data, model = self.images_per_second, step.images_per_second
        slower, times = ("the data", model / data) if data < model else ("the model", data / model)
        shared = " Both share the processor, so together they are slower still." if step.device == "CPU" else ""
        return (
            f"{self.config}, batch {step.input[0]}: {slower} is the limit here. {self.workers} processes alone load "
            f"{data:.1f} images/s, training steps alone take {model:.1f}: {times:.1f} times apart.{shared}"
        )


class LatencyFile(Strict):
    """What was measured together."""

    latencies: list[Latency]
    pairs: list[Pair] = Field(default_factory=list)
    loaders: list[LoaderRate] = Field(default_factory=list)

    def json_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2)

    def write(self, path: Path) -> None:
        """Write it into a file, whose folder is made."""
        make_folder(path.parent)
        write_atomically(path, lambda temporary: temporary.write_text(self.json_text() + "\n"))


def read_latencies(path: Path) -> LatencyFile:
    """Read a file of measured times.

    Raises:
        UserError: unreadable, not JSON, or not of this schema; the first problem is named.
    """
    return read_record(LatencyFile, path, "not what tools/latency.py --json prints")
