"""``result.json``: what a run measured and what it stands on. The only schema; every table derives from it.

A figure that was not measured is null. Accuracy is in percent, "macs" are multiply-adds.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from backbones.errors import UserError, did_you_mean
from benchmark.files.atomic import write_atomically
from benchmark.files.reading import read_regular
from benchmark.files.run_folder import RESULT
from benchmark.records.figures import FIGURES
from benchmark.records.schema import Strict, first_problem
from benchmark.tasks import TASKS


class ConfigRecord(Strict):
    """Which config: its name, and the hash of its resolved text."""

    name: str
    sha256: str


class OwnDataRecord(Strict):
    """How a user's own data were read.

    Attributes:
        layout: as it was recognised.
        validation: which of its splits is evaluated; ``drawn`` where it has none, and pictures were drawn for it.
        seed: of the pictures drawn.
    """

    layout: str
    validation: str
    seed: int | None


class DataRecord(Strict):
    """On what the figures were measured.

    Attributes:
        annotations_sha256: of the annotation file, or of the list of labels.
        demo: generated data; such results never stand beside real ones.
        images: how many there were to evaluate, without the unreadable ones.
        partial: fewer images than the official split.
        unreadable: names of the pictures that could not be read and were left out.
        own: of a user's own data.
    """

    name: str
    split: str
    images: int = Field(gt=0)
    annotations_sha256: str
    demo: bool = False
    partial: bool = False
    unreadable: tuple[str, ...] = ()
    own: OwnDataRecord | None = None


class CostRecord(Strict):
    """What it costs: macs at ``input`` (N, C, H, W), without a mask head; peak memory in bytes on one device."""

    params: int = Field(gt=0)
    macs: int = Field(gt=0)
    input: tuple[int, int, int, int]
    eval_images_per_second: float | None = None
    peak_memory: int | None = None


class SearchRecord(Strict):
    """How a learning rate was found: by a range test, whose weights were thrown away.

    Attributes:
        iterations: of the search, in addition to the training's.
        rates: of each.
        losses: before the update with each, null for one that was not finite.
    """

    iterations: int
    rates: tuple[float, ...]
    losses: tuple[float | None, ...]


class TrainingRecord(Strict):
    """How the weights were trained; absent where a checkpoint came from elsewhere.

    Attributes:
        batch_size: images per iteration, over all processes.
        learning_rate: after scaling to the batch, or as it was found.
        compiled: the backbone was, by torch.compile.
        hours: of training, resumed parts included, evaluation left out.
        peak_memory: in bytes on one device.
        unreadable_images: how often a corrupt picture was skipped.
        partial: on fewer images than the official split.
        images: number of images trained on, the usable ones.
        subset_of: how many usable ones there were where a part was trained on (--fraction, --images); else None.
        subset_seed: what that part was drawn with.
        search: how the learning rate was found; None where the config or the command line says it.
        planned: iterations that the training would have had without its early stop; None where it had them all.
        early_stop: evaluations without a better figure that it stops after, None for none.
        ema: least momentum of the moving average that the weights are; None for the last weights themselves.
        frozen_stages: the backbone was frozen up to and including C(k+1); None for nothing.
        accumulate: parts that each batch was taken in.
    """

    iterations: int
    batch_size: int
    learning_rate: float
    precision: str
    pretrained: str | None
    seed: int | None
    world_size: int
    compiled: bool = False
    images_per_second: float | None = None
    hours: float | None = None
    peak_memory: int | None = None
    unreadable_images: int = 0
    partial: bool = False
    images: int | None = None
    subset_of: int | None = None
    subset_seed: int | None = None
    search: SearchRecord | None = None
    planned: int | None = None
    early_stop: int | None = None
    ema: float | None = None
    frozen_stages: int | None = None
    accumulate: int = 1

    @property
    def part(self) -> str:
        """What was trained on, in words: ``40 of 400 images``."""
        if self.subset_of is None:
            return "all images" if self.images is None else f"all {self.images} images"
        return f"{self.images} of {self.subset_of} images"


class CheckpointRecord(Strict):
    """Which weights were evaluated.

    Attributes:
        file: name of the checkpoint, or where pretrained weights are from.
        sha256: of the file; of the tensors alone for pretrained weights.
        iteration: how many of its training it has seen, None where it does not say.
    """

    file: str
    sha256: str
    iteration: int | None


class Provenance(Strict):
    """Where from: code, packages, machine, date (UTC)."""

    git_commit: str | None
    git_dirty: bool | None
    versions: dict[str, str]
    python: str
    device: str
    precision: str
    world_size: int
    date: str


class Result(Strict):
    """The figures of one checkpoint.

    Attributes:
        metrics: by name, a key of ``FIGURES``; null where nothing was to be measured.
        intervals: 95% bootstrap interval of a figure by its name; over images, not over seeds. Empty unless asked for.
        per_class: AP or accuracy by class name, by prefix (``box``, ``mask``, ``top1``).
        training: what the weights come from.
        checkpoint: which weights; None for the last ones of ``training``.
    """

    schema_version: Literal[1] = 1
    task: str
    backbone: str
    config: ConfigRecord
    data: DataRecord
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    per_class: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    cost: CostRecord
    training: TrainingRecord | None
    checkpoint: CheckpointRecord | None = None
    provenance: Provenance

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}, expected one of {', '.join(TASKS)}")
        return task

    @field_validator("metrics", "intervals")
    @classmethod
    def _known_figures(cls, figures: dict) -> dict:
        for name in figures:
            if name not in FIGURES:
                expected = ", ".join(FIGURES)
                raise ValueError(f"unknown figure {name!r}, expected {expected}.{did_you_mean(name, FIGURES)}")
        return figures

    @property
    def other_weights(self) -> str | None:
        """What weights these are, if they are not known to be the last ones of the training; None if they are."""
        if self.checkpoint is None:
            return None
        iteration = self.checkpoint.iteration
        if self.training is None or iteration is None:
            return f"checkpoint {self.checkpoint.file}"
        return None if iteration == self.training.iterations else f"iteration {iteration} of {self.training.iterations}"

    def write(self, folder: Path) -> Path:
        """Write ``result.json`` into a run's folder and return its path."""
        path = folder / RESULT
        write_atomically(path, lambda temporary: temporary.write_text(self.model_dump_json(indent=2) + "\n"))
        return path


def read_result(path: Path) -> Result:
    """Read and validate a result.json.

    Raises:
        UserError: unreadable, not JSON, or not of this schema; the first problem is named.
    """
    try:
        # Strict: True or "25.3" is no number.
        return Result.model_validate_json(read_regular(path), strict=True)
    except OSError as error:
        raise UserError(f"{path} is not readable JSON: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise UserError(f"{path} is not readable JSON: {first['msg'].removeprefix('Invalid JSON: ')}.") from error
        raise UserError(f"{path} is not a result of this benchmark: {first_problem(error)}.") from error


def format_per_class(result: Result) -> str:
    """Return AP or accuracy by class in percent, a line per class."""
    return "\n".join(
        f"{name:>20}  {'-' if value is None else f'{value:.1f}'}"
        for figures in result.per_class.values()
        for name, value in figures.items()
    )
