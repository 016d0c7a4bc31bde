"""Training and evaluating a config: what tools/train.py and the evaluation tools call."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

from benchmark.checkpoints import list_checkpoints, write_atomically
from benchmark.config import DATALOADERS, complete_model, config_name, config_sha256, load_config
from benchmark.errors import UserError
from benchmark.preflight import check_data
from benchmark.results import (
    FILE_NAME,
    ConfigRecord,
    CostRecord,
    DataRecord,
    Result,
    TrainingRecord,
    peak_memory,
    provenance,
    read_result,
)
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.hooks import CostHook
    from benchmark.runner import BenchmarkRunner

PICTURES = "pictures"
SCORE_DRAWN = 0.3
_RUN_FILES = (FILE_NAME, "config.py", "run.log")


@dataclass(frozen=True)
class Options:
    """What the command lines of all tools say about a run; see ``benchmark.cli.config_parser``."""

    config: Path
    work_dir: Path | None = None
    cfg_options: Sequence[str] = ()
    data_root: Path | None = None
    demo: bool = False
    precision: str = "fp32"
    launcher: str = "auto"


def train(
    options: Options,
    *,
    pretrained: str | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    pictures: int = 0,
) -> Result:
    """Train a config, evaluate the final weights, and write the run's ``result.json``.

    Args:
        options: what to run, and how.
        pretrained: weights for the backbone in place of the config's; ``none`` for random ones.
        seed: of all random numbers.
        resume: go on from the newest checkpoint of the run's folder.
        overwrite: replace a run that is in the folder.
        pictures: how many validation pictures to draw detections on.

    Raises:
        UserError: whatever the user can mend, most of it before a model is built.
    """
    cfg = load_config(
        options.config,
        options=options.cfg_options,
        data_root=options.data_root,
        demo=options.demo,
        pretrained=pretrained,
    )
    work_dir = options.work_dir or Path("work_dirs") / (config_name(cfg) + ("_demo" if options.demo else ""))
    checkpoint = _prepare_folder(work_dir, resume, overwrite)
    _prepare_data(cfg, DATALOADERS)
    cfg.work_dir, cfg.resume, cfg.load_from = str(work_dir), resume, checkpoint and str(checkpoint)
    cfg.randomness = {"seed": seed}
    cfg.optim_wrapper.type, cfg.optim_wrapper.precision = "AutocastOptimWrapper", options.precision
    runner = _build_runner(cfg, options.launcher)
    runner.train()
    if _cost(runner).metrics is None:  # resumed after its last iteration
        runner.val()
    return _finish(runner, cfg, "fp32", _training_record(runner, cfg, options.precision), pictures=pictures)


def evaluate(
    options: Options,
    checkpoint: Path,
    *,
    tool: str,
    out: Path | None = None,
    pictures: int = 0,
    per_class: bool = False,
) -> Result:
    """Evaluate a checkpoint on its config's validation split and write ``result.json``.

    Args:
        options: what to run, and how; without a work_dir the result is written beside the checkpoint.
        checkpoint: a .pth file of a run.
        tool: the calling tool; a config that another tool is for is refused.
        out: file for the detections in COCO's results format.
        pictures: how many pictures to draw detections on.
        per_class: keep the figures by class in the result.

    Raises:
        UserError: whatever the user can mend.
    """
    cfg = load_config(options.config, options=options.cfg_options, data_root=options.data_root, demo=options.demo)
    if TASKS[cfg.task].tool != tool:
        raise UserError(f"{options.config} is a {cfg.task} config: evaluate it with tools/{TASKS[cfg.task].tool}.")
    if not checkpoint.is_file():
        raise UserError(f"Checkpoint not found: {checkpoint}.")
    work_dir = options.work_dir or checkpoint.parent
    previous = _previous_result(work_dir, cfg)
    _prepare_data(cfg, ("val_dataloader",))
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "auto_scale_lr"):
        cfg.pop(key, None)
    cfg.work_dir, cfg.load_from = str(work_dir), str(checkpoint)
    runner = _build_runner(cfg, options.launcher)
    from benchmark.precision import autocast

    runner.load_or_resume()
    with autocast(options.precision):
        runner.val()
    training = previous.training if previous else None
    return _finish(runner, cfg, options.precision, training, out=out, pictures=pictures, per_class=per_class)


def format_figures(result: Result) -> str:
    """Return the figures as COCO names them, in percent, a line for box and one for mask."""
    lines = []
    for prefix in ("box", "mask"):
        named = {name: value for name, value in result.metrics.items() if name.startswith(prefix)}
        texts = [
            f"{name.partition('_')[2]} {'-' if value is None else f'{value:.1f}'}" for name, value in named.items()
        ]
        if texts:
            lines.append(f"{prefix:>4}  {'  '.join(texts)}")
    return "\n".join(lines)


def format_per_class(result: Result) -> str:
    """Return AP by class in percent, a line a class."""
    return "\n".join(
        f"{name:>20}  {'-' if value is None else f'{value:.1f}'}"
        for figures in result.per_class.values()
        for name, value in figures.items()
    )


def is_main() -> bool:
    """Tell whether this is the process that writes; before and after the process group stands."""
    return os.environ.get("RANK", "0") == "0"


def _prepare_folder(work_dir: Path, resume: bool, overwrite: bool) -> Path | None:
    """Make the run's folder and return the checkpoint to resume from."""
    checkpoints = list_checkpoints(work_dir)
    if resume:
        if not checkpoints:
            raise UserError(
                f"Nothing to resume: {work_dir} holds no checkpoint iter_*.pth. Leave --resume out to begin."
            )
        return checkpoints[-1]
    found = [*checkpoints, *(work_dir / name for name in _RUN_FILES if (work_dir / name).exists())]
    if is_main():
        if found and not overwrite:
            raise UserError(
                f"{work_dir} already holds a run ({found[0].name}): --resume goes on with it, --overwrite replaces it, "
                "--work-dir puts the new one elsewhere."
            )
        for path in found:
            path.unlink()
        for folder in ("vis_data", PICTURES):
            shutil.rmtree(work_dir / folder, ignore_errors=True)
    return None


def _prepare_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Generate the demo's data, and check the data before anything heavy is imported; the other processes wait."""
    if not is_main():
        return
    if cfg.get("demo"):
        from benchmark.demo import make_demo_data

        make_demo_data(Path(cfg.data_root), train_images=cfg.train_images, val_images=cfg.val_images)
    check_data(cfg, loaders)


def _build_runner(cfg: Config, launcher: str) -> "BenchmarkRunner":
    from benchmark.runner import BenchmarkRunner, init_distributed

    cfg.launcher = init_distributed(launcher)
    import benchmark.registration  # noqa: F401

    complete_model(cfg)
    cfg.experiment_name = f"{config_name(cfg)}-{os.getpid()}-{id(cfg)}"  # MMEngine keeps one log and hub a name
    return BenchmarkRunner.from_cfg(cfg)


def _training_record(runner: "BenchmarkRunner", cfg: Config, precision: str) -> TrainingRecord:
    hub, loader = runner.message_hub, runner.train_dataloader
    seconds = hub.get_info("train_seconds")
    batch_size = loader.batch_size * runner.world_size
    return TrainingRecord(
        iterations=runner.max_iters,
        batch_size=batch_size,
        learning_rate=runner.optim_wrapper.optimizer.param_groups[0]["initial_lr"],
        precision=precision,
        pretrained=cfg.model.backbone.get("pretrained"),
        seed=runner.seed,
        world_size=runner.world_size,
        images_per_second=runner.max_iters * batch_size / seconds,
        hours=seconds / 3600,
        peak_memory=hub.get_info("train_peak_memory"),
        unreadable_images=loader.dataset.unreadable_images,
    )


def _finish(
    runner: "BenchmarkRunner",
    cfg: Config,
    precision: str,
    training: TrainingRecord | None,
    *,
    out: Path | None = None,
    pictures: int = 0,
    per_class: bool = False,
) -> Result:
    """Put the result together and, on the main process, write it and what was asked for beside it."""
    from benchmark.complexity import detector_complexity
    from benchmark.metrics import file_sha256

    metric, cost, dataset = runner.val_evaluator.metrics[0], _cost(runner), cfg.val_dataloader.dataset
    complexity = detector_complexity(cfg)
    images = len(runner.val_dataloader.dataset)
    result = Result(
        task=cfg.task,
        backbone=cfg.model.backbone.name,
        config=ConfigRecord(name=config_name(cfg), sha256=config_sha256(cfg)),
        data=DataRecord(
            name=cfg.dataset_name,
            split=Path(dataset.ann_file).stem.removeprefix("instances_"),
            images=images,
            annotations_sha256=file_sha256(metric.ann_file),
            demo=bool(cfg.get("demo")),
            partial=images != cfg.val_images,
        ),
        metrics=cost.metrics,
        per_class=metric.per_class if per_class else {},
        cost=CostRecord(
            params=complexity.params,
            macs=complexity.macs,
            input=complexity.input,
            eval_images_per_second=images / cost.eval_seconds,
            peak_memory=peak_memory(),
        ),
        training=training,
        provenance=provenance(precision),
    )
    if is_main():
        folder = Path(cfg.work_dir)
        result.write(folder)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out, lambda temporary: temporary.write_text(json.dumps(metric.detections)))
        if pictures:
            _draw(folder / PICTURES, cfg, metric.detections, pictures)
    return result


def _draw(folder: Path, cfg: Config, detections: Sequence[dict], count: int) -> None:
    from benchmark.pictures import contact_sheet, draw_detections
    from benchmark.preflight import read_annotations

    folder.mkdir(parents=True, exist_ok=True)
    dataset = cfg.val_dataloader.dataset
    root = Path(dataset.data_root)
    truth = read_annotations(root / dataset.ann_file)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    drawn = []
    for image in truth["images"][:count]:
        own = [detection for detection in detections if detection["image_id"] == image["id"]]
        picture = draw_detections(root / dataset.data_prefix.img / image["file_name"], own, names, SCORE_DRAWN)
        picture.save(folder / f"{Path(image['file_name']).stem}.png")
        drawn.append(picture)
    contact_sheet(drawn).save(folder / "sheet.png")


def _previous_result(work_dir: Path, cfg: Config) -> Result | None:
    path = work_dir / FILE_NAME
    if not path.is_file():
        return None
    previous = read_result(path)
    ours, theirs = (config_name(cfg), cfg.dataset_name), (previous.config.name, previous.data.name)
    if ours != theirs:
        raise UserError(
            f"{path} holds the figures of {' on '.join(theirs)}: give --work-dir for those of {' on '.join(ours)}."
        )
    return previous


def _cost(runner: "BenchmarkRunner") -> "CostHook":
    from benchmark.hooks import CostHook

    return next(hook for hook in runner.hooks if isinstance(hook, CostHook))
