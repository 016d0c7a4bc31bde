"""A long training needs no more memory than a short one."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from helpers import SMALL, preloaded
from mmengine.hooks import Hook

from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.training.train import train

pytestmark = pytest.mark.slow

SHORT, EVERY = 150, 5  # iterations
SMALL_PICTURES = "train_dataloader.dataset.pipeline.0.size=64"
MOST_GROWTH = 20e6  # bytes from the second to the last fifth
LEAK = 400_000  # bytes an iteration: a third of one picture at 320x320 in fp32


class MemoryHook(Hook):
    """Write down the resident memory of this process and its data-loading processes.

    Args:
        path: of the list.
        leak: bytes to keep each iteration, so that the measure can be tried.
    """

    def __init__(self, path: Path, leak: int) -> None:
        self.path, self.leak, self.kept = path, leak, []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.kept.append(np.ones(self.leak, np.uint8))
        if runner.iter % EVERY == 0:
            process = psutil.Process()
            resident = sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
            with self.path.open("a") as file:
                file.write(f"{resident}\n")


def _train(options: Options, iterations: int, path: Path, leak: int) -> None:
    train(options, steps=iterations, hooks=[MemoryHook(path, leak)])


def growth(data: Path, folder: Path, iterations: int, leak: int = 0) -> float:
    """Bytes by which the processes of a training grow between its second and its last fifth."""
    settings = [*SMALL, "train_images=16", "val_images=6", "train_dataloader.num_workers=1", SMALL_PICTURES]
    settings.append(f"train_cfg.val_interval={iterations}")  # not between the two fifths: it begins other processes
    config = CONFIGS / "ssdlite_rexnet_x1.0.py"
    options = Options(config, work_dir=folder, data_root=data, demo=True, batch_size=2, cfg_options=settings)
    path = folder / "memory.txt"
    process = preloaded().Process(target=_train, args=(options, iterations, path, leak))
    process.start()
    process.join()
    assert process.exitcode == 0
    resident = np.loadtxt(path)
    fifth = len(resident) // 5
    return float(np.median(resident[-fifth:]) - np.median(resident[fifth : 2 * fifth]))


@pytest.mark.parametrize("iterations", [SHORT, pytest.param(1000, marks=pytest.mark.long)])
def test_memory_does_not_grow(demo_data, tmp_path, iterations):
    assert growth(demo_data, tmp_path, iterations) < MOST_GROWTH


def test_a_leak_would_be_seen(demo_data, tmp_path):
    assert growth(demo_data, tmp_path, SHORT, leak=LEAK) > MOST_GROWTH
