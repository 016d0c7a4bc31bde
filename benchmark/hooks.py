"""Hooks of a training: checkpoints that are never half written, a stop at a loss that is not finite, and the cost."""

import math
import time
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from benchmark.checkpoints import checkpoint_path, list_checkpoints, write_atomically
from benchmark.errors import UserError
from benchmark.results import peak_memory

_SHOWN = 4


@HOOKS.register_module()
class AtomicCheckpointHook(Hook):
    """Write ``iter_<n>.pth`` every so often and at the end, then remove all but the newest.

    A checkpoint is written beside its place, flushed to disk and renamed; older ones go only after that.

    Args:
        interval: iterations from one checkpoint to the next.
        keep: how many of the newest to keep.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int, keep: int = 2) -> None:
        self.interval, self.keep = interval, keep

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Save when the interval or the training is over."""
        done = runner.iter + 1
        if done % self.interval == 0 or done == runner.max_iters:
            self._save(runner, done)

    @master_only
    def _save(self, runner: Runner, done: int) -> None:
        folder = Path(runner.work_dir)
        write_atomically(
            checkpoint_path(folder, done),
            lambda temporary: runner.save_checkpoint(str(temporary.parent), temporary.name, by_epoch=False),
        )
        for path in list_checkpoints(folder)[: -self.keep]:
            path.unlink()


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
    """Count the seconds of training, resumed ones included, and of evaluation, and the peak of memory.

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
        """Add this iteration's seconds to the total, which checkpoints carry."""
        now = time.perf_counter()
        hub = runner.message_hub
        hub.update_info("train_seconds", (hub.get_info("train_seconds") or 0.0) + now - self._clock)
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
