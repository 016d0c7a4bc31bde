"""``result.json``: what a run measured and what it stands on. The only schema; every table derives from it.

A figure that was not measured is null. Accuracy is in percent, "macs" are multiply-adds.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from backbones.errors import UserError
from benchmark.tasks import TASKS

FILE_NAME = "result.json"
DETECTIONS = "detections.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ConfigRecord(_Strict):
    """Which config: its name, and the hash of its resolved text."""

    name: str
    sha256: str


class DataRecord(_Strict):
    """On what the figures were measured.

    Attributes:
        annotations_sha256: of the annotation file, or of the list of labels.
        demo: generated data; such results never stand beside real ones.
        partial: fewer images than the official split.
    """

    name: str
    split: str
    images: int = Field(gt=0)
    annotations_sha256: str
    demo: bool = False
    partial: bool = False


class CostRecord(_Strict):
    """What it costs: macs at ``input`` (N, C, H, W), without a mask head; peak memory in bytes on one device."""

    params: int = Field(gt=0)
    macs: int = Field(gt=0)
    input: tuple[int, int, int, int]
    eval_images_per_second: float | None = None
    peak_memory: int | None = None


class TrainingRecord(_Strict):
    """How the weights were trained; absent where a checkpoint came from elsewhere.

    Attributes:
        batch_size: images an iteration, over all processes.
        learning_rate: after scaling to the batch.
        hours: of training, resumed parts included, evaluation left out.
        peak_memory: in bytes on one device.
        unreadable_images: how often a corrupt picture was passed over.
        partial: on fewer images than the official split.
    """

    iterations: int
    batch_size: int
    learning_rate: float
    precision: str
    pretrained: str | None
    seed: int | None
    world_size: int
    images_per_second: float | None = None
    hours: float | None = None
    peak_memory: int | None = None
    unreadable_images: int = 0
    partial: bool = False


class Provenance(_Strict):
    """Where from: code, packages, machine, date (UTC)."""

    git_commit: str | None
    git_dirty: bool | None
    versions: dict[str, str]
    python: str
    device: str
    precision: str
    world_size: int
    date: str


class Result(_Strict):
    """One run's figures.

    Attributes:
        metrics: ``box_AP``, ``box_AP50``, ``box_AP75``, ``box_APs``, ``box_APm``, ``box_APl``, the same with
            ``mask_``, ``top1``, ``top5``, ``mean_per_class``; percent or null.
        intervals: 95% bootstrap interval of a figure by its name, in percent; over images, not over seeds. Empty unless
            asked for.
        per_class: AP or accuracy by class name, by prefix (``box``, ``mask``, ``top1``).
    """

    schema_version: Literal[1] = 1
    task: str
    backbone: str
    config: ConfigRecord
    data: DataRecord
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    cost: CostRecord
    training: TrainingRecord | None
    provenance: Provenance

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}, expected one of {', '.join(TASKS)}")
        return task

    def write(self, folder: Path) -> Path:
        """Write ``result.json`` into a run's folder and return its path."""
        from benchmark.files.atomic import write_atomically

        path = folder / FILE_NAME
        write_atomically(path, lambda temporary: temporary.write_text(self.model_dump_json(indent=2) + "\n"))
        return path


def read_result(path: Path) -> Result:
    """Read and validate a result.json.

    Raises:
        UserError: unreadable, not JSON, or not of this schema; the first problem is named.
    """
    try:
        # Strict: True or "25.3" is no number.
        return Result.model_validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise UserError(f"{path} is not readable JSON: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise UserError(f"{path} is not readable JSON: {first['msg'].removeprefix('Invalid JSON: ')}.") from error
        place = ".".join(str(part) for part in first["loc"]) or "top level"
        raise UserError(f"{path} is not a result of this benchmark: {place}: {first['msg']}.") from error


def format_figures(result: Result) -> str:
    """Return the figures in percent: AP as COCO names it, a line for box and one for mask; accuracy in one line.

    A 95% interval over images follows its figure in brackets.
    """
    lines: dict[str, list[str]] = {}
    for name, value in result.metrics.items():
        prefix, _, rest = name.partition("_")
        line, short = (prefix, rest) if prefix in ("box", "mask") else ("", name)
        interval = " ({:.1f} to {:.1f})".format(*result.intervals[name]) if name in result.intervals else ""
        lines.setdefault(line, []).append(f"{short} {'-' if value is None else f'{value:.1f}'}{interval}")
    return "\n".join(f"{prefix:>4}  {'  '.join(texts)}" for prefix, texts in lines.items())


def format_per_class(result: Result) -> str:
    """Return AP or accuracy by class in percent, a line a class."""
    return "\n".join(
        f"{name:>20}  {'-' if value is None else f'{value:.1f}'}"
        for figures in result.per_class.values()
        for name, value in figures.items()
    )
