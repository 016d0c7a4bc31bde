import pytest
import torch
from timm.layers import ConvNormAct
from torch import nn

from backbones.families.rexnet_plain import ROWS, PlainBlock, ReXNetPlain
from benchmark.measuring.complexity import count_macs

# Channels of the 13 blocks in the third party's code
CHANNELS = [96, 144, 192, 240, 288, 336, 384, 432, 480, 528, 576, 624, 1024]
# The candidates' blocks with stride 2, counted from 1
STRIDED = {"a": [1, 3, 5, 11], "b": [2, 4, 6, 12]}


def meta_net(candidate: str) -> ReXNetPlain:
    with torch.device("meta"):
        return ReXNetPlain(candidate)


@pytest.mark.parametrize("candidate", STRIDED)
def test_blocks_have_the_codes_channels_and_the_candidates_strides(candidate):
    net = meta_net(candidate)
    pairs = [(depthwise.conv, pointwise.conv) for depthwise, pointwise in net.blocks]
    assert [pointwise.out_channels for _, pointwise in pairs] == CHANNELS
    assert [index for index, (conv, _) in enumerate(pairs, start=1) if conv.stride == (2, 2)] == STRIDED[candidate]
    assert all(conv.groups == conv.in_channels and conv.kernel_size == (3, 3) for conv, _ in pairs)


def test_a_alone_ends_with_a_1x1_convolution():
    assert meta_net("a").last.conv.weight.shape == (1280, 1024, 1, 1)
    assert isinstance(meta_net("b").last, nn.Identity)


@pytest.mark.parametrize(("candidate", "params", "macs"), [("a", 4.97, 0.442), ("b", 3.40, 0.565)])
def test_costs_tell_the_candidates_apart(candidate, params, macs):
    """MobileNetV1, which the paper builds on, has 0.57B: B's budget, not A's."""
    net = meta_net(candidate).eval()
    found, _ = count_macs(lambda: net(torch.zeros(1, 3, 224, 224, device="meta")))
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(params, abs=0.005)
    assert found / 1e9 == pytest.approx(macs, abs=0.0005)


def test_silu_follows_1x1_convolutions_alone_and_no_block_has_a_shortcut():
    depthwise, pointwise = block = PlainBlock(4, 4, stride=1)
    assert isinstance(depthwise, ConvNormAct)
    assert (type(depthwise.bn.act), type(pointwise.bn.act)) == (nn.ReLU6, nn.SiLU)
    nn.init.zeros_(pointwise.bn.weight)
    assert not block(torch.randn(2, 4, 6, 6)).any()


def test_no_row_is_called_the_papers():
    assert list(ROWS) == ["rexnet_plain_candidate_a", "rexnet_plain_candidate_b"]
    assert all(entry.published is None for entry in ROWS.values())
