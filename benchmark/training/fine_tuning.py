"""Averages of the weights, and an early stop: what ``benchmark.config.recipe`` lays over a config."""

from typing import Any

import torch.distributed
from mmengine.dist import is_distributed
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from benchmark.records.figures import FIGURES
from benchmark.tasks import TASKS


@HOOKS.register_module()
class EmaWeightsHook(EMAHook):
    """MMEngine's moving average of the weights, which is evaluated and is what checkpoints hold as the weights.

    At update n it takes ``max(momentum, gamma / (gamma + n))`` of the new weights, so that it reaches over about the
    last tenth of a short training too. Beyond MMEngine's own it averages BN's statistics with the weights that they
    belong to, evaluates those of the main process everywhere, is written the right way round when a signal ends an
    evaluation, and does nothing in an evaluation alone, whose weights are averages already.

    Args:
        momentum: least share of the new weights.
        gamma: over how many updates the share falls to a half.
    """

    def __init__(self, momentum: float = 0.0002, gamma: int = 10) -> None:
        super().__init__("MomentumAnnealingEMA", strict_load=True, momentum=momentum, gamma=gamma, update_buffers=True)
        self._averages = False
        self._swapped = False

    def before_run(self, runner: Runner) -> None:
        """Copy the model of a training."""
        self._averages = runner._train_loop is not None
        if self._averages:
            super().before_run(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Put the averages into the model."""
        if self._averages and is_distributed():
            for buffer in self.ema_model.module.buffers():
                torch.distributed.broadcast(buffer, src=0)
        super().before_val_epoch(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the averages as ``state_dict``, and what is trained as ``ema_state_dict``."""
        if self._swapped:  # the model holds the averages, and the copy what is trained
            checkpoint["ema_state_dict"] = self.ema_model.state_dict()
        else:
            super().before_save_checkpoint(runner, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put averages and trained weights back into their places."""
        if self._averages:
            super().after_load_checkpoint(runner, checkpoint)

    def _swap_ema_parameters(self) -> None:
        if self._averages:
            super()._swap_ema_parameters()
            self._swapped = not self._swapped


@HOOKS.register_module()
class EarlyStopHook(Hook):
    """Stop after so many evaluations in a row that do not better the task's figure.

    MMEngine's own forgets when it resumes; this one counts where checkpoints remember.

    Args:
        patience: how many.
    """

    priority = "LOWEST"

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float | None] | None = None) -> None:
        """Count, and have the loop stop."""
        name, hub = TASKS[runner.cfg.task].ranking, runner.message_hub
        value = (metrics or {}).get(name)
        if not runner.is_training or value is None:
            return
        best = hub.get_info("early_stop_best")
        if FIGURES[name].is_better(value, best):
            hub.update_info("early_stop_best", value)
            hub.update_info("early_stop_waited", 0)
            return
        waited = hub.get_info("early_stop_waited") + 1
        hub.update_info("early_stop_waited", waited)
        if waited >= self.patience and runner.iter < runner.max_iters:
            runner.logger.info(
                f"Stopped at iteration {runner.iter} of {runner.max_iters}: {name} has not risen above "
                f"{FIGURES[name].format(best)} in {waited} evaluations."
            )
            runner.train_loop.stop_training = True


def average_momentum(runner: Runner) -> float | None:
    """Return the least momentum of a training's averages, None where the last weights are its weights."""
    found: Any = next((hook for hook in runner.hooks if isinstance(hook, EmaWeightsHook)), None)
    return found and found.ema_cfg["momentum"]
