"""Hooks of a training: a stop at a loss that is not finite, and the cost."""

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from backbones.errors import UserError
from backbones.tensors import first_not_finite
from benchmark.measuring.memory import peak_memory
from benchmark.seeding import ITERATIONS, derive_seed, seed_all

_SHOWN = 4


class DivergedError(UserError):
    """A training whose loss is no longer finite."""


@dataclass(frozen=True)
class _Losses:
    """One iteration's losses on their way to the host.

    Attributes:
        iteration: from 1.
        names: of the losses; the first is their sum.
        values: on the host, valid once ``arrived``.
        arrived: CUDA's event after the copy, None where there is nothing to wait for.
        paths: of the iteration's images.
    """

    iteration: int
    names: tuple[str, ...]
    values: torch.Tensor
    arrived: torch.cuda.Event | None
    paths: list[str]


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at a loss that is NaN or infinite, naming the iteration and its images; log the losses.

    Nothing waits for the GPU: losses are read once they have arrived on the host, at most ``lag`` iterations later.
    What is still under way is read, and the weights are checked, before a checkpoint is written.

    Args:
        lag: iterations that may begin before a loss is looked at.
    """

    priority = "VERY_HIGH"

    def __init__(self, lag: int = 20) -> None:
        self.lag = lag
        self._pending: deque[_Losses] = deque()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Send the iteration's losses to the host, and check and log those that have arrived."""
        assert outputs is not None  # MMEngine hands on what the model's step gives
        names = ("loss", *(name for name in outputs if name != "loss"))
        losses = torch.stack([outputs[name].detach().float() for name in names])
        values, arrived = send_to_host(losses)
        paths = [sample.img_path for sample in data_batch["data_samples"]]
        self._pending.append(_Losses(runner.iter + 1, names, values, arrived, paths))
        is_logged = self.every_n_train_iters(runner, runner.log_processor.window_size)
        self._read(runner, 0 if is_logged else self.lag)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check every loss so far, and the weights, which one of another process may have spoilt."""
        self._read(runner, 0)
        checkpoint["message_hub"] = runner.message_hub.state_dict()
        name = first_not_finite(checkpoint["state_dict"])
        if name:
            raise DivergedError(
                f"The weights are no longer finite after iteration {runner.iter + 1} (first: {name}), though this "
                "process's losses are. Lower the learning rate. No checkpoint was written."
            )

    def before_val_epoch(self, runner: Runner) -> None:
        """Check every loss so far before time goes into an evaluation."""
        self._read(runner, 0)

    def after_train(self, runner: Runner) -> None:
        """Check the last losses."""
        self._read(runner, 0)

    def _read(self, runner: Runner, left: int) -> None:
        """Check and log the losses that have arrived; wait for the oldest until no more than ``left`` remain."""
        while self._pending:
            oldest = self._pending[0]
            if oldest.arrived is not None and not oldest.arrived.query():
                if len(self._pending) <= left:
                    return
                oldest.arrived.synchronize()
            self._pending.popleft()
            _check(oldest)
            for name, value in zip(oldest.names, oldest.values.tolist(), strict=True):
                runner.message_hub.update_scalar(f"train/{name}", value)


def send_to_host(values: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """Copy a tensor to pinned memory without waiting; the event says when it is there, None that it is there now."""
    if values.device.type != "cuda":
        return values, None
    copy, event = values.to("cpu", non_blocking=True), torch.cuda.Event()
    event.record()
    return copy, event


def _check(losses: _Losses) -> None:
    """Raise DivergedError where the sum of the losses is not finite."""
    total, *parts = losses.values.tolist()
    if math.isfinite(total):
        return
    more = f" and {len(losses.paths) - _SHOWN} more" if len(losses.paths) > _SHOWN else ""
    named = ", ".join(f"{name} {value:.4g}" for name, value in zip(losses.names[1:], parts, strict=True))
    raise DivergedError(
        f"The loss is {total} at iteration {losses.iteration} ({named}); images: {', '.join(losses.paths[:_SHOWN])}"
        f"{more}. Lower the learning rate, or look at these images and their boxes."
    )


@HOOKS.register_module()
class QuietRuntimeInfoHook(RuntimeInfoHook):
    """MMEngine's, without the losses, which it would wait for at each iteration: ``FiniteLossHook`` logs them."""

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Do nothing."""


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
        skipped = sum(sample.skipped for sample in data_batch["data_samples"])
        hub.update_info("unreadable_images", (hub.get_info("unreadable_images") or 0) + skipped)
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
