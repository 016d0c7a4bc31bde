"""Strided 1x1 convolutions of few channels: the same sums, and a backward pass that keeps to its memory."""

import os
import subprocess
import sys

import pytest
import torch
from helpers import REPOSITORY
from torch import nn

from backbones.catalogue import build_network
from backbones.strided import SubsampledConv2d, subsample_narrow

# glibc's checks of its heap notice at once what else ends a process only sometimes.
CHECKED = {"LD_PRELOAD": "libc_malloc_debug.so.0", "GLIBC_TUNABLES": "glibc.malloc.check=3"}
BACKWARD = """
import torch
from backbones.catalogue import build_network
net = build_network("{name}").train().to(memory_format=torch.channels_last)
images = torch.randn(2, 3, 320, 320).to(memory_format=torch.channels_last)
for _ in range(2):
    net.forward_features(images).square().mean().backward()
"""


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_the_convolution_with_a_stride(side, bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 5, 1, stride=2, bias=bias)
    other = subsample_narrow(nn.Sequential(nn.Conv2d(3, 5, 1, stride=2, bias=bias)))
    assert type(other[0]) is SubsampledConv2d
    other[0].load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, side, side, requires_grad=True)
    found = [torch.autograd.grad(net(image).square().sum(), (image, *net.parameters())) for net in (plain, other)]
    assert torch.allclose(plain(image), other(image), atol=1e-6)
    for theirs, ours in zip(*found, strict=True):
        assert torch.allclose(theirs, ours, atol=1e-5)


def test_other_convolutions_are_left_alone():
    others = [
        nn.Conv2d(16, 5, 1, stride=2),
        nn.Conv2d(3, 5, 1),
        nn.Conv2d(3, 5, 3, stride=2),
        nn.Conv2d(4, 4, 1, stride=2, groups=4),
        nn.Conv2d(3, 5, 1, stride=2, padding=1),
    ]
    assert {type(module) for module in subsample_narrow(nn.Sequential(*others))} == {nn.Conv2d}


@pytest.mark.parametrize("name", ["mobileone_s0", "fastvit_t8", "pnasnet_5_mobile"])
def test_every_network_is_built_with_it(name):
    with torch.device("meta"):
        net = build_network(name)
    assert any(type(module) is SubsampledConv2d for module in net.modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobileone_s1", "pnasnet_5_mobile"])
def test_a_backward_pass_in_channels_last_keeps_to_its_memory(name):
    environment = {**os.environ, **CHECKED, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", BACKWARD.format(name=name)], env=environment, capture_output=True)
    assert run.returncode == 0, run.stderr[-500:]
