"""The training loop: MMEngine's, with evaluations that belong to the weights that are saved."""

import time

import torch.distributed
from mmengine.dist import is_distributed
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, ValLoop
from torch import nn

_REST = 0.2  # s


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """MMEngine's loop over iterations that repeats the evaluation of the iteration it resumes from, if one was due."""

    def run(self) -> nn.Module:
        """Train from the current iteration to the last."""
        if self._iter and (self._iter % self.val_interval == 0 or self._iter == self._max_iters):
            self.runner.val_loop.run()
        _let_threads_rest()
        return super().run()


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
