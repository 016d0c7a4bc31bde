"""A learning rate for a short training: found before its first iteration by a range test, inside the budget.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3. The rate rises by the
same factor with each iteration until the loss exceeds what the training began with; the rate chosen is a tenth of where
that happens. What a rate so large does to pretrained weights shows in the loss within a few iterations, where the
differences between smaller ones do not; `dev/lr_regret.py` measures what the choice costs.
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from benchmark.seeding import ITERATIONS, derive_seed, seed_all
from benchmark.training.signals import StoppedError

SEARCH = "rate_search"  # where checkpoints remember it
_EXCESS = 1.2  # times the first loss
_MARGIN = 10.0
_BEFORE = 2  # iterations from the cause to the loss that shows it


@HOOKS.register_module()
class RateSearchHook(Hook):
    """Choose the learning rate before the first iteration; everything else is then as if there had been no search.

    The search takes the pictures that the training begins with. It depends on the seed alone: one that is interrupted
    begins again and ends the same. A training that resumes has its rate from the checkpoint.

    Args:
        steps: iterations of the search.
        low: rate of the first.
        high: rate of the last.
    """

    priority = "LOW"

    def __init__(self, steps: int, low: float, high: float) -> None:
        factor = (high / low) ** (1 / (steps - 1))
        self.rates = [low * factor**step for step in range(steps)]

    def before_train(self, runner: Runner) -> None:
        """Search, unless the training resumes."""
        if runner.iter:
            return
        losses = _try_rates(runner, self.rates)
        chosen = choose(self.rates, losses)
        groups = runner.optim_wrapper.optimizer.param_groups
        factor = chosen / groups[0]["initial_lr"]
        for group in groups:
            group["lr"] = group["initial_lr"] = group["initial_lr"] * factor
        if runner.param_schedulers is not None:
            runner.param_schedulers = runner.build_param_scheduler(runner.cfg.param_scheduler)
        found = {"iterations": len(losses), "rates": self.rates[: len(losses)], "losses": _plain(losses)}
        runner.message_hub.update_info(SEARCH, found)
        runner.logger.info(
            f"Learning rate {chosen:.3g}: found in {len(losses)} iterations with rates from {self.rates[0]:.3g} to "
            f"{self.rates[len(losses) - 1]:.3g}, which are undone."
        )


def choose(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return the rate to train with.

    Args:
        rates: rising, of a range test's iterations.
        losses: before the update of each, as many or fewer; the last may be infinite or none.
    """
    worst = next((step for step, loss in enumerate(losses) if not loss <= _EXCESS * losses[0]), None)
    edge = rates[-1] if worst is None else rates[max(0, worst - _BEFORE)]
    return float(f"{edge / _MARGIN:.3g}")


def _try_rates(runner: Runner, rates: Sequence[float]) -> list[float]:
    """Train with one rate after another, undo it all, and return the loss before each update, of all processes.

    It ends early where the loss has told: at one that is not finite, or twice beyond what the choice asks for.

    Raises:
        StoppedError: a signal to any process.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    wrapper, losses = runner.optim_wrapper, list[float]()
    began, groups = wrapper.state_dict(), wrapper.optimizer.param_groups
    base = groups[0]["initial_lr"]
    runner.model.train()
    for step, batch in enumerate(islice(runner.train_dataloader, len(rates))):
        for group in groups:
            group["lr"] = group["initial_lr"] * rates[step] / base
        seed_all(derive_seed(ITERATIONS, runner.seed, runner.rank, step))
        loss = runner.train_loop.update(batch)["loss"].detach().float()
        received = torch.full_like(loss, runner.stop_signals.received)
        all_reduce(received, "max")
        if received:
            message = "Stopped in the search for a learning rate, which begins again: --resume auto continues."
            raise StoppedError(int(received), message)
        all_reduce(loss, "mean")
        losses.append(float(loss))
        if not losses[-1] <= 2 * _EXCESS * losses[0]:
            break
    state = model.state_dict()
    for name, value in weights.items():
        state[name].copy_(value)
    wrapper.zero_grad()
    wrapper.load_state_dict(began)
    return losses


def _plain(losses: Sequence[float]) -> list[float | None]:
    """Return losses as JSON has them: null for one that is not finite."""
    return [loss if math.isfinite(loss) else None for loss in losses]


def recorded_search(runner: Runner) -> dict[str, Any] | None:
    """Return what a training's search tried, None where there was none."""
    return runner.message_hub.get_info(SEARCH)
