import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from backbones.catalogue import find_entry
from backbones.families.classics import LENET_SEEN, LRN, VGG, AlexNet, LeNet, VGGNet
from backbones.weights import load_pretrained


def images(count: int = 1, side: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def millions(net: nn.Module) -> float:
    return sum(parameter.numel() for parameter in net.parameters()) / 1e6


# --- LeNet ---


def test_lenet_has_the_papers_parameters_and_connections():
    """Section 3: 9760 independent parameters; 64 660 connections, of which 1000 are the units' biases."""
    net = LeNet()
    assert round(millions(net) * 1e6) == 9760
    with FlopCounterMode(display=False) as counter:
        net(images(side=16, channels=1))
    assert counter.get_total_flops() // 2 == 64_660 - 1000


def test_lenets_units_have_biases_of_their_own():
    net = LeNet()
    assert net.h1_bias.bias.shape == (12, 8, 8)
    assert net.h2_bias.bias.shape == (12, 4, 4)


def test_every_plane_of_lenets_h2_sees_eight_planes_of_h1():
    net = LeNet()
    planes = torch.zeros(1, 12, 8, 8, requires_grad=True)
    net.h1_bias.forward = lambda x: planes
    for plane in range(12):
        (grad,) = torch.autograd.grad(net.forward_features(images(side=16))[0, plane].sum(), planes)
        seen = {index for index in range(12) if grad[0, index].abs().sum() > 0}
        assert seen == set(LENET_SEEN[plane // 4])
        assert len(seen) == 8
    assert len({frozenset(seen) for seen in LENET_SEEN}) == 3
    assert all(sum(plane in seen for seen in LENET_SEEN) == 2 for plane in range(12))  # none is favoured


def test_lenets_background_is_minus_one():
    """So a blank image gives every unit of a plane the same input."""
    net = LeNet()
    features = net.h1(net.border(torch.full((1, 1, 16, 16), -1.0)))
    assert features.flatten(2).std(-1).max() < 1e-6


def test_lenet_takes_colours_as_grey():
    net = LeNet(num_classes=5)
    grey = images(side=16, channels=1)
    torch.testing.assert_close(net(grey), net(grey.expand(-1, 3, -1, -1)))
    assert net(grey).shape == (1, 5)


# --- AlexNet ---


def test_alexnets_maps_are_the_papers():
    """Figure 2 draws 55, 27 and 13 cells a side and 4096 units."""
    net = AlexNet().eval()
    shapes = {}
    for path in ("conv1", "conv2", "conv3", "conv4", "conv5", "pool5"):
        net.features.get_submodule(path).register_forward_hook(
            lambda module, args, output, path=path: shapes.update({path: tuple(output.shape[1:])})
        )
    with torch.no_grad():
        net(torch.zeros(1, 3, 224, 224))
    sides = {"conv1": (96, 55, 55), "conv2": (256, 27, 27), "conv3": (384, 13, 13), "conv4": (384, 13, 13)}
    assert shapes == {**sides, "conv5": (256, 13, 13), "pool5": (256, 6, 6)}


def test_alexnets_layers_stand_in_the_papers_order():
    """Section 3.5: normalisation after the first two convolutions' ReLUs, pooling after these and the fifth ReLU."""
    order = "conv relu norm pool conv relu norm pool conv relu conv relu conv relu pool"
    kinds = {"conv": nn.Conv2d, "relu": nn.ReLU, "norm": nn.LocalResponseNorm, "pool": nn.MaxPool2d}
    assert [type(layer) for layer in AlexNet().features] == [kinds[name] for name in order.split()]


def test_alexnets_halves_meet_in_the_third_convolution_alone():
    net = AlexNet(exact_strides=True).features.eval()
    inputs = {"conv2": 96, "conv3": 256, "conv4": 384, "conv5": 384}
    for path, channels in inputs.items():
        x = torch.randn(1, channels, 5, 5, requires_grad=True)
        net.get_submodule(path)(x)[0, 0].sum().backward()  # a plane of the first GPU
        other_half = x.grad[0, channels // 2 :].abs().sum()
        assert (other_half > 0) == (path == "conv3"), path


def test_local_response_normalisation_is_the_papers_formula():
    """Section 3.3: a / (k + alpha * sum of squares over n = 5 neighbouring planes) ** beta."""
    x = torch.randn(1, 9, 2, 2) * 50
    squares = torch.stack([(x[:, max(0, i - 2) : i + 3] ** 2).sum(1) for i in range(9)], dim=1)
    torch.testing.assert_close(nn.LocalResponseNorm(**LRN)(x), x / (2 + 1e-4 * squares) ** 0.75)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_owt"])
def test_alexnet_padded_is_alexnet_but_for_its_borders(name):
    with torch.device("meta"):
        paper, padded = (find_entry(name + suffix).build() for suffix in ("", "_padded"))
    assert [(key, value.shape) for key, value in paper.state_dict().items()] == [
        (key, value.shape) for key, value in padded.state_dict().items()
    ]
    assert find_entry(name).channels is None
    assert find_entry(f"{name}_padded").channels


@pytest.mark.slow
def test_torchvisions_alexnet_file_fills_ours_and_gives_its_outputs(tmp_path):
    """Its fully connected layers are our convolutions of the whole map."""
    theirs = torchvision.models.alexnet(num_classes=10).eval()
    torch.save(theirs.state_dict(), tmp_path / "alexnet.pth")
    ours = find_entry("alexnet_owt").build(num_classes=10).eval()
    load_pretrained(ours, "alexnet_owt", str(tmp_path / "alexnet.pth"))
    ours.head.fc.load_state_dict(theirs.classifier[6].state_dict())  # of ten classes, which a file cannot bring
    x = images(side=224)
    with torch.no_grad():
        logits = theirs(x)
        torch.testing.assert_close(ours(x), logits, atol=1e-5, rtol=1e-4)
    assert logits.std() > 1e-3


# --- VGG ---


@pytest.mark.parametrize(("column", "model"), [("a", "vgg11"), ("b", "vgg13"), ("d", "vgg16"), ("e", "vgg19")])
def test_vgg_has_timms_keys_and_torchvisions_tensors(column, model):
    with torch.device("meta"):
        ours, timms, torchvisions = VGGNet(column), timm.create_model(model), torchvision.models.get_model(model)
    shapes = {key: value.shape for key, value in ours.state_dict().items()}
    assert shapes == {key: value.shape for key, value in timms.state_dict().items()}
    assert [shape.numel() for shape in shapes.values()] == [v.numel() for v in torchvisions.state_dict().values()]


@pytest.mark.slow
def test_vgg_gives_timms_and_torchvisions_outputs_from_their_weights():
    timms = timm.create_model("vgg11", num_classes=10).eval()
    ours = VGGNet("a", num_classes=10).eval()
    ours.load_state_dict(timms.state_dict())
    torchvisions = torchvision.models.vgg11(num_classes=10, init_weights=False).eval()
    x = images(side=224)
    with torch.no_grad():
        logits = timms(x)
        torch.testing.assert_close(ours(x), logits, atol=1e-5, rtol=1e-5)
        for target, value in zip(torchvisions.state_dict().values(), ours.state_dict().values(), strict=True):
            target.copy_(value.reshape(target.shape))
        torch.testing.assert_close(torchvisions(x), logits, atol=1e-5, rtol=1e-5)
    assert logits.std() > 1e-3


def test_vgg_c_is_d_with_1x1_convolutions_at_the_end_of_its_last_blocks():
    with torch.device("meta"):
        c, d = VGGNet("c"), VGGNet("d")
    kernels = [module.kernel_size[0] for module in c.features if isinstance(module, nn.Conv2d)]
    assert kernels == [3] * 4 + [3, 3, 1] * 3
    assert [type(module) for module in c.features] == [type(module) for module in d.features]
    assert round(millions(c)) == 134  # paper, table 2


@pytest.mark.parametrize(("column", "depth"), [("a", 11), ("b", 13), ("c", 16), ("d", 16), ("e", 19)])
def test_vgg_has_as_many_weight_layers_as_its_table_says(column, depth):
    assert sum(map(len, VGG[column])) + 3 == depth


def test_vggs_lrn_follows_the_first_relu():
    with torch.device("meta"):
        plain, lrn = VGGNet("a"), VGGNet("a", lrn=True)
    names = [type(module).__name__ for module in lrn.features]
    assert names[:4] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    del names[2]
    assert names == [type(module).__name__ for module in plain.features]
