"""A backbone that is compiled for a training."""

from functools import partialmethod

import pytest
import torch
from helpers import SMALL
from torch import nn

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.files.checkpoints import load_checkpoint
from benchmark.measuring.latency import Settings, measure
from benchmark.training.train import train

SIZES = ["train_images=16", "val_images=6", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0"]


@pytest.fixture
def traced(monkeypatch):
    """torch.compile without a compiler: what is traced runs as it is."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))


@pytest.mark.parametrize("config", ["faster_rcnn_rexnet_x1.0.py", "mask_rcnn_rexnet_x1.0.py"])
def test_images_of_varying_sizes_are_refused(config, demo_data, tmp_path):
    options = Options(CONFIGS / config, tmp_path / "run", data_root=demo_data, demo=True)
    with pytest.raises(UserError, match="--compile is for images of one size"):
        train(options, compiled=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="--compile is for images of one size"):
        measure([str(CONFIGS / config)], Settings(training=True, compile=True, batch_size=2))


@pytest.mark.slow
def test_a_compiled_training_is_the_same_training(traced, demo_data, tmp_path):
    weights, compiled = [], []
    for choice in (False, True):
        torch.compiler.reset()
        folder = tmp_path / str(choice)
        options = Options(
            CONFIGS / "ssdlite_rexnet_x1.0.py", folder, [*SMALL, *SIZES], data_root=demo_data, demo=True, batch_size=4
        )
        result = train(options, pretrained="none", steps=2, compiled=choice)
        assert result.training is not None
        compiled.append(result.training.compiled)
        weights.append(load_checkpoint(folder / "iter_2.pth")["state_dict"])
    assert compiled == [False, True]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2  # one to train, one to evaluate
    plain, traced_weights = weights
    assert plain.keys() == traced_weights.keys()
    for name, value in plain.items():
        torch.testing.assert_close(traced_weights[name], value, rtol=1e-4, atol=1e-6)
    with pytest.raises(UserError, match="compiled: True then, None now"):
        train(options, pretrained="none", steps=2, resume=True)
