import pytest
import torch
from timm.models.rexnet import RexNet
from torch import nn

from backbones.families.rexnet import LinearBottleneck, ReXNet, linear_channels

pytestmark = pytest.mark.slow

WIDTHS = (0.9, 1.0, 1.3, 1.5, 2.0, 2.2, 3.0)
# Appendix, Table A: output channels of the blocks of x1.0
TABLE_A = [16, 27, 38, 50, 61, 72, 84, 95, 106, 117, 128, 140, 151, 162, 174, 185]
# Tables 3 and 4: parameters in millions
PAPER_PARAMS = {0.9: 4.09, 1.0: 4.80, 1.3: 7.56, 1.5: 9.73, 2.0: 16.37, 2.2: 19.49}


def blocks(net: nn.Module) -> list[nn.Module]:
    return list(net.features)[:-1]


def images(count: int = 1, side: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_channels_of_x1_are_the_papers():
    assert linear_channels(1.0) == TABLE_A


@pytest.mark.parametrize("width", WIDTHS)
def test_shapes_are_timms(width):
    with torch.device("meta"):
        ours, theirs = ReXNet(width), RexNet(width_mult=width)
    assert [block.conv_pwl.conv.out_channels for block in blocks(ours)] == linear_channels(width)
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


@pytest.mark.parametrize(("width", "millions"), PAPER_PARAMS.items())
def test_parameters_are_the_papers(width, millions):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in ReXNet(width).parameters())
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("width", WIDTHS)
def test_outputs_equal_timms_with_the_same_weights(width, randomise):
    ours, theirs = ReXNet(width).eval(), RexNet(width_mult=width).eval()
    x = images()
    with torch.no_grad():
        theirs.load_state_dict(randomise(ours, seed=1).state_dict())
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
        ours.load_state_dict(randomise(theirs, seed=2).state_dict())
        logits = theirs(x)
        torch.testing.assert_close(ours(x), logits, atol=1e-5, rtol=1e-5)
    assert logits.std() > 1e-3


def test_training_gradients_equal_timms(randomise):
    ours, theirs = ReXNet(1.0, num_classes=10, drop_rate=0.0), RexNet(num_classes=10, drop_rate=0.0)
    theirs.load_state_dict(randomise(ours).state_dict())
    x, labels = images(4), torch.arange(4)
    for net in (ours.train(), theirs.train()):
        nn.functional.cross_entropy(net(x), labels).backward()
    expected = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    for key, parameter in ours.named_parameters():
        scale = expected[key].abs().max().item()
        torch.testing.assert_close(parameter.grad, expected[key], atol=1e-4 * scale + 1e-7, rtol=1e-3, msg=key)
    for (key, ours_buffer), theirs_buffer in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(ours_buffer, theirs_buffer, atol=1e-5, rtol=1e-5, msg=key)


def test_squeeze_and_excitation_from_the_third_stage_on():
    with torch.device("meta"):
        net = ReXNet()
    has_se = [block.se is not None for block in blocks(net)]
    assert has_se == [False] * 3 + [True] * 13


def test_shortcut_adds_onto_the_first_channels(randomise):
    block = randomise(LinearBottleneck(3, 5, stride=1, expansion=6, se=True)).eval()
    x = images(side=8)
    with torch.no_grad():
        with_shortcut = block(x)
        block.use_shortcut = False
        without = block(x)
    torch.testing.assert_close(with_shortcut[:, :3] - without[:, :3], x)
    torch.testing.assert_close(with_shortcut[:, 3:], without[:, 3:])


@pytest.mark.parametrize(("stride", "channels"), [(2, 5), (1, 2)])
def test_no_shortcut_where_shapes_forbid_it(stride, channels):
    block = LinearBottleneck(3, channels, stride, expansion=6, se=False).eval()
    with torch.no_grad():
        out = block(images(side=8))
    assert out.shape == (1, channels, 8 // stride, 8 // stride)
