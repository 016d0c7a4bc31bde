import re
from functools import partial

import pytest
import torch
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import nn

from backbones.families.searched import ATOMNAS_C, ROWS, AtomBlock, AtomNAS, MixedDepthwise

# (expanded channels - output channels, stride, kernel) of every block: Han et al., CVPR 2021, appendix, Table A
TABLE_A = {
    "fbnet_b": """
        (16-16,1,3) (96-24,2,3) (24-24,1,5) (24-24,1,3) (24-24,1,3) (144-32,2,5) (96-32,1,5) (192-32,1,3) (192-32,1,5)
        (192-64,2,5) (64-64,1,5) (192-64,1,5) (384-112,1,5) (112-112,1,3) (112-112,1,5) (336-112,1,5) (672-184,2,5)
        (184-184,1,5) (1104-184,1,5) (1104-184,1,5) (1104-352,1,3)""",
    "proxyless_r": """
        (32-16,1,3) (48-32,2,5) (96-32,1,3) (96-40,2,7) (120-40,1,3) (120-40,1,5) (120-40,1,5) (240-80,2,7) (240-80,1,5)
        (240-80,1,5) (240-80,1,5) (480-96,1,5) (288-96,1,5) (288-96,1,5) (288-96,1,5) (576-192,2,7) (1152-192,1,7)
        (576-192,1,7) (576-192,1,7) (1152-320,1,7)""",
}
# FairNAS-A: expansion, output channels, kernel and stride of every block but the first, as its code lists them
FAIRNAS_A = """
    3 32 7 2, 3 32 3 1, 3 40 7 2, 6 40 3 1, 6 40 7 1, 3 40 3 1, 3 80 3 2, 6 80 7 1, 6 80 7 1, 3 80 5 1, 6 96 3 1,
    3 96 5 1, 3 96 5 1, 6 96 3 1, 6 192 3 2, 6 192 7 1, 6 192 3 1, 6 192 7 1, 6 320 5 1"""
# AtomNAS-C: expanded channels of every block, the sums of those that its code gives each kernel
ATOMNAS_C_EXPANDED = [
    32, 51, 25, 30, 25, 199, 91, 66, 69, 496, 174, 116, 134, 903, 133, 121, 158, 1390, 631, 754, 780, 2310
]  # fmt: skip


def meta_net(name: str, **kwargs) -> nn.Module:
    with torch.device("meta"):
        return ROWS[name].build(**kwargs)


def blocks(net: nn.Module) -> list[tuple[int, int, int, int]]:
    """(depthwise channels, output channels, stride, kernel) of every block of timm's class."""
    found = []
    for block in (block for stage in net.blocks for block in stage):
        project = block.conv_pwl if isinstance(block, InvertedResidual) else block.conv_pw
        depthwise = block.conv_dw
        found.append((depthwise.in_channels, project.out_channels, depthwise.stride[0], depthwise.kernel_size[0]))
    return found


@pytest.mark.parametrize("name", TABLE_A)
def test_blocks_are_those_of_table_a(name):
    printed = re.findall(r"\((\d+)-(\d+),(\d),(\d)\)", TABLE_A[name])
    assert blocks(meta_net(name)) == [tuple(map(int, row)) for row in printed]


def test_fbnets_blocks_keep_their_first_1x1_convolution_where_they_do_not_expand():
    """As its figure 3 draws them."""
    assert all(isinstance(block, InvertedResidual) for stage in meta_net("fbnet_b").blocks for block in stage)


@pytest.mark.parametrize("name", ["fairnas_a", "fairnas_a_se", "fairnas_a_se_half"])
def test_fairnas_blocks_are_its_codes(name):
    expected, in_channels = [(32, 16, 1, 3)], 16
    for block in FAIRNAS_A.split(","):
        expansion, channels, kernel, stride = map(int, block.split())
        expected.append((in_channels * expansion, channels, stride, kernel))
        in_channels = channels
    assert blocks(meta_net(name)) == expected


@pytest.mark.parametrize(("name", "count"), [("fairnas_a_se", 5_835_322), ("fairnas_a_se_half", 4_613_730)])
def test_fairnas_with_squeeze_excitation_has_the_parameters_of_its_readme(name, count):
    """There for ten classes, at SE ratios 1.0 and 0.5."""
    assert sum(parameter.numel() for parameter in meta_net(name, num_classes=10).parameters()) == count


def test_fairnas_has_squeeze_excitation_and_swish_in_all_blocks_but_the_first():
    first, *others = (block for stage in meta_net("fairnas_a_se").blocks for block in stage)
    assert isinstance(first.se, nn.Identity)
    assert all(isinstance(block.se, SqueezeExcite) and isinstance(block.bn1.act, nn.SiLU) for block in others)
    plain = [block for stage in meta_net("fairnas_a").blocks for block in stage]
    assert all(isinstance(block.se, nn.Identity) for block in plain)
    assert all(isinstance(block.bn1.act, nn.ReLU6) for block in plain)


# --- AtomNAS ---


def test_a_mixed_depthwise_convolution_uses_a_kernel_for_its_own_channels():
    layer = MixedDepthwise((2, 3), (3, 5), stride=2)
    x = torch.randn(2, 5, 9, 9)
    with torch.no_grad():
        out = layer(x)
        for start, stop, conv in ((0, 2, layer.convs[0]), (2, 5, layer.convs[1])):
            torch.testing.assert_close(out[:, start:stop], conv(x[:, start:stop]))
    assert [conv.kernel_size for conv in layer.convs] == [(3, 3), (5, 5)]
    assert out.shape == (2, 5, 5, 5)


@pytest.mark.parametrize(("channels", "stride", "ratio"), [(8, 1, 0.5), (8, 1, 0.0), (12, 2, 0.5)])
def test_an_atom_block_of_one_kernel_is_timms_inverted_residual(channels, stride, ratio, randomise):
    ours = randomise(AtomBlock(8, channels, stride, (48,), True, nn.SiLU, ratio)).eval()
    se = partial(SqueezeExcite, rd_channels=4) if ratio else None
    theirs = InvertedResidual(8, channels, 3, stride, exp_ratio=6, act_layer=nn.SiLU, se_layer=se).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        out = ours(x)
        torch.testing.assert_close(out, theirs(x))
    assert out.std() > 1e-3


def test_atomnas_c_has_22_blocks_of_which_the_first_does_not_expand():
    with torch.device("meta"):
        net = AtomNAS()
    found = [block for stage in net.blocks for block in stage]
    assert [isinstance(block.expand, nn.Identity) for block in found] == [True] + [False] * 21
    assert [block.project.conv.in_channels for block in found] == ATOMNAS_C_EXPANDED
    assert [block.use_shortcut for block in found].count(True) == 15  # all but the first of a stage


def test_atomnas_plus_has_squeeze_excitation_of_half_the_inputs_channels_and_swish():
    with torch.device("meta"):
        plain, plus = AtomNAS(), AtomNAS(plus=True)
    assert not any(isinstance(module, nn.SiLU) for module in plain.modules())
    assert not any(isinstance(module, nn.ReLU) for module in plus.modules())
    inputs = [32, *(stage[0] for stage in ATOMNAS_C for _ in stage[2])][:-1]
    hidden = [block.se.fc1.out_channels for stage in plus.blocks for block in stage]
    assert hidden == [channels // 2 for channels in inputs]
