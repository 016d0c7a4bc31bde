"""Training a config: what tools/train.py calls."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from benchmark.cli import Options
from benchmark.config.recipe import EARLY_STOP, Recipe
from benchmark.files.run_folder import list_checkpoints, remove_run, set_aside
from benchmark.records.result import Result, SearchRecord, TrainingRecord
from benchmark.tasks import TASKS
from benchmark.training.machine import keep_memory
from benchmark.training.plan import Plan, ownership, plan_training, rewind
from benchmark.training.processes import is_main

if TYPE_CHECKING:
    from mmengine.hooks import Hook

    from benchmark.training.runner import BenchmarkRunner


def train(
    options: Options,
    *,
    pretrained: str | None = None,
    steps: int | None = None,
    subset: Mapping[str, Any] | None = None,
    seed: int = 0,
    resume: bool | Literal["auto"] = False,
    resume_anyway: bool = False,
    overwrite: bool = False,
    save_interval: str | None = None,
    keep: int | None = None,
    compiled: bool = False,
    pictures: int = 0,
    recipe: Recipe | None = None,
    trackers: Sequence[str] = (),
    hooks: Sequence["Hook"] = (),
) -> Result:
    """Train a config, evaluate the final weights, and write the run's ``result.json``.

    Args:
        options: what to run, and how.
        pretrained: weights for the backbone in place of the config's; ``none`` for random ones.
        steps: length of the training in iterations, in place of the config's.
        subset: part of the training pictures, see ``benchmark.data.subsets``; all by default.
        seed: of all random numbers.
        resume: continue from the newest intact checkpoint of the run's folder; ``auto`` begins where there is none, as
            torchrun's restarts do by themselves.
        resume_anyway: likewise, also with another config, other data or another number of processes.
        overwrite: replace a run that is in the folder.
        save_interval: iterations (``500``) or minutes (``30m``) between checkpoints, in place of the config's.
        keep: how many of the newest checkpoints to keep, in place of the config's.
        compiled: compile the backbone by torch.compile.
        pictures: how many validation pictures to draw detections on.
        recipe: learning rate, averages, early stop, frozen stages, a batch in parts.
        trackers: keys of ``benchmark.training.tracker_process.OPEN`` to log to besides TensorBoard.
        hooks: to run besides the config's.

    Raises:
        UserError: whatever the user can fix, most of it before a model is built.
    """
    plan = plan_training(
        options,
        pretrained=pretrained,
        steps=steps,
        subset=subset,
        seed=seed,
        resume=resume,
        resume_anyway=resume_anyway,
        overwrite=overwrite,
        save_interval=save_interval,
        keep=keep,
        compiled=compiled,
        pictures=pictures,
        recipe=recipe,
        trackers=trackers,
    )
    from benchmark.training.outcome import finish
    from benchmark.training.runner import BenchmarkRunner

    lost: list[str] = []
    with ownership(plan):
        if is_main():
            lost = _make_way(plan)
        with contextlib.closing(BenchmarkRunner.from_plan(plan)) as runner:
            for note in lost:
                runner.logger.warning(note)
            if plan.cfg.get("demo") and plan.cfg.model.backbone.get("norm_eval") is False:
                runner.logger.info("The backbone's BN is trained, not frozen: the demo begins with random weights.")
            for hook in hooks:
                runner.register_hook(hook)
            if TASKS[plan.cfg.task].fixed_shapes:
                keep_memory()
            runner.train()
            return finish(runner, plan, _training_record(runner, plan), pictures=pictures)


def _make_way(plan: Plan) -> list[str]:
    """Remove the run that is replaced, or what the one that resumes will do again; return what is lost by that."""
    if plan.checkpoint:
        return rewind(plan.work_dir, plan.checkpoint)
    if plan.replaces:
        damaged = [path.name for path in list_checkpoints(plan.work_dir)] if plan.keeps_damaged else []
        remove_run(plan.work_dir, but=damaged)
        for name in damaged:
            set_aside(plan.work_dir / name)
    return []


def _training_record(runner: "BenchmarkRunner", plan: Plan) -> TrainingRecord:
    from benchmark.training.fine_tuning import average_momentum
    from benchmark.training.outcome import is_partial
    from benchmark.training.rate_search import recorded_search

    hub, loader = runner.message_hub, runner.train_dataloader
    seconds = hub.get_info("train_seconds")
    batch_size = loader.batch_size * runner.world_size
    cfg, done = plan.cfg, runner.iter
    stop = next((hook.patience for hook in cfg.custom_hooks if hook.type == EARLY_STOP), None)
    frozen = cfg.model.backbone.get("frozen_stages", -1)
    search = recorded_search(runner)
    searched = search["iterations"] if search else 0
    return TrainingRecord(
        iterations=done,
        planned=None if done == runner.max_iters else runner.max_iters,
        search=search and SearchRecord(**search),
        early_stop=stop,
        ema=average_momentum(runner),
        frozen_stages=None if frozen == -1 else frozen,
        accumulate=cfg.train_cfg.get("accumulate", 1),
        batch_size=batch_size,
        learning_rate=_initial_rate(runner.optim_wrapper.optimizer.param_groups[0]),
        precision=plan.precision,
        compiled=cfg.compiled,
        pretrained=cfg.model.backbone.get("pretrained"),
        seed=runner.seed,
        world_size=runner.world_size,
        images_per_second=(done + searched) * batch_size / seconds,
        hours=seconds / 3600,
        peak_memory=hub.get_info("train_peak_memory"),
        unreadable_images=_sum(hub.get_info("unreadable_images")),
        partial=is_partial(loader.dataset),
        images=len(loader.dataset),
        subset_of=loader.dataset.subset_of,
        subset_seed=loader.dataset.subset_seed,
    )


def _initial_rate(group: Mapping[str, Any]) -> float:
    """Return the learning rate that a schedule began with, or the one there is without a schedule."""
    return group.get("initial_lr", group["lr"])


def _sum(number: int) -> int:
    """Return the sum over all processes."""
    import torch
    from mmengine.dist import all_reduce

    total = torch.tensor(number)
    all_reduce(total)
    return int(total)
