"""Fixtures of the whole suite."""

import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# One thread a process: the tests' networks are too small to gain from more. It counts only before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmark.models import mmcv_ops

mmcv_ops.install()  # before any test module imports a part of MMDetection

ROOT = Path(__file__).parents[1]


def real_pictures(name: str, inside: str) -> Path:
    """Return the folder of a set of real pictures; the test is skipped where it, or what must be inside, is absent."""
    variable = name.upper().replace("-", "_")
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / name))
    if not (folder / inside).is_dir():
        pytest.skip(f"no real pictures: {folder} is absent (the environment's {variable} names another folder)")
    return folder


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """Folder of a few real COCO pictures with their annotations, in COCO's layout."""
    return real_pictures("coco-mini", "annotations")


@pytest.fixture(scope="session")
def imagenet_mini() -> Path:
    """Folder of a few real ImageNet validation pictures, in ``val/<synset>/``."""
    return real_pictures("imagenet-mini", "val")


@pytest.fixture(scope="session")
def randomise() -> Callable:
    """Function that gives a network's BN layers statistics and weights as after a training, and returns the network."""
    import torch

    def change(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1, generator=generator)
                    module.bias.normal_(0, 0.1, generator=generator)
                    module.running_var.uniform_(0.5, 1.5, generator=generator)
                    module.weight.uniform_(0.5, 1.5, generator=generator)
        return net

    return change


@pytest.fixture(scope="module")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that users' own data are converted into, empty for each file of tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated data set."""
    from benchmark.data.demo.pictures import make_demo_data

    return make_demo_data(tmp_path_factory.mktemp("data") / "demo", train_images=16, val_images=6)


@pytest.fixture
def reproduce_tool(monkeypatch):
    """Run tools/reproduce.py in this process, since importing takes longer than it; returns the exit status."""

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["reproduce.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "tools" / "reproduce.py"), run_name="__main__")
        return left.value.code

    return run


@pytest.fixture(scope="module")
def pictures(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two generated validation pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for path in sorted((demo_data / "val2017").iterdir())[:2]:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def started() -> Iterator["Chrome"]:
    """A browser; whoever asks for it has skipped where there is none."""
    from screenshot import browser

    with browser() as driver:
        yield driver
