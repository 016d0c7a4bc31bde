"""What follows from the rest of a config: transforms from the backbone, loading processes from the machine."""

import os
import subprocess
import sys
import warnings

import pytest

from backbones.catalogue import preprocessing
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS


def sample_step(cfg) -> dict:
    return next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == "SSDSample")


@pytest.mark.parametrize(
    ("backbone", "mean"), [("rexnet_x1.0", (123.675, 116.28, 103.53)), ("efficientnet_lite0", (127.5, 127.5, 127.5))]
)
def test_an_expanded_canvas_has_the_mean_of_the_backbones_preprocessing(backbone, mean):
    cfg = load_config(CONFIGS / "ssdlite.py", backbone=backbone)
    complete_model(cfg)
    assert sample_step(cfg).mean == pytest.approx(mean)
    assert sample_step(cfg).mean == pytest.approx([255 * value for value in preprocessing(backbone).mean])
    assert sample_step(cfg).mean == cfg.model.data_preprocessor.mean


def test_a_mean_that_is_set_is_left():
    options = ["model.data_preprocessor.mean=[1.0, 2.0, 3.0]"]
    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", options=options)
    complete_model(cfg)
    assert sample_step(cfg).mean == [1.0, 2.0, 3.0]
    cfg = load_config(
        CONFIGS / "ssdlite_rexnet_x1.0.py", options=["train_dataloader.dataset.pipeline.0.mean=[0, 0, 0]"]
    )
    complete_model(cfg)
    assert sample_step(cfg).mean == [0, 0, 0]


@pytest.mark.parametrize(
    ("cores", "environment", "expected"),
    [
        (2, {}, 2),
        (64, {}, 8),
        (64, {"LOCAL_WORLD_SIZE": "16"}, 4),
        (64, {"LOCAL_WORLD_SIZE": "16", "WORLD_SIZE": "32"}, 4),
        (64, {"WORLD_SIZE": "32"}, 2),
        (2, {"LOCAL_WORLD_SIZE": "8"}, 1),
    ],
)
def test_loading_processes_are_no_more_than_the_cores_of_a_rank(cores, environment, expected, monkeypatch):
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py")
    assert {cfg[name].num_workers for name in ("train_dataloader", "val_dataloader")} == {expected}
    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", options=["train_dataloader.num_workers=0"])
    assert cfg.train_dataloader.num_workers == 0


def test_pytorch_does_not_warn_of_too_many():
    from torch.utils.data import DataLoader

    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DataLoader([0], num_workers=cfg.train_dataloader.num_workers)


def test_reading_a_config_takes_neither_torch_nor_mmdetection():
    code = (
        "import sys; from pathlib import Path; from benchmark.config.load import load_config; "
        "load_config(Path('configs/ssdlite.py'), backbone='rexnet_x1.0', demo=True, options=['learning_rate=0.1']); "
        "sys.exit(bool({'torch', 'mmdet', 'mmcv', 'timm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=CONFIGS.parent).returncode == 0
