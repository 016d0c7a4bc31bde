"""The paper's printed channel configurations: counted as a built network costs, and judged as stated."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.experiments import printed_channels
from benchmark.experiments.channel_configs import (
    TABLE_3,
    choose_penultimate,
    choose_strides,
    count,
    fit_line,
    line,
    linear_slope,
)
from benchmark.experiments.frame import Run
from benchmark.measuring.complexity import count_macs
from benchmark.records.verdicts import Verdict


def layer_by_layer(channels: list[int], strides: list[int], penultimate: int) -> nn.Module:

    def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(outputs)]

    layers, inputs = conv(3, 16, 3), 16
    for index, outputs in enumerate(channels):
        hidden = 6 * inputs
        layers += conv(inputs, hidden) + conv(hidden, hidden, 3, 2 if index in strides else 1, hidden)
        layers += conv(hidden, outputs)
        inputs = outputs
    layers += conv(inputs, penultimate)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(penultimate, 100))


@pytest.mark.parametrize(("channels", "strides"), [([8, 12], [1]), ([20, 20, 31], [0, 2])])
def test_a_count_is_that_of_the_network(channels, strides):
    with torch.device("meta"):
        net = layer_by_layer(channels, strides, 64)
        macs, _ = count_macs(lambda: net(torch.zeros(1, 3, 32, 32)))
    assert count(channels, strides, 64) == (sum(parameter.numel() for parameter in net.parameters()), macs)


def test_the_width_that_fits_the_printed_params_is_found():
    assert choose_penultimate([256, 512, 1024, 1280]) == 512


def test_strides_are_those_that_fit_the_printed_multiply_adds():
    row = TABLE_3["a"]
    assert choose_strides(row, 512) == (1, 3)
    assert count(row.best, (1, 3), 512)[1] / 1e6 == pytest.approx(30, abs=1)


@pytest.mark.parametrize("slope", [0.7, 8.75, 14.5])
def test_rounded_channels_of_a_line_are_within_half_a_channel(slope):
    found, intercept, explained, residual = fit_line(line(9, 24, slope))
    assert found == pytest.approx(slope, abs=0.1) and intercept == pytest.approx(24 - slope, abs=0.6)
    assert residual <= 0.5 and explained > 0.98


def test_the_largest_distance_from_a_line_is_the_least_that_can_be():
    assert fit_line([0, 0, 10])[3] == pytest.approx(2.5)  # the line through (1, -2.5) and (3, 7.5)
    generator = np.random.default_rng(0)
    channels = generator.integers(10, 90, 7).tolist()
    x, y = np.arange(1, 8), np.array(channels)
    tried = [np.ptp(y - slope * x) / 2 for slope in np.linspace(-80, 80, 20001)]
    assert fit_line(channels)[3] == pytest.approx(min(tried), abs=0.03)


def test_a_slope_that_meets_a_constraint_is_found_where_there_is_one():
    slope = linear_slope(5, 24, 50e6, (1, 3), 512)
    assert slope is not None
    assert count(line(5, 24, slope), (1, 3), 512)[1] == pytest.approx(50e6, rel=0.02)
    assert linear_slope(5, 64, 30e6, (1, 3), 512) is None


def test_the_printed_configurations_are_judged(tmp_path):
    findings = printed_channels.run(Run(tmp_path, printed_channels.CONFIG, None, 0))
    verdicts = {claim: verdict for claim, (verdict, _) in findings.verdicts.items()}
    assert verdicts.keys() == printed_channels.CLAIMS.keys()
    assert verdicts["printed_whole"] == Verdict.DISAGREES  # (b), (c) and (d) lack blocks
    assert verdicts["constraint_d"] == Verdict.NEAR  # 351M for 300M
    assert verdicts["best_linear"] == Verdict.NEAR  # (b) and (c) are, (a) and (d) begin flat
    assert verdicts["best_more_linear"] == Verdict.AGREES
    assert verdicts["worst_narrow"] == Verdict.DISAGREES  # they are the wider ones, in all four rows
    assert len(findings.figures) == 4 * 2 * 2 and len(findings.series) == 8
