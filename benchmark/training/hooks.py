"""Hooks of a training: a stop at a loss that is not finite, and the cost."""

import math
import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from backbones.errors import UserError
from benchmark.measuring.memory import peak_memory
from benchmark.seeding import ITERATIONS, derive_seed, seed_all

_SHOWN = 4


class DivergedError(UserError):
    """A training whose loss is no longer finite."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at a loss that is NaN or infinite, naming the iteration and its images."""

    priority = "VERY_HIGH"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check the total loss of the iteration."""
        loss = float(outputs["loss"].detach())
        if math.isfinite(loss):
            return
        paths = [sample.img_path for sample in data_batch["data_samples"]]
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        parts = ", ".join(f"{name} {float(value.detach()):.4g}" for name, value in outputs.items() if name != "loss")
        raise DivergedError(
            f"The loss is {loss} at iteration {runner.iter + 1} ({parts}); images: {', '.join(paths[:_SHOWN])}{more}. "
            "Lower the learning rate, or look at these images and their boxes."
        )


@HOOKS.register_module()
class CostHook(Hook):
    """Count seconds of training, resumed ones included, and of evaluation, peak memory, and unreadable pictures.

    Attributes:
        metrics: figures of the last evaluation, None before the first.
        eval_seconds: how long it took.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, float | None] | None = None
        self.eval_seconds: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self._clock = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Add this iteration's share to the totals, which checkpoints carry."""
        now = time.perf_counter()
        hub = runner.message_hub
        hub.update_info("train_seconds", (hub.get_info("train_seconds") or 0.0) + now - self._clock)
        passed_over = sum(sample.passed_over for sample in data_batch["data_samples"])
        hub.update_info("unreadable_images", (hub.get_info("unreadable_images") or 0) + passed_over)
        hub.update_info("train_peak_memory", max(hub.get_info("train_peak_memory") or 0, peak_memory()))
        self._clock = now

    def before_val_epoch(self, runner: Runner) -> None:
        """Start the evaluation's clock."""
        self._val_clock = time.perf_counter()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float | None] | None = None) -> None:
        """Keep the figures, and leave the evaluation's seconds out of the training's."""
        self.metrics = metrics
        self.eval_seconds = time.perf_counter() - self._val_clock
        self._clock = time.perf_counter()


@HOOKS.register_module()
class SeedIterationHook(Hook):
    """Begin every iteration with generators that its number and the process's decide."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all generators."""
        seed_all(derive_seed(ITERATIONS, runner.seed, runner.rank, runner.iter))
