"""What a training asks of the C library and of OpenMP, in place of variables that a user would have to know."""

import ctypes
import os
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = -1
_WAITING = ("GOMP_SPINCOUNT", "1000")  # without other work as fast as the default of 300 000
_CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep when they have waited some microseconds; call it before PyTorch is imported.

    By default they spin for about a millisecond. Where there are fewer free cores than threads, as beside data-loading
    processes or other work, each spins through the time that the one it waits for needs. What the environment says of
    it is left as it is.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _CHOSEN_BY_USER):
        os.environ.update([_WAITING])


def keep_memory() -> bool:
    """Let glibc keep all freed memory for the next step instead of handing it back to the kernel.

    For trainings on fixed shapes, whose every step takes the same blocks; varying ones would fragment the memory.

    Returns:
        Whether this C library can.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
