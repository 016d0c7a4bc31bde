"""What the command line changes of how a config trains: averages, an early stop, a batch in parts."""

from dataclasses import dataclass

from mmengine.config import Config, ConfigDict

from backbones.errors import UserError

EMA, EARLY_STOP = "EmaWeightsHook", "EarlyStopHook"  # of benchmark.training.fine_tuning
_EMA = ("EMAHook", EMA)


@dataclass(frozen=True)
class Recipe:
    """What a fine-tuner asks for; nothing by default.

    Attributes:
        ema: evaluate and keep an exponential moving average of the weights.
        early_stop: stop after so many evaluations in a row without a better figure of the task.
        freeze_stages: freeze the backbone up to and including C(k+1), as ``frozen_stages`` of a config.
        accumulate: take every batch in so many equal parts, one after another.
    """

    ema: bool = False
    early_stop: int | None = None
    freeze_stages: int | None = None
    accumulate: int | None = None


def lay_recipe(cfg: Config, recipe: Recipe) -> None:
    """Lay a recipe over a config whose length, batches and hooks are known; ``freeze_stages`` is an override.

    Raises:
        UserError: what cannot hold, or would do nothing.
    """
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


def _check_early_stop(patience: int, steps: int, interval: int) -> None:
    """Refuse an early stop that no evaluation before the last one could bring."""
    evaluations = -(-steps // interval)
    if evaluations < patience + 2:
        raise UserError(
            f"--early-stop {patience} would change nothing: {steps} iterations with an evaluation every {interval} "
            f"have {evaluations}, and it stops at number {patience + 1} at the earliest. Give --cfg-options "
            f"val_interval={max(1, steps // (5 * (patience + 2)))}, say."
        )
