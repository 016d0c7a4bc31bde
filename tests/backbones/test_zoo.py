"""Every row of the catalogue: its published cost, its maps, its gradients."""

from decimal import Decimal

import pytest
import torch
from helpers import sampled
from torch import Tensor, nn

from backbones.catalogue import CATALOGUE, fuse_network
from backbones.features import Backbone
from benchmark.measuring.complexity import count_macs

pytestmark = pytest.mark.slow

SIZES = ((320, 320), (416, 608), (800, 1216))
# Their stem has no padding, and C1, which no detector uses, a row and a column less.
SHORT_C1 = ("nasnet_a_large", "pnasnet_5_large")
# Some count biases or batch normalisation; a figure may also be off by half a unit of its last printed digit.
TOLERANCE = 0.025
# Where ours differ by more than that, as the rows' notes explain: ours / published - 1 of params and multiply-adds
DIFFERS = {
    "efficientnet_b4": (0.018, 0.046),
    "efficientnet_b5": (0.013, 0.037),
    "mobilenet_v2": (0.031, 0.003),
    "googlenet": (0.006, 0.054),
    "resnet50": (0.0, 0.076),
    "resnet101": (0.0, 0.0265),
    "lcnet_x0.5": (-0.01, -0.0483),
    "lcnet_x0.75": (-0.017, -0.0426),
    "lcnet_x1.0": (-0.015, -0.033),
    "swiftformer_xs": (-0.007, 0.506),
    "darts": (0.004, -0.077),
    "p_darts": (0.009, -0.0255),
}
# a network each that learns from small images
LEARNERS = (
    "shufflenet_v1_g3_x0.5",
    "shufflenet_v2_x0.5",
    "alexnet_padded",
    "vgg11_lrn",
    "googlenet",
    "bn_inception",
    "nasnet_a_mobile",
    "amoebanet_a_mobile",
    "pnasnet_5_mobile",
    "darts",
    "p_darts",
    "fbnet_b",
    "fairnas_a_se",
    "atomnas_c_plus",
    "rexnet_lite_x1.0",
    "rexnet_plain_candidate_a",
    "rexnet_plain_candidate_b",
)


def levels(net: nn.Module) -> dict[str, tuple[int, int]]:
    """Module -> (channels, stride) of C1..C5; timm's record names for C1 a module that some networks do not have."""
    info = net.feature_info if isinstance(net.feature_info, list) else net.feature_info.get_dicts()
    modules = dict(net.named_modules())
    return {level["module"]: (level["num_chs"], level["reduction"]) for level in info if level["module"] in modules}


def agrees(ours: float, printed: float) -> bool:
    last_digit = 10.0 ** Decimal(str(printed)).as_tuple().exponent
    return abs(ours - printed) <= max(TOLERANCE * printed, last_digit / 2)


@pytest.mark.parametrize("name", sampled(name for name, entry in CATALOGUE.items() if entry.published))
def test_costs_are_the_published(name):
    entry = CATALOGUE[name]
    with torch.device("meta"):
        net = fuse_network(name, entry.build().eval())
        macs, _ = count_macs(lambda: net(torch.zeros(1, 3, entry.resolution, entry.resolution)))
    params = sum(parameter.numel() for parameter in net.parameters())
    both = ((params / 1e6, entry.published.params), (macs / 1e9, entry.published.macs))
    pairs = [(ours, printed) for ours, printed in both if printed is not None]
    found = [ours / printed - 1 for ours, printed in pairs]
    agree = all(agrees(ours, printed) for ours, printed in pairs)
    assert agree == (name not in DIFFERS), found
    assert bool(entry.published.note) == (not agree)
    if not agree:
        assert found == pytest.approx(DIFFERS[name], abs=1e-3), entry.published.note


@pytest.mark.parametrize("name", sampled(name for name, entry in CATALOGUE.items() if entry.channels))
def test_maps_are_exactly_at_their_strides(name):
    entry = CATALOGUE[name]
    with torch.device("meta"):
        net = entry.build().eval()
    expected = levels(net) | {
        module: (chs, stride) for (module, chs), stride in zip(entry.ssdlite, (16, 32), strict=True)
    }
    recorded = {stride: chs for chs, stride in levels(net).values()}
    assert entry.channels == tuple(recorded.get(stride, 0) for stride in (2, 4, 8, 16, 32))
    if name in SHORT_C1:
        expected = {module: level for module, level in expected.items() if level[1] > 2}
    shapes: dict[str, tuple[int, ...]] = {}
    for module in expected:
        net.get_submodule(module).register_forward_hook(
            lambda _, args, output, module=module: shapes.update({module: tuple(output.shape)})
        )
    for height, width in SIZES:
        with torch.no_grad():
            net.forward_features(torch.zeros(1, 3, height, width, device="meta"))
        assert shapes == {m: (1, chs, height // stride, width // stride) for m, (chs, stride) in expected.items()}


def random_sum(maps: tuple[Tensor, ...]) -> Tensor:
    """Scalar with a gradient on every value; a plain sum has none through a BN in training mode."""
    return sum((level * torch.randn(level.shape)).sum() for level in maps)


@pytest.mark.parametrize("taps", ["pyramid", "ssdlite"])
@pytest.mark.parametrize("name", sampled(LEARNERS))
def test_every_parameter_has_a_gradient(name, taps):
    torch.manual_seed(0)
    backbone = Backbone(name, taps)
    random_sum(backbone(torch.randn(2, 3, 64, 64))).backward()
    without = [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


@pytest.mark.parametrize("name", sampled(LEARNERS))
def test_the_classifier_gives_logits_that_depend_on_the_image(name):
    torch.manual_seed(0)
    net = CATALOGUE[name].build(num_classes=7, drop_rate=0.0).eval()
    with torch.no_grad():
        logits = net(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 7)
    assert not torch.allclose(logits[0], logits[1])
