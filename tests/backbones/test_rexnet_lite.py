import pytest
import torch
from torch import nn

from backbones.families.rexnet_lite import LinearBottleneck, ReXNetLite, lite_channels

# Output channels of the blocks that the authors' code makes at x1.0
CHANNELS = [16, 32, 40, 48, 64, 72, 80, 96, 104, 112, 128, 136, 144, 160, 168, 184]


def test_channels_of_x1_are_the_codes():
    assert lite_channels(1.0) == CHANNELS


@pytest.mark.parametrize("width", [1.0, 1.3, 1.5, 2.0])
def test_channels_grow_and_are_divisible_by_8(width):
    channels = lite_channels(width)
    assert channels == sorted(channels)
    assert all(chs % 8 == 0 for chs in channels)


def test_all_activations_are_relu6():
    with torch.device("meta"):
        net = ReXNetLite()
    acts = [type(module) for module in net.modules() if isinstance(module, nn.ReLU | nn.ReLU6 | nn.SiLU)]
    assert set(acts) == {nn.ReLU6}
    assert len(acts) == 1 + 31 + 1 + 1  # stem; two a block, the first without expansion; last convolution; head


def test_the_head_has_a_layer_of_1024_units_with_bias_and_bn():
    with torch.device("meta"):
        net = ReXNetLite(2.0)
    assert net.pre_logits.conv.weight.shape == (1024, 2560, 1, 1)
    assert net.pre_logits.conv.bias is not None
    assert isinstance(net.pre_logits.bn, nn.BatchNorm2d)
    assert net.head.fc.weight.shape == (1000, 1024)


def test_shortcut_adds_onto_the_first_channels(randomise):
    block = randomise(LinearBottleneck(3, 5, stride=1, expansion=6)).eval()
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        with_shortcut = block(x)
        block.use_shortcut = False
        without = block(x)
    torch.testing.assert_close(with_shortcut[:, :3] - without[:, :3], x)
    torch.testing.assert_close(with_shortcut[:, 3:], without[:, 3:])


@pytest.mark.parametrize(("stride", "channels"), [(2, 5), (1, 2)])
def test_no_shortcut_where_shapes_forbid_it(stride, channels):
    block = LinearBottleneck(3, channels, stride, expansion=6)
    assert block(torch.randn(2, 3, 8, 8)).shape == (2, channels, 8 // stride, 8 // stride)
    assert not block.use_shortcut
