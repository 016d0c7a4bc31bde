"""The fused optimizer of the configs: the weights of PyTorch's plain one, in any memory format."""

import copy

import pytest
import torch
from torch import nn

from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.models.precision import AutocastOptimWrapper

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
            net(batch.to(memory_format=torch.channels_last)).square().mean().backward()
            optimizer.step()
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_state_of_another_memory_format_is_restored_in_the_parameters_own():
    """Fused, PyTorch would otherwise add the momenta of one place to the weights of another, without a word."""
    start = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    gradients = torch.randn(2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(1))

    def step(wrapper: AutocastOptimWrapper, weight: nn.Parameter, gradient: torch.Tensor) -> None:
        weight.grad = torch.empty_like(weight).copy_(gradient)
        wrapper.optimizer.step()

    def make(memory_format: torch.memory_format) -> tuple[AutocastOptimWrapper, nn.Parameter]:
        weight = nn.Parameter(start.clone(memory_format=memory_format))
        return AutocastOptimWrapper("fp32", optimizer=torch.optim.SGD([weight], 0.1, momentum=0.9, fused=True)), weight

    wrapper, weight = make(torch.contiguous_format)
    step(wrapper, weight, gradients[0])
    again, other = make(torch.channels_last)
    other.data.copy_(weight.data)
    again.load_state_dict(wrapper.state_dict())
    for pair in ((wrapper, weight), (again, other)):
        step(*pair, gradients[1])
    torch.testing.assert_close(other, weight)
