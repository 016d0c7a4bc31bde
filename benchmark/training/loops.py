"""The training loop: MMEngine's, with evaluations that belong to the weights that are saved."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed
from mmengine.dist import is_distributed
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, Runner, ValLoop
from torch import Tensor, nn
from torch.utils.data import DataLoader

_REST = 0.2  # s


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """MMEngine's loop over iterations that repeats the evaluation of the iteration it resumes from, if one was due.

    A batch may be taken in parts. An iteration is a batch all the same, one update, so that checkpoints, schedules and
    learning rates mean what they mean for a whole one, and no gradient is lost where a training resumes.

    Args:
        runner: of the training.
        dataloader: of whole batches.
        accumulate: parts of a batch, which it can be divided into equally.
        kwargs: of MMEngine's loop.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, accumulate: int = 1, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        self._parts = accumulate

    def run(self) -> nn.Module:
        """Train from the current iteration to the last."""
        if self._parts > 1:
            self.runner.optim_wrapper.accumulate(self._parts)
        if self._iter and (self._iter % self.val_interval == 0 or self._iter == self._max_iters):
            self.runner.val_loop.run()
        _let_threads_rest()
        return super().run()

    def run_iter(self, data_batch: Mapping[str, Sequence]) -> None:
        """Train on one batch."""
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        losses = self.update(data_batch)
        self.runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=losses)
        self._iter += 1

    def update(self, batch: Mapping[str, Sequence]) -> dict[str, Tensor]:
        """Update the weights once by a batch; return its losses."""
        step = partial(self.runner.model.train_step, optim_wrapper=self.runner.optim_wrapper)
        if self._parts == 1:
            return step(batch)
        return _mean_losses([step(part) for part in split_batch(batch, self._parts)])


def split_batch(batch: Mapping[str, Sequence], parts: int) -> list[dict[str, Sequence]]:
    """Return equal parts of a batch of (N, ...) tensors or lists of N entries; N is a multiple of ``parts``."""
    size = len(next(iter(batch.values()))) // parts
    return [{key: values[part * size : (part + 1) * size] for key, values in batch.items()} for part in range(parts)]


def _mean_losses(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean over the parts of a batch of each loss."""
    return {name: torch.stack([part[name].detach() for part in losses]).mean() for name in losses[0]}


@LOOPS.register_module()
class MainBuffersValLoop(ValLoop):
    """MMEngine's evaluation, of the main process's BN statistics on all processes: those are the ones saved."""

    def run(self) -> dict:
        """Evaluate and return the figures."""
        if is_distributed():
            for buffer in self.runner.model.buffers():
                torch.distributed.broadcast(buffer, src=0)
        _let_threads_rest()
        return super().run()


def _let_threads_rest() -> None:
    """Wait before data-loading processes are forked until the threads of the last collective let go of its tensors.

    They take a lock of the interpreter for that; a process forked meanwhile waits for it for ever in Python 3.11.
    """
    if is_distributed():
        time.sleep(_REST)
