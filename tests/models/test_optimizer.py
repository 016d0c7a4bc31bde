"""The fused optimizer of the configs: the weights of PyTorch's plain one, in any memory format."""

import copy

import pytest
import torch
from torch import nn

from benchmark.config.load import CONFIGS, load_config

STEPS = 5


@pytest.mark.parametrize("name", ["ssdlite_rexnet_x1.0", "faster_rcnn_rexnet_x1.0", "finetune_cars_rexnet_x1.0"])
@pytest.mark.parametrize("demo", [False, True])
def test_it_gives_the_weights_of_the_plain_one(name, demo):
    if demo and "cars" in name:
        pytest.skip("the demo has its own classes")
    options = dict(load_config(CONFIGS / f"{name}.py", demo=demo).optim_wrapper.optimizer)
    assert options.pop("type") == "SGD" and options["fused"]
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)
    plain = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    fused = copy.deepcopy(plain)
    images = torch.randn(STEPS, 2, 3, 9, 9)
    for net, changes in ((plain, {"fused": False, "foreach": False}), (fused, {})):
        optimizer = torch.optim.SGD(net.parameters(), **{**options, "lr": 0.1, **changes})
        for batch in images:
            optimizer.zero_grad()
            net(batch.to(memory_format=torch.channels_last)).square().sum().backward()
            optimizer.step()
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
