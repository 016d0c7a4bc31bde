from collections import Counter

import pytest
import timm
import torch
from timm.models import nasnet, pnasnet
from torch import nn

from backbones.families import cells
from backbones.families.cells import Cell, FactorizedReduction, Genotype, Map

# The plans as the authors' code writes them, state 0 being there the last cell's output for Google's and the one before
# for DARTS: (operations, states, used flags) and (operation, state) pairs.
AMOEBANET_NORMAL = (
    "avg_pool_3x3 max_pool_3x3 separable_3x3_2 none none avg_pool_3x3 separable_3x3_2 separable_5x5_2 avg_pool_3x3 "
    "separable_3x3_2",
    (0, 0, 1, 1, 0, 1, 0, 2, 5, 0),
    (1, 0, 1, 0, 0, 1, 0),
)
AMOEBANET_REDUCTION = (
    "separable_3x3_2 avg_pool_3x3 max_pool_3x3 separable_7x7_2 max_pool_3x3 max_pool_3x3 separable_3x3_2 1x7_7x1 "
    "avg_pool_3x3 separable_7x7_2",
    (1, 0, 0, 2, 1, 0, 4, 0, 1, 0),
    (1, 1, 0, 0, 0, 0, 0),
)
DARTS_V2 = {
    "normal": "sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 1, skip_connect 0, "
    "skip_connect 0, dil_conv_3x3 2",
    "reduce": "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 1, max_pool_3x3 0, skip_connect 2, "
    "skip_connect 2, max_pool_3x3 1",
}
DARTS_V1 = {
    "normal": "sep_conv_3x3 1, sep_conv_3x3 0, skip_connect 0, sep_conv_3x3 1, skip_connect 0, sep_conv_3x3 1, "
    "sep_conv_3x3 0, skip_connect 2",
    "reduce": "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 0, max_pool_3x3 0, skip_connect 2, "
    "skip_connect 2, avg_pool_3x3 0",
}
P_DARTS = {
    "normal": "skip_connect 0, dil_conv_3x3 1, skip_connect 0, sep_conv_3x3 1, sep_conv_3x3 1, sep_conv_3x3 3, "
    "sep_conv_3x3 0, dil_conv_5x5 4",
    "reduce": "avg_pool_3x3 0, sep_conv_5x5 1, sep_conv_3x3 0, dil_conv_5x5 2, max_pool_3x3 0, dil_conv_3x3 1, "
    "dil_conv_3x3 1, dil_conv_5x5 3",
}
OURS = {
    "none": "same", "skip_connect": "skip", "avg_pool_3x3": "avg3", "max_pool_3x3": "max3", "separable_3x3_2": "sep3",
    "separable_5x5_2": "sep5", "separable_7x7_2": "sep7", "sep_conv_3x3": "sep3", "sep_conv_5x5": "sep5",
    "dil_conv_3x3": "dil3", "dil_conv_5x5": "dil5", "1x7_7x1": "1x7_7x1",
}  # fmt: skip


def steps(genotype: Genotype) -> list[tuple[str, int]]:
    return [step for pair in genotype.pairs for step in pair]


def maps(previous: Map, last: Map, side: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    wide = side * last.stride // previous.stride
    return (
        torch.randn(2, previous.channels, wide, wide, generator=generator),
        torch.randn(2, last.channels, side, side, generator=generator),
    )


def with_weights_of(ours: nn.Module, theirs: nn.Module, randomise) -> nn.Module:
    """Ours with their tensors, which stand in the same order, and with their BN's epsilon."""
    randomise(theirs)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = cells.BN_EPS
    return ours.eval()


# --- plans ---


@pytest.mark.parametrize(
    ("genotype", "theirs"),
    [(cells.AMOEBANET_A_NORMAL, AMOEBANET_NORMAL), (cells.AMOEBANET_A_REDUCTION, AMOEBANET_REDUCTION)],
)
def test_amoebanets_cells_are_its_codes(genotype, theirs):
    operations, states, used = theirs
    swapped = [1 - state if state < 2 else state for state in states]
    assert steps(genotype) == [(OURS[name], state) for name, state in zip(operations.split(), swapped, strict=True)]
    unused = [1 - state if state < 2 else state for state, flag in enumerate(used) if not flag]
    assert sorted(genotype.concat) == sorted(unused)


@pytest.mark.parametrize(
    ("genotype", "theirs"),
    [
        (cells.DARTS_V1_NORMAL, DARTS_V1["normal"]),
        (cells.DARTS_V1_REDUCTION, DARTS_V1["reduce"]),
        (cells.DARTS_NORMAL, DARTS_V2["normal"]),
        (cells.DARTS_REDUCTION, DARTS_V2["reduce"]),
        (cells.P_DARTS_NORMAL, P_DARTS["normal"]),
        (cells.P_DARTS_REDUCTION, P_DARTS["reduce"]),
    ],
)
def test_darts_cells_are_its_codes(genotype, theirs):
    words = [step.split() for step in theirs.split(", ")]
    assert steps(genotype) == [(OURS[name], int(state)) for name, state in words]
    assert genotype.concat == (2, 3, 4, 5)


@pytest.mark.parametrize("genotype", [value for value in vars(cells).values() if isinstance(value, Genotype)])
def test_every_state_is_used(genotype):
    """One that is not would have parameters without gradients."""
    read = {state for _, state in steps(genotype)} | set(genotype.concat)
    assert read >= set(range(2, 2 + len(genotype.pairs)))


@pytest.mark.parametrize(
    ("model", "plan"),
    [
        ("nasnetalarge", cells.google_plan(cells.NASNET_A_NORMAL, cells.NASNET_A_REDUCTION, 168, (6, 6, 6), 96)),
        ("pnasnet5large", cells.google_plan(cells.PNASNET_5, cells.PNASNET_5, 216, (4, 3, 3), 96)),
    ],
)
def test_at_their_large_size_the_networks_have_timms_tensors(model, plan):
    with torch.device("meta"):
        ours, theirs = cells.google_net(plan), timm.create_model(model)
    assert Counter(v.shape for v in ours.state_dict().values()) == Counter(
        v.shape for v in theirs.state_dict().values()
    )


# --- cells against timm's ---


def test_nasnets_normal_cell_gives_timms_output(randomise):
    previous, last = Map(20, 8), Map(24, 8)
    ours = Cell(cells.NASNET_A_NORMAL, previous, last, 6, 1)
    theirs = nasnet.NormalCell(20, 6, 24, 6).eval()
    before, x = maps(previous, last)
    with torch.no_grad():
        torch.testing.assert_close(with_weights_of(ours, theirs, randomise)(before, x), theirs(x, before))


def test_nasnets_reduction_cell_gives_timms_output(randomise):
    previous, last = Map(20, 8), Map(24, 8)
    ours = Cell(cells.NASNET_A_REDUCTION, previous, last, 6, 2)
    theirs = nasnet.ReductionCell0(20, 6, 24, 6).eval()
    before, x = maps(previous, last)
    with torch.no_grad():
        out = with_weights_of(ours, theirs, randomise)(before, x)
        torch.testing.assert_close(out, theirs(x, before))
    assert (out.shape[1], 16) == ours.output


def test_nasnets_first_stem_cell_gives_timms_output(randomise):
    last = Map(8, 2)
    ours = Cell(cells.NASNET_A_REDUCTION, None, last, 6, 2)
    theirs = nasnet.CellStem0(8, 6).eval()
    x, _ = maps(last, last)
    with torch.no_grad():
        torch.testing.assert_close(with_weights_of(ours, theirs, randomise)(x, x), theirs(x))


@pytest.mark.parametrize("stride", [1, 2])
def test_pnasnets_cell_gives_timms_output(stride, randomise):
    previous, last = Map(20, 8), Map(24, 8)
    ours = Cell(cells.PNASNET_5, previous, last, 6, stride)
    theirs = pnasnet.Cell(20, 6, 24, 6, is_reduction=stride == 2).eval()
    before, x = maps(previous, last)
    with torch.no_grad():
        torch.testing.assert_close(with_weights_of(ours, theirs, randomise)(before, x), theirs(before, x))


def test_pnasnets_first_stem_cell_gives_timms_output(randomise):
    last = Map(8, 2)
    ours = Cell(cells.PNASNET_5, None, last, 6, 2)
    theirs = pnasnet.CellStem0(8, 6, 8, 6).eval()
    x, _ = maps(last, last)
    with torch.no_grad():
        torch.testing.assert_close(with_weights_of(ours, theirs, randomise)(x, x), theirs(x))


@pytest.mark.parametrize(
    ("name", "offsets"),
    [
        ("sep3", range(-2, 3)),  # a kernel of 3 twice
        ("sep5", range(-4, 5)),
        ("sep7", range(-6, 7)),
        ("dil3", range(-2, 3, 2)),
        ("dil5", range(-4, 5, 2)),
    ],
)
def test_an_operation_sees_the_pixels_of_its_kernel(name, offsets):
    operation = cells.OPERATIONS[name](2, 2, 1).eval()
    for parameter in operation.parameters():
        nn.init.ones_(parameter)  # so that no ReLU stops anything
    x = torch.ones(1, 2, 17, 17, requires_grad=True)
    operation(x)[0, 0, 8, 8].backward()
    assert [place - 8 for place in range(17) if x.grad[0, 0, 8, place]] == list(offsets)


@pytest.mark.parametrize("side", [7, 8])
def test_a_factorised_reduction_gives_timms_output_and_rounds_up(side, randomise):
    ours, theirs = FactorizedReduction(5, 6), pnasnet.FactorizedReduction(5, 6).eval()
    x = torch.randn(2, 5, side, side)
    with torch.no_grad():
        out = with_weights_of(ours, theirs, randomise)(x)
        torch.testing.assert_close(out, theirs(x))
    assert out.shape == (2, 6, 4, 4)


def test_a_factorised_reduction_may_have_an_odd_number_of_channels():
    assert FactorizedReduction(5, 7)(torch.randn(2, 5, 8, 8)).shape == (2, 7, 4, 4)


# --- networks ---


def test_a_cell_sees_the_last_two_cells():
    net = cells.ROWS["darts"].build(num_classes=3).eval()
    calls = []
    for cell in net.cells:
        cell.register_forward_hook(lambda _, args, output: calls.append((*args, output)))
    with torch.no_grad():
        net(torch.randn(1, 3, 64, 64))
    outputs = [output for _, _, output in calls]
    for index in range(2, len(calls)):
        previous, last, _ = calls[index]
        assert previous is outputs[index - 2]
        assert last is outputs[index - 1]


def test_googles_networks_end_with_a_relu_and_darts_does_not():
    for name, signs in (("pnasnet_5_mobile", False), ("darts", True)):
        net = cells.ROWS[name].build(num_classes=3).eval()
        with torch.no_grad():
            assert bool((net.forward_features(torch.randn(1, 3, 64, 64)) < 0).any()) == signs
