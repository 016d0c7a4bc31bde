"""What the command line changes of how a config trains: learning rate, averages, an early stop, a batch in parts."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mmengine.config import Config, ConfigDict

from backbones.errors import UserError
from benchmark.config.overlay import set_steps

EMA, EARLY_STOP = "EmaWeightsHook", "EarlyStopHook"  # of benchmark.training.fine_tuning
SEARCH = "RateSearchHook"  # of benchmark.training.rate_search
_SEARCH_SHARE, _SEARCH_LEAST, _SEARCH_MOST = 0.15, 8, 60  # of the iterations; iterations
_SEARCH_RATES = (0.1, 100.0)  # first and last, times the config's own rate
_WARM_UP_SHARE, _WARM_UP_MOST = 0.1, 500
_SHORT = 0.9  # of a recipe's images
# Overrides that say a learning rate or a schedule; beyond a dot also what lies in them.
_RATES = ("learning_rate", "warmup_iters", "schedule", "optim_wrapper.optimizer.lr")
_SCHEDULES = ("param_scheduler", "auto_scale_lr")
_WHOLE = ("optim_wrapper", "optim_wrapper.optimizer")
_EMA = ("EMAHook", EMA)


@dataclass(frozen=True)
class Recipe:
    """What a fine-tuner asks for; nothing by default.

    Attributes:
        ema: evaluate and keep an exponential moving average of the weights.
        early_stop: stop after so many evaluations in a row without a better figure of the task.
        freeze_stages: freeze the backbone up to and including C(k+1), as ``frozen_stages`` of a config.
        accumulate: take every batch in so many equal parts, one after another.
        lr: ``auto`` searches a learning rate inside the budget, with a warm-up that fits; ``config`` takes the
            config's; None searches for a user's own data and for a training that is shorter than its config's.
    """

    ema: bool = False
    early_stop: int | None = None
    freeze_stages: int | None = None
    accumulate: int | None = None
    lr: Literal["auto", "config"] | None = None


def lay_recipe(cfg: Config, recipe: Recipe, overrides: Iterable[str], full_steps: int) -> None:
    """Lay a recipe over a config whose length, batches and hooks are known; ``freeze_stages`` is an override.

    Args:
        cfg: the config.
        recipe: what is asked for.
        overrides: keys that the command line gives by --cfg-options.
        full_steps: iterations that the config's files say.

    Raises:
        UserError: what cannot hold, or would do nothing.
    """
    _lay_search(cfg, recipe.lr, overrides, full_steps)
    if recipe.ema:
        if any(hook.get("type") in _EMA for hook in (*cfg.custom_hooks, *cfg.default_hooks.values())):
            raise UserError(f"--ema: {cfg.filename} averages its weights by a hook of its own: leave one out.")
        cfg.custom_hooks = [*cfg.custom_hooks, ConfigDict(type=EMA)]
    if recipe.early_stop is not None:
        _check_early_stop(recipe.early_stop, cfg.train_cfg.max_iters, cfg.train_cfg.val_interval)
        cfg.custom_hooks = [*cfg.custom_hooks, ConfigDict(type=EARLY_STOP, patience=recipe.early_stop)]
    if recipe.accumulate is not None:
        batch_size = cfg.train_dataloader.batch_size
        if batch_size % recipe.accumulate:
            raise UserError(
                f"--accumulate {recipe.accumulate}: {batch_size} images a process do not make {recipe.accumulate} "
                "equal parts: give a number that divides them, or another --batch-size."
            )
        cfg.train_cfg.accumulate = recipe.accumulate


def _lay_search(cfg: Config, lr: str | None, overrides: Iterable[str], full_steps: int) -> None:
    """Take a search for the learning rate, and a warm-up that fits, into the iterations of a config."""
    if lr == "config" or any(hook.get("type") == SEARCH for hook in cfg.custom_hooks):
        return
    given = next((key for key in overrides if _says_rate(key)), None)
    if lr is None and (given or not _is_short(cfg, full_steps)):
        return
    if given:
        raise UserError(f"--lr auto and --cfg-options {given} contradict each other: leave one out.")
    rate, total = cfg.optim_wrapper.optimizer.lr, cfg.train_cfg.max_iters
    steps = min(_SEARCH_MOST, int(_SEARCH_SHARE * total))
    if steps < _SEARCH_LEAST:
        if lr is None:
            return
        least = next(n for n in range(total, 10 * total + 100) if int(_SEARCH_SHARE * n) >= _SEARCH_LEAST)
        raise UserError(f"--lr auto searches in {_SEARCH_SHARE:.0%} of the training: give --steps {least} at least.")
    set_steps(cfg, total - steps)
    _warm_up(cfg, min(_WARM_UP_MOST, max(1, round(_WARM_UP_SHARE * (total - steps)))))
    low, high = (rate * times for times in _SEARCH_RATES)
    cfg.custom_hooks = [*cfg.custom_hooks, ConfigDict(type=SEARCH, steps=steps, low=low, high=high)]


def _says_rate(key: str) -> bool:
    return key in (*_RATES, *_WHOLE) or any(f"{key}.".startswith(f"{part}.") for part in _SCHEDULES)


def _is_short(cfg: Config, full_steps: int) -> bool:
    """Tell whether a training is of a user's own data, of a part of the data, or of fewer images than its recipe's."""
    if "own_data" in cfg or cfg.train_dataloader.dataset.get("subset"):
        return True
    processes = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)
    batch = cfg.train_dataloader.batch_size * processes
    steps, base = cfg.train_cfg.max_iters, (cfg.get("auto_scale_lr") or {}).get("base_batch_size", batch)
    return steps < full_steps and steps * batch < _SHORT * full_steps * base


def _warm_up(cfg: Config, steps: int) -> None:
    """Give a schedule a linear warm-up of so many iterations in place of its own."""
    schedule = [entry for entry in cfg.param_scheduler if entry.type != "LinearLR"]
    for entry in schedule:
        if entry.type == "CosineAnnealingLR":
            entry.begin = steps
    first = ConfigDict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=steps)
    cfg.param_scheduler = [first, *schedule]


def _check_early_stop(patience: int, steps: int, interval: int) -> None:
    """Refuse an early stop that no evaluation before the last one could bring."""
    evaluations = -(-steps // interval)
    if evaluations < patience + 2:
        raise UserError(
            f"--early-stop {patience} would change nothing: {steps} iterations with an evaluation every {interval} "
            f"have {evaluations}, and it stops at number {patience + 1} at the earliest. Give --cfg-options "
            f"val_interval={max(1, steps // (5 * (patience + 2)))}, say."
        )
