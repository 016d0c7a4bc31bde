import pytest
import torch
import torchvision
from torch import nn

from backbones.families.shufflenet import (
    V1_CHANNELS,
    V2_CHANNELS,
    UnitV1,
    channel_shuffle,
    shufflenet_v1,
    shufflenet_v2,
)


def images(count: int = 1, side: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("width", V2_CHANNELS)
def test_v2_gives_torchvisions_outputs_from_its_weights(width, randomise):
    name = f"shufflenet_v2_x{width}".replace(".", "_")
    theirs = randomise(torchvision.models.get_model(name)).eval()
    for module in theirs.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # so that features reach the logits
    ours = shufflenet_v2(width).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    with torch.no_grad():
        logits = theirs(images(2))
        torch.testing.assert_close(ours(images(2)), logits, atol=1e-4, rtol=1e-4)
    assert (logits[0] - logits[1]).abs().max() > 0.1


def test_the_shuffle_is_torchs():
    x = torch.randn(2, 12, 3, 5)
    for groups in (1, 2, 3, 4):
        assert torch.equal(channel_shuffle(x, groups), nn.ChannelShuffle(groups)(x))


@pytest.mark.parametrize("groups", V1_CHANNELS)
def test_v1_groups_all_1x1_convolutions_but_the_first_and_the_classifier_has_no_bias(groups):
    with torch.device("meta"):
        net = shufflenet_v1(groups)
    pointwise = [
        module.groups
        for path, module in net.named_modules()
        if isinstance(module, nn.Conv2d) and path.startswith("stage") and module.kernel_size == (1, 1)
    ]
    assert pointwise == [1] + [groups] * 31  # two in each of 16 units
    assert net.head.fc.bias is None


def test_v1_unit_of_stride_1_adds_its_input_before_the_relu():
    unit = UnitV1(24, 24, 1, groups=3, reduce_groups=3).eval()
    nn.init.zeros_(unit.expand.bn.weight)  # the branch gives zeros
    x = torch.randn(2, 24, 6, 6)
    with torch.no_grad():
        assert torch.equal(unit(x), x.relu())


def test_v1_unit_of_stride_2_puts_its_pooled_input_first():
    unit = UnitV1(24, 240, 2, groups=3, reduce_groups=1).eval()
    x = torch.randn(2, 24, 6, 6)
    with torch.no_grad():
        out = unit(x)
    torch.testing.assert_close(out[:, :24], nn.functional.avg_pool2d(x, 3, 2, 1))
    assert out.shape == (2, 240, 3, 3)
    assert out[:, 24:].min() >= 0  # not so the pooled input
    assert out[:, :24].min() < 0


def test_v1_every_output_sees_every_group():
    """What the shuffle is for: with grouped convolutions alone an output would see the inputs of its own group."""
    unit = UnitV1(240, 240, 1, groups=3, reduce_groups=3).eval()
    x = torch.randn(1, 240, 4, 4, requires_grad=True)
    (unit(x) - x.relu())[0, 5].sum().backward()  # an output of the first group
    reached = x.grad.abs().sum((0, 2, 3)).reshape(3, 80).sum(1) > 0
    assert reached.all()
