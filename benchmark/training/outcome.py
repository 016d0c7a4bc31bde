"""What a run leaves behind: its result, what the figures were counted from, and pictures."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from PIL import Image

from benchmark.config.load import config_name
from benchmark.data.annotations import read_annotations
from benchmark.data.decode import read_image
from benchmark.files.atomic import make_folder
from benchmark.files.run_folder import ANSWERS, DRAWN, PICTURES, SHEET
from benchmark.measuring.memory import peak_memory
from benchmark.records.result import ConfigRecord, CostRecord, DataRecord, OwnDataRecord, Result, TrainingRecord
from benchmark.tasks import TASKS
from benchmark.training.hooks import CostHook
from benchmark.training.plan import Plan
from benchmark.training.processes import is_main
from benchmark.training.provenance import provenance

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset

    from benchmark.training.runner import BenchmarkRunner

SCORE_DRAWN = 0.3


def finish(
    runner: "BenchmarkRunner",
    plan: Plan,
    training: TrainingRecord | None,
    *,
    precision: str = "fp32",
    out: Path | None = None,
    pictures: int = 0,
    per_class: bool = False,
    bootstrap: int = 0,
) -> Result:
    """Put the result together and, on the main process, write it and what was asked for.

    Args:
        runner: after its evaluation.
        plan: of the run.
        training: how the weights were trained.
        precision: of the evaluation.
        out: file for what the figures were counted from, beside the one in the run's folder.
        pictures: how many pictures to draw detections on.
        per_class: keep the figures by class in the result.
        bootstrap: resamples of the images for 95% intervals; 0 leaves them out.
    """
    cfg, metric, cost = plan.cfg, runner.val_evaluator.metrics[0], _cost(runner)
    assert cost.metrics is not None and cost.eval_seconds is not None  # the evaluation is over
    dataset = runner.val_dataloader.dataset
    result = Result(
        task=cfg.task,
        backbone=cfg.model.backbone.name,
        config=ConfigRecord(name=config_name(cfg), sha256=plan.sha256),
        data=DataRecord(
            name=cfg.dataset_name,
            split=metric.split,
            images=len(dataset) - len(metric.unreadable),
            annotations_sha256=metric.annotations_sha256,
            demo=bool(cfg.get("demo")),
            partial=is_partial(dataset, cfg.get("val_images")),
            unreadable=metric.unreadable,
            own=OwnDataRecord(**cfg.own_data) if "own_data" in cfg else None,
        ),
        metrics=cost.metrics,
        intervals=metric.intervals(bootstrap) if bootstrap and is_main() else {},
        per_class=metric.per_class if per_class else {},
        cost=CostRecord(
            params=plan.complexity.params,
            macs=plan.complexity.macs,
            input=plan.complexity.input,
            eval_images_per_second=len(dataset) / cost.eval_seconds,
            peak_memory=peak_memory(),
        ),
        training=training,
        checkpoint=plan.evaluates,
        provenance=provenance(precision),
    )
    if is_main():
        result.write(plan.work_dir)
        metric.save(plan.work_dir / metric.file_name)
        if TASKS[cfg.task].kind == "classifier":
            metric.save_answers(plan.work_dir / ANSWERS)
        if out:
            make_folder(out.parent)
            metric.save(out)
        if pictures:
            _draw(plan.work_dir / PICTURES, cfg, metric.detections, pictures, left_out=metric.unreadable)
    return result


def is_partial(dataset: "BaseDataset", expected: int | None = None) -> bool:
    """Tell whether a data set is smaller than the official one, by its own word or by the number it should have."""
    return dataset.metainfo.get("partial", expected is not None and len(dataset) != expected)


def _draw(folder: Path, cfg: Config, detections: Sequence[dict], count: int, *, left_out: Collection[str] = ()) -> None:
    from benchmark.evaluation.pictures import contact_sheet, draw_on, save_drawn

    dataset = cfg.val_dataloader.dataset
    root = Path(dataset.data_root)
    truth = read_annotations(root / dataset.ann_file)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    drawn = []
    for image in [image for image in truth["images"] if image["file_name"] not in left_out][:count]:
        own = [detection for detection in detections if detection["image_id"] == image["id"]]
        path = root / dataset.data_prefix.img / image["file_name"]
        pixels = read_image(str(path), "RGB", (image["height"], image["width"]))
        picture = draw_on(Image.fromarray(pixels), own, names, SCORE_DRAWN)
        save_drawn(picture, folder / DRAWN / f"{_place(image)}.png")
        drawn.append(picture)
    save_drawn(contact_sheet(drawn), folder / SHEET)


def _place(image: Mapping[str, Any]) -> str:
    """Return where a picture is drawn: at its place in the data set or, if it lies outside, at its id."""
    place = os.path.normpath(image["file_name"])
    outside = os.path.isabs(place) or place.startswith("..")
    return f"image_{image['id']}" if outside else place


def _cost(runner: "BenchmarkRunner") -> CostHook:
    return next(hook for hook in runner.hooks if isinstance(hook, CostHook))
