"""Joules that a piece of work takes, where the machine counts them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RAPL = Path("/sys/class/powercap")


def rapl_joules(run: Callable[[], Any], root: Path = RAPL) -> float | None:
    """Run and return the joules that all CPU packages took, None where the machine does not report them.

    Source: the Linux kernel's power capping framework (Documentation/power/powercap/powercap.rst).
    """
    zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    try:
        before = [_microjoules(zone) for zone in zones]
    except OSError:  # only root may read them on many systems
        return None
    if not zones:
        return None
    run()
    spent = 0
    for zone, start in zip(zones, before, strict=True):
        spent += (_microjoules(zone) - start) % (int((zone / "max_energy_range_uj").read_text()) + 1)  # it wraps
    return spent / 1e6


def nvml_joules(run: Callable[[], Any]) -> float | None:
    """Run and return the joules that the current GPU took, None without nvidia-ml-py or a counter."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
        start = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        run()
        return (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - start) / 1e3
    except pynvml.NVMLError:
        return None


def _microjoules(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())
