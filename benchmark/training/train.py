"""Training and evaluating a config: what tools/train.py and the evaluation tools call."""

import os
import shutil
import uuid
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from backbones.errors import UserError, as_user_errors
from benchmark.cli import Options
from benchmark.config.load import DATALOADERS, complete_model, config_name, config_sha256, load_config
from benchmark.files.checkpoints import BEST, checkpoint_iteration, list_checkpoints, load_checkpoint, newest_intact
from benchmark.measuring.memory import peak_memory
from benchmark.preflight import check_data
from benchmark.preflight.run import check_disk
from benchmark.records.result import (
    DETECTIONS,
    FILE_NAME,
    ConfigRecord,
    CostRecord,
    DataRecord,
    Result,
    TrainingRecord,
    read_result,
)
from benchmark.tasks import TASKS
from benchmark.training.provenance import provenance

if TYPE_CHECKING:
    from mmengine.hooks import Hook
    from torch.utils.data import Dataset

    from benchmark.evaluation.coco_ap import CocoAP
    from benchmark.training.hooks import CostHook
    from benchmark.training.runner import BenchmarkRunner

PICTURES = "pictures"
SCORE_DRAWN = 0.3
_RUN_FILES = (FILE_NAME, DETECTIONS, BEST, "config.py", "run.log")


def train(
    options: Options,
    *,
    pretrained: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    resume_anyway: bool = False,
    overwrite: bool = False,
    save_interval: str | None = None,
    keep: int | None = None,
    pictures: int = 0,
    hooks: Sequence["Hook"] = (),
) -> Result:
    """Train a config, evaluate the final weights, and write the run's ``result.json``.

    Args:
        options: what to run, and how.
        pretrained: weights for the backbone in place of the config's; ``none`` for random ones.
        steps: length of the training in iterations, in place of the config's.
        seed: of all random numbers.
        resume: go on from the newest intact checkpoint of the run's folder. torchrun's restarts do so by themselves.
        resume_anyway: likewise, also with another config, other data or another number of processes.
        overwrite: replace a run that is in the folder.
        save_interval: iterations (``500``) or minutes (``30m``) between checkpoints, in place of the config's.
        keep: how many of the newest checkpoints to keep, in place of the config's.
        pictures: how many validation pictures to draw detections on.
        hooks: to run beside the config's.

    Raises:
        UserError: whatever the user can mend, most of it before a model is built.
    """
    with as_user_errors(str(options.config)):
        cfg = load_options(options, pretrained=pretrained, steps=steps)
        if pictures and "ann_file" not in cfg.val_dataloader.dataset:
            raise UserError(f"--pictures draws detections, and {options.config} is a {cfg.task} config: leave it out.")
        if cfg.get("load_from") or cfg.get("resume"):
            raise UserError("load_from and resume are no settings here: use --pretrained FILE or --resume.")
        cfg.randomness = {"seed": seed}
        saving = {key: value for key, value in (("interval", save_interval), ("keep", keep)) if value is not None}
        cfg.default_hooks.checkpoint.update(saving)
        cfg.resume_anyway = resume_anyway
        runner = _build_training(cfg, options, resume=resume, overwrite=overwrite)
        for hook in hooks:
            runner.register_hook(hook)
        runner.train()
        return _finish(runner, cfg, "fp32", _training_record(runner, cfg, options.precision), pictures=pictures)


def evaluate(
    options: Options,
    checkpoint: Path,
    *,
    tool: str,
    out: Path | None = None,
    pictures: int = 0,
    per_class: bool = False,
    bootstrap: int = 0,
) -> Result:
    """Evaluate a checkpoint on its config's validation split and write ``result.json``.

    Args:
        options: what to run, and how; without a work_dir the result is written beside the checkpoint.
        checkpoint: a .pth file of a run.
        tool: the calling tool; a config that another tool is for is refused.
        out: file for what the figures were counted from: detections in COCO's results format, or the confusion matrix.
        pictures: how many pictures to draw detections on.
        per_class: keep the figures by class in the result.
        bootstrap: resamples of the images for a detector's 95% intervals; 0 leaves them out.

    Raises:
        UserError: whatever the user can mend.
    """
    with as_user_errors(str(options.config)):
        cfg = load_options(options)
        if TASKS[cfg.task].tool != tool:
            raise UserError(f"{options.config} is a {cfg.task} config: evaluate it with tools/{TASKS[cfg.task].tool}.")
        work_dir = options.work_dir or checkpoint.parent
        previous = _previous_result(work_dir, cfg)
        warnings = _prepare_data(cfg, ("val_dataloader",))
        load_checkpoint(checkpoint)  # a file that is none is an error before anything is built
        _complete(cfg, options.launcher)
        for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "auto_scale_lr"):
            cfg.pop(key, None)
        cfg.work_dir, cfg.load_from = str(work_dir), str(checkpoint)
        runner = _build_runner(cfg, warnings)
        from benchmark.models.precision import autocast

        runner.load_or_resume()
        with autocast(options.precision):
            runner.val()
        training = previous.training if previous else None
        extras = {"out": out, "pictures": pictures, "per_class": per_class, "bootstrap": bootstrap}
        return _finish(runner, cfg, options.precision, training, **extras)


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


def print_figures(result: Result) -> None:
    """Print a result's figures, by class where it has them, on the main process."""
    if is_main():
        print("\n".join(filter(None, [format_per_class(result), format_figures(result)])))


def is_main() -> bool:
    """Tell whether this is the process that writes; before and after the process group stands."""
    return os.environ.get("RANK", "0") == "0"


def load_options(options: Options, **training: Any) -> Config:
    """Read the config of a run; ``training`` as in ``load_config``."""
    return load_config(
        options.config,
        options=options.cfg_options,
        data_root=options.data_root,
        demo=options.demo,
        batch_size=options.batch_size,
        allow_partial=options.allow_partial,
        **training,
    )


def _is_restart() -> bool:
    """Tell whether torchrun has started this process again after a failure (``--max-restarts``)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _find_checkpoint(work_dir: Path) -> tuple[Path, list[str]]:
    """Return the checkpoint to go on from, and what is wrong with newer ones."""
    checkpoint, problems = newest_intact(work_dir)
    if checkpoint:
        return checkpoint, problems
    found = " ".join(problems) or f"{work_dir} holds no checkpoint iter_*.pth."
    raise UserError(f"Nothing to resume: {found} Leave --resume out to begin.")


def _rewind(work_dir: Path, checkpoint: Path) -> None:
    """Set the damaged checkpoints aside, and take out of the logs what the run will do again."""
    from benchmark.training.tensorboard import rewind

    iteration = checkpoint_iteration(checkpoint)
    for path in list_checkpoints(work_dir):
        if checkpoint_iteration(path) > iteration:
            path.rename(path.with_suffix(".pth.damaged"))
    rewind(work_dir / "vis_data", iteration)


def _run_files(work_dir: Path) -> list[Path]:
    return [*list_checkpoints(work_dir), *(work_dir / name for name in _RUN_FILES if (work_dir / name).exists())]


def _check_unused(work_dir: Path) -> None:
    found = _run_files(work_dir)
    if found and is_main():
        raise UserError(
            f"{work_dir} already holds a run ({found[0].name}): --resume goes on with it, --overwrite replaces it, "
            "--work-dir puts the new one elsewhere."
        )


def _clear(work_dir: Path) -> None:
    """Remove a run, and nothing that is not part of one."""
    for path in _run_files(work_dir):
        path.unlink()
    for folder in ("vis_data", PICTURES):
        shutil.rmtree(work_dir / folder, ignore_errors=True)


def _prepare_data(cfg: Config, loaders: Sequence[str]) -> list[str]:
    """Generate the demo's data, check the data before anything heavy is imported, and return what is to be said of it.

    The other processes wait.
    """
    if not is_main():
        return []
    if cfg.get("demo"):
        make_demo_data = import_module(cfg.demo.module).make_demo_data
        make_demo_data(Path(cfg.data_root), train_images=cfg.train_images, val_images=cfg.val_images)
    return check_data(cfg, loaders).warnings


def _complete(cfg: Config, launcher: str) -> None:
    """Fill in what follows from the backbone, join the other processes, and register the benchmark's parts."""
    complete_model(cfg)  # first: an unknown name need not wait for all of MMDetection
    from benchmark.training.runner import init_distributed

    cfg.launcher = init_distributed(launcher)
    from benchmark.training.registration import register

    register()

    cfg.config_sha256 = config_sha256(cfg)
    cfg.experiment_name = f"{config_name(cfg)}-{uuid.uuid4().hex}"  # MMEngine keeps one log and hub a name


def _build_training(cfg: Config, options: Options, *, resume: bool, overwrite: bool) -> "BenchmarkRunner":
    """Find what to go on from, check everything there is to check, and build the runner of a training."""
    work_dir = options.work_dir or Path("work_dirs") / (config_name(cfg) + ("_demo" if options.demo else ""))
    if cfg.resume_anyway or _is_restart():
        resume, overwrite = (True, False) if list_checkpoints(work_dir) else (cfg.resume_anyway, True)
    checkpoint, passed_over = _find_checkpoint(work_dir) if resume else (None, [])
    if not (resume or overwrite):
        _check_unused(work_dir)
    warnings = _prepare_data(cfg, DATALOADERS)
    _complete(cfg, options.launcher)
    cfg.optim_wrapper.type, cfg.optim_wrapper.precision = "AutocastOptimWrapper", options.precision
    cfg.work_dir, cfg.resume, cfg.load_from = str(work_dir), resume, checkpoint and str(checkpoint)
    if overwrite and not resume and is_main():
        _clear(work_dir)
    if checkpoint and is_main():
        _rewind(work_dir, checkpoint)
    runner = _build_runner(cfg, (*warnings, *(f"Passed over: {problem}" for problem in passed_over)))
    if cfg.get("demo") and cfg.model.backbone.get("norm_eval") is False:
        runner.logger.info("The backbone's BN is trained, not frozen: the demo begins with random weights.")
    _check_room(cfg, runner)
    return runner


def _build_runner(cfg: Config, warnings: Sequence[str]) -> "BenchmarkRunner":
    """Build the runner, and log what is to be said before it starts."""
    from benchmark.training.runner import BenchmarkRunner

    runner = BenchmarkRunner.from_cfg(cfg)
    for warning in warnings:
        runner.logger.warning(warning)
    return runner


def _check_room(cfg: Config, runner: "BenchmarkRunner") -> None:
    """Refuse to begin a training whose checkpoints the disk cannot hold."""
    row = check_disk(cfg, sum(parameter.numel() for parameter in runner.model.parameters()))
    if row.status == "error":
        raise UserError(row.message)


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
        unreadable_images=_sum(hub.get_info("unreadable_images")),
        partial=_is_partial(loader.dataset, None),
    )


def _sum(number: int) -> int:
    """Return the sum over all processes."""
    import torch
    from mmengine.dist import all_reduce

    total = torch.tensor(number)
    all_reduce(total)
    return int(total)


def _is_partial(dataset: "Dataset", expected: int | None) -> bool:
    """Tell whether a data set is smaller than the official one, by its own word or by the number it should have."""
    return dataset.metainfo.get("partial", expected is not None and len(dataset) != expected)


def _finish(
    runner: "BenchmarkRunner",
    cfg: Config,
    precision: str,
    training: TrainingRecord | None,
    *,
    out: Path | None = None,
    pictures: int = 0,
    per_class: bool = False,
    bootstrap: int = 0,
) -> Result:
    """Put the result together and, on the main process, write it and what was asked for beside it."""
    from benchmark.measuring.complexity import config_complexity

    metric, cost = runner.val_evaluator.metrics[0], _cost(runner)
    complexity = config_complexity(cfg)
    images = len(runner.val_dataloader.dataset)
    result = Result(
        task=cfg.task,
        backbone=cfg.model.backbone.name,
        config=ConfigRecord(name=config_name(cfg), sha256=cfg.config_sha256),
        data=DataRecord(
            name=cfg.dataset_name,
            split=metric.split,
            images=images,
            annotations_sha256=metric.annotations_sha256,
            demo=bool(cfg.get("demo")),
            partial=_is_partial(runner.val_dataloader.dataset, cfg.get("val_images")),
        ),
        metrics=cost.metrics,
        intervals=_intervals(metric, bootstrap) if bootstrap and is_main() else {},
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
        metric.save(folder / metric.file_name)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            metric.save(out)
        if pictures:
            _draw(folder / PICTURES, cfg, metric.detections, pictures)
    return result


def _intervals(metric: "CocoAP", resamples: int) -> dict[str, tuple[float, float]]:
    from benchmark.evaluation.bootstrap import bootstrap, match
    from benchmark.evaluation.coco_ap import PREFIXES

    intervals = {}
    for iou_type in metric.iou_types:
        found = bootstrap(match(metric.ann_file, metric.detections, iou_type), resamples)
        intervals |= {f"{PREFIXES[iou_type]}_{name}": interval for name, interval in found.items() if interval}
    return intervals


def _draw(folder: Path, cfg: Config, detections: Sequence[dict], count: int) -> None:
    from benchmark.data.annotations import read_annotations
    from benchmark.evaluation.pictures import contact_sheet, draw_detections

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
    from benchmark.training.hooks import CostHook

    return next(hook for hook in runner.hooks if isinstance(hook, CostHook))
