"""Where a result comes from: code, packages, machine."""

import datetime
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from benchmark.records.result import Provenance

_PACKAGES = ("torch", "torchvision", "timm", "onedl-mmdetection", "onedl-mmcv", "onedl-mmengine", "hotcoco")


def provenance(precision: str) -> Provenance:
    """Describe the code, packages and machine of this process."""
    import torch
    from mmengine.dist import get_world_size

    changes = _git("status", "--porcelain")
    return Provenance(
        git_commit=git_commit(),
        git_dirty=None if changes is None else bool(changes),
        versions={package: metadata.version(package) for package in _PACKAGES},
        python=platform.python_version(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads",
        precision=precision,
        world_size=get_world_size(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def git_commit() -> str | None:
    """Return the commit of this checkout, None where the package does not lie in one."""
    return _git("rev-parse", "HEAD")


def _git(*arguments: str) -> str | None:
    """Return git's output on this checkout, None where the package does not lie in one."""
    try:
        run = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()
