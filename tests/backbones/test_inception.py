import pytest
import torch
import torchvision
from torch import nn

from backbones.catalogue import find_entry
from backbones.families.inception import (
    ResidualBranches,
    bn_inception,
    googlenet,
    inception_resnet_v1,
    padded_timm,
)
from benchmark.measuring.complexity import count_macs

# GoogLeNet, table 1: output channels and multiply-adds in M of every module
GOOGLENET_TABLE = {
    "3a": (256, 128), "3b": (480, 304), "4a": (512, 73), "4b": (512, 88), "4c": (512, 100), "4d": (528, 119),
    "4e": (832, 170), "5a": (832, 54), "5b": (1024, 71),
}  # fmt: skip
# BN-Inception, figure 5: cells a side and channels of every module's output
BN_INCEPTION_TABLE = {
    "3a": (28, 256), "3b": (28, 320), "3c": (14, 576), "4a": (14, 576), "4b": (14, 576), "4c": (14, 608),
    "4d": (14, 608), "4e": (7, 1056), "5a": (7, 1024), "5b": (7, 1024),
}  # fmt: skip


def images(count: int = 1, side: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def module_shapes(net: nn.Module, side: int) -> dict[str, tuple[int, ...]]:
    """Input and output shapes, (C, H, W), of the modules of ``features`` at an image's side."""
    shapes = {}
    for name, module in net.features.named_children():
        module.register_forward_hook(
            lambda _, args, output, name=name: shapes.update({name: (tuple(args[0].shape), tuple(output.shape))})
        )
    with torch.no_grad():
        net.eval()(torch.zeros(1, 3, side, side, device="meta"))
    return shapes


def test_googlenets_modules_cost_what_its_table_says():
    with torch.device("meta"):
        net = googlenet()
    shapes = module_shapes(net, 224)
    for name, (channels, macs) in GOOGLENET_TABLE.items():
        (given, gives), module = shapes[f"inception{name}"], net.features.get_submodule(f"inception{name}")
        found, _ = count_macs(lambda module=module, given=given: module(torch.zeros(given, device="meta")))
        assert gives[1] == channels
        assert found / 1e6 == pytest.approx(macs, rel=0.06), name  # 5a is 5.6 % off, the others under 3 %


def test_googlenet_with_bn_gives_torchvisions_outputs_from_its_weights(randomise):
    theirs = randomise(torchvision.models.GoogLeNet(aux_logits=False, init_weights=False)).eval()
    for module in theirs.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # so that features reach the logits
    ours = googlenet(batch_norm=True).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = images(2, side=96)
    with torch.no_grad():
        logits = theirs(x)
        torch.testing.assert_close(ours(x), logits, atol=1e-4, rtol=1e-4)
    assert (logits[0] - logits[1]).abs().max() > 0.1


def test_googlenet_has_5x5_convolutions_and_normalises_by_local_response():
    with torch.device("meta"):
        net = googlenet()
    kernels = [module.kernel_size[0] for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert kernels.count(5) == 9
    assert [name for name, module in net.features.named_children() if isinstance(module, nn.LocalResponseNorm)] == [
        "norm1",
        "norm2",
    ]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_bn_inceptions_maps_are_the_papers():
    with torch.device("meta"):
        shapes = module_shapes(bn_inception(), 224)
    for name, (side, channels) in BN_INCEPTION_TABLE.items():
        assert shapes[f"inception{name}"][1] == (1, channels, side, side)


def test_inception_resnets_maps_are_the_papers():
    """Figures 10 to 15: 35, 17 and 8 cells a side of 256, 896 and 1792 channels."""
    with torch.device("meta"):
        shapes = module_shapes(inception_resnet_v1(), 299)
    assert [shapes[name][1] for name in "abc"] == [(1, 256, 35, 35), (1, 896, 17, 17), (1, 1792, 8, 8)]


def test_inception_resnet_has_the_parameters_counted_elsewhere():
    """osmr/imgclsmob counts 23 995 624 with a layer of 512 units and its BN before the classifier."""
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in inception_resnet_v1().parameters())
    assert count - 1793 * 1000 + 1792 * 512 + 2 * 512 + 513 * 1000 == 23_995_624


def test_a_residual_block_scales_what_it_adds():
    block = ResidualBranches(8, (((4, 1),), ((4, 1), (4, 3))), scale=0.5, act=False).eval()
    x = torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(block(x), x + 0.5 * block.project(block.branches(x)))
        block.act = nn.ReLU()
        assert block(x).min() >= 0


def test_the_last_block_of_inception_resnet_has_no_scale_and_no_relu():
    with torch.device("meta"):
        *_, before, last = inception_resnet_v1().features.c
    assert (before.scale, type(before.act), last.scale, type(last.act)) == (0.2, nn.ReLU, 1.0, nn.Identity)


def test_inception_resnet_v1_padded_is_the_other_but_for_its_borders():
    with torch.device("meta"):
        paper, padded = (find_entry(f"inception_resnet_v1{suffix}").build() for suffix in ("", "_padded"))
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (paper, padded)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("model", ["inception_v3", "inception_v4", "inception_resnet_v2"])
def test_timms_networks_with_padding_keep_timms_tensors_and_modules(model):
    with torch.device("meta"):
        timms, padded = (find_entry(model + suffix).build() for suffix in ("", "_padded"))
    shapes = [[(key, value.shape) for key, value in net.state_dict().items()] for net in (timms, padded)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("reduction", "channels"), [("Mixed_6a", 288), ("Mixed_7a", 768)])
def test_inception_v3s_poolings_without_a_module_are_padded_too(reduction, channels):
    block = padded_timm("inception_v3").eval().get_submodule(reduction)
    x = torch.randn(1, channels, 8, 8)
    with torch.no_grad():
        out = block(x)
    assert out.shape[2:] == (4, 4)
    assert torch.equal(out[:, -channels:], nn.functional.max_pool2d(x, 3, 2, padding=1))
