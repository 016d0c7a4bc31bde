"""Laws of cost: the networks cost what the documents say, and times are judged as stated."""

import itertools
from math import factorial

import numpy as np
import pytest
import torch

from benchmark.experiments import cost_laws
from benchmark.experiments.cost_laws import (
    ALIGNED,
    DESIGN_SPACES,
    PRINTED,
    ROWS,
    WIDTHS,
    guideline_subjects,
    mobilenet,
    separable_subjects,
    time_ratios,
)
from benchmark.measuring.complexity import classifier_complexity, count_macs
from benchmark.records.verdicts import Verdict

TINY = {**cost_laws.CONFIG, "side": 4, "repeats": 2, "separable_side": 6, "separable_repeats": 1, "rounds": 3}


def macs(subject: cost_laws.Subject) -> int:
    with torch.device("meta"):
        return count_macs(lambda: subject.build()(torch.zeros(subject.shape)))[0]


@pytest.mark.parametrize(("channels", "kernel"), [(32, 3), (48, 5)])
def test_a_separable_convolution_costs_what_the_law_says(channels, kernel):
    full, separable = map(macs, separable_subjects(channels, kernel, TINY))
    assert full == 6 * 6 * kernel**2 * channels**2
    assert separable / full == pytest.approx(1 / channels + 1 / kernel**2)


@pytest.mark.parametrize("guideline", ["G1", "G2", "G3"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_rows_of_a_guideline_cost_the_same(guideline, scale):
    counted = [macs(subject) for subject in guideline_subjects(guideline, scale, TINY)]
    assert len(counted) == len(ROWS[guideline])
    np.testing.assert_allclose(counted, counted[0], rtol=0.06)  # channels are whole numbers


def test_the_control_costs_exactly_the_same_in_whole_vectors():
    counted = {macs(subject) for subject in guideline_subjects(ALIGNED, 1, TINY)}
    assert counted == {2 * 2 * 64 * 64 * 4 * 4}
    assert all(channels % 16 == 0 for pair in cost_laws.ALIGNED_ROWS.values() for channels in pair)


def test_fragments_in_parallel_are_added():
    subject = guideline_subjects("G3", 1, {**TINY, "repeats": 1})[3]
    model, images = subject.build(), torch.randn(subject.shape)
    (unit,) = model
    expected = unit.branches[0](images) + unit.branches[1](images)
    torch.testing.assert_close(model(images), expected)


def test_element_wise_operations_are_all_that_units_differ_in():
    subjects = guideline_subjects("G4", 1, {**TINY, "repeats": 1})
    assert len({macs(subject) for subject in subjects}) == 1
    networks = [subject.build() for subject in subjects]
    assert [sum(isinstance(module, torch.nn.ReLU) for module in net.modules()) for net in networks] == [0, 0, 3, 3]
    assert [sum(isinstance(module, torch.nn.Identity) for module in net.modules()) for net in networks] == [0, 1, 0, 1]


def test_every_printed_speed_has_its_row():
    for guideline, devices in PRINTED.items():
        assert all(len(column) == len(ROWS[guideline]) for column in devices.values())


def test_mobilenet_is_the_catalogues():
    expected = classifier_complexity("mobilenet_v1", 224)
    with torch.device("meta"):
        net = mobilenet(WIDTHS[0])
        assert count_macs(lambda: net(torch.zeros(1, 3, 224, 224)))[0] == expected.macs
    assert sum(parameter.numel() for parameter in net.parameters()) == expected.params


def test_ratios_are_medians_round_by_round_per_multiply_add():
    values = {"ms": np.array([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0]]), "macs": np.array([100, 200])}
    assert time_ratios(values, per_mac=False) == [(1.0, (1.0, 1.0)), (2.0, (2.0, 2.0))]
    assert time_ratios(values, per_mac=True)[1] == (1.0, (1.0, 1.0))


def test_design_spaces_are_the_numbers_of_their_networks():
    # One by one where there are few: 3 choices for 2 stages, sorted, are 6 and not 3^2 / 2!.
    assert len(list(itertools.combinations_with_replacement(range(3), 2))) == 6
    few = list(itertools.combinations_with_replacement(range(5), 4))
    assert cost_laws._rising(5) == len(few) > 5**4 / factorial(4)
    assert DESIGN_SPACES["AnyNetX A"][1] == (16 * 128 * 3 * 6) ** 4


def made_up(ratio: dict[str, float]) -> dict[str, cost_laws.Values]:
    """Times of every group: the first subject's are 1 ms, the others' as said by the group's beginning."""
    generator, found = np.random.default_rng(0), {}
    for group, subjects in cost_laws._groups(cost_laws.CONFIG).items():
        factors = np.array([1.0] + [ratio.get(group.split("_")[0], 1.5)] * (len(subjects) - 1))
        noise = generator.normal(1, 0.003, (len(subjects), 60))
        found[group] = {"ms": factors[:, None] * noise, "macs": np.ones(len(subjects)), "stable": np.array(True)}
    return found


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, Verdict.AGREES), (1.0, Verdict.DISAGREES)])
@pytest.mark.parametrize("guideline", ["G1", "G2", "G4"])
def test_a_guideline_agrees_if_every_other_row_is_slower(guideline, factor, verdict):
    part = cost_laws._guideline(guideline, made_up({guideline: factor}), cost_laws.CONFIG)
    assert part.verdicts[guideline][0] == verdict
    assert all(figure.printed for figure in part.figures)


@pytest.mark.slow
def test_a_unit_is_timed_and_counted():
    values = cost_laws.work({"group": "G3_x1", "config": {**TINY, "repeats": 1}})
    assert values["ms"].shape == (5, 3) and (values["ms"] > 0).all()
    assert values["macs"].shape == (5,)
