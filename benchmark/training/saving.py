"""When a training saves itself: by interval, at its best, at its end, and when a signal ends it."""

import re
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from backbones.errors import UserError
from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import BEST, checkpoint_path, list_checkpoints
from benchmark.records.figures import FIGURES
from benchmark.tasks import TASKS
from benchmark.training.hooks import send_to_host
from benchmark.training.signals import StoppedError

_MINUTES = re.compile(r"(\d+(?:\.\d+)?)m(?:in)?")


def parse_interval(text: int | str) -> tuple[int | None, float | None]:
    """Return (iterations, None) for ``500``, and (None, seconds) for minutes such as ``30m``.

    Raises:
        UserError: neither, or not positive.
    """
    minutes = _MINUTES.fullmatch(str(text))
    if minutes and float(minutes[1]) > 0:
        return None, 60 * float(minutes[1])
    if str(text).isdecimal() and int(text) > 0:
        return int(text), None
    raise UserError(f"--save-interval takes iterations, such as 500, or minutes, such as 30m; found {text!r}.")


@HOOKS.register_module()
class AtomicCheckpointHook(Hook):
    """Write ``iter_<n>.pth`` at every interval, at the end and upon a signal, and the best weights to ``best.pth``.

    A checkpoint is written beside its place, flushed to disk and renamed; older ones go only after that. It says which
    run it belongs to, so that no other one resumes from it.

    Args:
        interval: see ``parse_interval``.
        keep: how many of the newest to keep.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int | str, keep: int = 2) -> None:
        if keep < 1:
            raise UserError(f"--keep takes a number of checkpoints from 1, found {keep}.")
        self._iterations, self._seconds = parse_interval(interval)
        self._keep = keep
        self._agreement = Agreement()

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Save when the interval or the training is over, and stop upon a signal to any of the processes."""
        done, stop = runner.iter + 1, self._agreement.reach(runner.stop_signals.received)
        if stop or done == runner.max_iters or self._is_due(done):
            self._save(runner, done)
        if stop:
            _stop(runner, stop, done)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save and stop upon a signal; the processes evaluate different numbers of batches, so each for itself."""
        stop = runner.stop_signals.received
        if stop and runner.is_training:
            self._save(runner, runner.iter)
            _stop(runner, stop, runner.iter)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float | None] | None = None) -> None:
        """Save the weights whose ranking figure is the best so far."""
        name = TASKS[runner.cfg.task].ranking
        value, best = (metrics or {}).get(name), runner.message_hub.get_info("best_figure")
        if not runner.is_training or value is None or not FIGURES[name].is_better(value, best):
            return
        runner.message_hub.update_info("best_figure", value)
        self._write(runner, Path(runner.work_dir) / BEST, runner.iter)
        runner.logger.info(f"{BEST}: iteration {runner.iter}, {name} {FIGURES[name].format(value)}")

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say which run it is, and put the logs into plain containers, so that reading them needs no trust."""
        checkpoint["run"] = runner.plan.record
        hub = checkpoint["message_hub"]
        hub["runtime_info"] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in hub["runtime_info"].items()
        }
        hub["log_scalars"] = {
            name: [*map(torch.from_numpy, buffer.data), buffer.max_length]
            for name, buffer in hub["log_scalars"].items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Undo ``before_save_checkpoint`` for a training that resumes."""
        if not runner._resume:
            return
        hub = checkpoint["message_hub"]
        hub["log_scalars"] = {
            name: HistoryBuffer(history.numpy(), counts.numpy(), length)
            for name, (history, counts, length) in hub["log_scalars"].items()
        }

    def after_train(self, runner: Runner) -> None:
        """Save the weights of a training that ended early."""
        if runner.train_loop.stop_training and not checkpoint_path(Path(runner.work_dir), runner.iter).is_file():
            self._save(runner, runner.iter)

    def _is_due(self, done: int) -> bool:
        if self._iterations:
            return done % self._iterations == 0
        return self._seconds is not None and time.monotonic() - self._saved_at >= self._seconds

    def _save(self, runner: Runner, done: int) -> None:
        folder = Path(runner.work_dir)
        self._write(runner, checkpoint_path(folder, done), done)
        self._saved_at = time.monotonic()
        if dist.is_main_process():
            for path in list_checkpoints(folder)[: -self._keep]:
                path.unlink()

    def _write(self, runner: Runner, path: Path, done: int) -> None:
        if not dist.is_main_process():
            return
        write_atomically(
            path,
            lambda temporary: runner.save_checkpoint(
                str(temporary.parent), temporary.name, by_epoch=False, meta={"iter": done}
            ),
        )


class Agreement:
    """The highest of all processes' numbers, the same on all of them.

    It is that of ``lag`` calls ago where GPUs exchange it: nothing then waits for them. All processes must call alike.
    """

    def __init__(self, lag: int = 5) -> None:
        self._lag = lag
        self._pending: deque[tuple[torch.Tensor, torch.cuda.Event | None]] = deque()

    def reach(self, number: int) -> int:
        """Say this process's number, and return what all have agreed on; 0 while nothing has arrived."""
        if not dist.is_distributed():
            return number
        shared = torch.full((), number, device=dist.get_comm_device())
        torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
        self._pending.append(send_to_host(shared))
        value, arrived = self._pending[0]
        if arrived is not None:
            if len(self._pending) <= self._lag:
                return 0
            arrived.synchronize()
        self._pending.popleft()
        return int(value)


def _stop(runner: Runner, number: int, done: int) -> None:
    dist.barrier()  # torchrun kills the others once one has left
    raise StoppedError(number, f"Stopped at iteration {done} of {runner.max_iters}, saved; --resume continues.")
