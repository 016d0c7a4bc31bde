"""Signals that end a training in good order: a checkpoint, one line, and exit status 128 + signal."""

import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from backbones.errors import UserError

# Ctrl-C; what schedulers and torchrun send; Slurm's warning before the time is up (--signal=USR1@60).
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_PATIENCE = 1.0  # s


class StoppedError(UserError):
    """A training that a signal of some number ended."""

    label = ""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + number


class StopSignals:
    """Within the block, ``STOPPING`` signals are noted and do nothing else; torchrun may send one twice.

    Attributes:
        received: the number of the first signal, 0 before.
    """

    def __init__(self) -> None:
        self.received = 0

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number


def leave_signals_to_the_main_process(*_: Any) -> None:
    """Let a data-loading process end when its main process says so or is gone, and not when others send signals to all.

    By itself it would outlive a killed main process where it waits to hand on a sample that nobody reads any more, and
    would keep open that process's connections.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN if number != signal.SIGTERM else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main = multiprocessing.parent_process()
    assert main  # this runs in a process that another one started
    threading.Thread(target=_obey, args=(main.pid,), daemon=True).start()


def _obey(parent: int) -> None:
    while os.getppid() == parent:
        received = signal.sigtimedwait({signal.SIGTERM}, _PATIENCE)
        if received and received.si_pid == parent:
            break
    os._exit(0)
