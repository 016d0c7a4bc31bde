"""The machine that this process runs on."""

import contextlib
import os
import platform
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # places of a processor's times: idle, and waiting for a disk


def processor() -> str:
    """Return the processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def processor_flags() -> frozenset[str]:
    """Return what the processor can do, as Linux on x86 names it; empty elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_share(seconds: float = 1.0) -> float:
    """Return the share of all processors' time that others take, while this process sleeps for some seconds.

    Where no kernel counts it, the load average of a minute per core stands for it.
    """
    if not _STAT.is_file():
        return min(1.0, os.getloadavg()[0] / available_cores())
    before = _processor_times()
    time.sleep(seconds)
    passed = [after - earlier for after, earlier in zip(_processor_times(), before, strict=True)]
    return 1 - sum(passed[place] for place in _IDLE) / sum(passed)


def _processor_times() -> list[int]:
    return [int(value) for value in _STAT.read_text().splitlines()[0].split()[1:]]
