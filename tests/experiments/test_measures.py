"""Measures of rank and correlation against independent ones, and against matrices made for it."""

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from torch import nn

from benchmark.experiments import measures, statistics


@pytest.fixture
def matrices() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 8, 20))


def made(values: list[float], columns: int = 20) -> np.ndarray:
    """A matrix with these singular values."""
    generator = np.random.default_rng(1)
    left, right = (np.linalg.qr(generator.normal(size=(size, size)))[0] for size in (len(values), columns))
    return left @ np.diag(values) @ right[: len(values)]


def values_of(matrix: np.ndarray) -> np.ndarray:
    return measures.gram_singular_values(matrix @ np.swapaxes(matrix, -1, -2))


def test_singular_values_of_gram_matrices_are_scipys(matrices):
    expected = [linalg.svdvals(matrix) for matrix in matrices]
    np.testing.assert_allclose(values_of(matrices), expected, rtol=1e-10)


@pytest.mark.parametrize("smallest", [1e-1, 1e-3, 1e-6])
def test_small_singular_values_are_exact_down_to_the_sweeps_end(smallest):
    expected = [1.0, 0.5, smallest]
    np.testing.assert_allclose(values_of(made(expected)), expected, rtol=1e-3)


@pytest.mark.parametrize("tolerance", [1e-6, 1e-2, 0.2])
def test_numerical_rank_is_numpys(tolerance):
    matrix = made([3, 1, 0.3, 0.02, 1e-5, 0])
    assert measures.numerical_rank(values_of(matrix), tolerance) == np.linalg.matrix_rank(matrix, tolerance * 3)


def test_the_default_tolerance_is_pytorchs():
    # Its own tolerance lies between the last two values.
    tolerance = measures.default_tolerance(4, 20)
    matrix = made([1, 0.5, 3 * tolerance, tolerance / 3])
    assert measures.numerical_rank(values_of(matrix), tolerance) == 3
    assert int(torch.linalg.matrix_rank(torch.tensor(matrix, dtype=torch.float32))) == 3


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_measures_without_a_tolerance_of_equal_singular_values_are_the_rank(rank):
    values = values_of(made([2.0] * rank + [0.0] * (6 - rank)))
    for measure in (measures.effective_rank, measures.stable_rank):
        assert measure(values) == pytest.approx(rank, rel=1e-5)
    assert measures.nuclear_norm(values) == pytest.approx(2 * rank, rel=1e-6)


def test_measures_without_a_tolerance_are_their_definitions(matrices):
    values = linalg.svdvals(matrices[0])
    share = values / values.sum()
    assert measures.effective_rank(values) == pytest.approx(np.exp(stats.entropy(share)))
    ratio = np.linalg.norm(matrices[0]) ** 2 / np.linalg.norm(matrices[0], 2) ** 2
    assert measures.stable_rank(values) == pytest.approx(ratio)
    assert measures.nuclear_norm(values) == pytest.approx(np.linalg.norm(matrices[0], "nuc"))


def test_a_matrix_of_zeros_has_no_rank():
    zeros = np.zeros(4)
    for measure in (measures.effective_rank, measures.stable_rank, lambda v: measures.numerical_rank(v, 0.1)):
        assert measure(zeros) == 0


@pytest.fixture
def rows() -> np.ndarray:
    generator = np.random.default_rng(3)
    x, noise = generator.normal(size=(2, 40))
    return np.round(np.stack([x, x + noise, noise], axis=1), 1)  # with ties


def test_correlations_are_scipys(rows):
    x, y, _ = rows.T
    assert statistics.spearman(rows[:, :2]) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert statistics.kendall(rows[:, :2]) == pytest.approx(stats.kendalltau(x, y).statistic)
    assert statistics.pearson(rows[:, :2]) == pytest.approx(stats.pearsonr(x, y).statistic)


def test_a_partial_correlation_is_that_of_the_recursive_formula(rows):
    xy, xz, yz = (stats.spearmanr(rows[:, i], rows[:, j]).statistic for i, j in ((0, 1), (0, 2), (1, 2)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert statistics.partial_spearman(rows) == pytest.approx(expected)
    twice = np.column_stack([rows, 3 * rows[:, 2] + 1])  # another control that says the same
    assert statistics.partial_spearman(twice) == pytest.approx(expected)
    assert np.isnan(statistics.partial_spearman(rows[:, [0, 1, 1]]))


def test_kendall_by_hand():
    pairs = np.array([[1, 1], [2, 3], [3, 2]])  # two pairs in order, one not
    assert statistics.kendall(pairs) == pytest.approx(1 / 3)


def test_intervals_cover_as_often_as_they_say():
    draws = np.random.default_rng(0).normal(1.0, 2.0, size=(20, 2000))
    _, low, high = statistics.mean_interval(draws)
    assert 0.93 < np.mean((low < 1) & (high > 1)) < 0.97
    _, low, high = statistics.mean_interval(draws, comparisons=10)
    assert np.mean((low < 1) & (high > 1)) > 0.985


def test_a_bootstrap_interval_of_a_mean_is_near_the_t_interval():
    values = np.random.default_rng(0).normal(size=200)
    _, (low, high) = statistics.one_interval(values)
    assert statistics.bootstrap_interval(np.mean, values) == pytest.approx((low, high), abs=0.02)


def test_measures_of_features_are_scipys():
    features = np.random.default_rng(0).normal(size=(40, 5)) * [1, 2, 3, 4, 0]
    found = measures.feature_measures(features)
    assert found["nuclear"] == pytest.approx(linalg.svdvals(features).sum())
    assert 0 < found["normalised"] < 1
    equal = linalg.hadamard(8)[:, 1:5] * [1.0, 10.0, 100.0, 1000.0]  # centred, orthogonal
    assert measures.feature_measures(equal)["normalised"] == pytest.approx(1)


def test_synflow_by_hand():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        net[0].bias.copy_(torch.tensor([-0.5, 0.25]))
        net[2].weight.copy_(torch.tensor([[2.0, -1.0]]))
    # Of absolute values and an input of ones: hidden 3.5 and 7.25, output 14.25. The last layer's share is the output,
    # the first weights' 2 * 3 + 1 * 7, the biases' 2 * 0.5 + 1 * 0.25.
    expected = (2 * 3.5 + 7.25) + (2 * 3 + 7) + (2 * 0.5 + 0.25)
    before = [parameter.clone() for parameter in net.parameters()]
    assert measures.log_synflow(net, (1, 2)) == pytest.approx(np.log(expected))
    assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))


def test_synflow_is_not_bounded_by_a_nonlinearity():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU6(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(10)
        net[2].weight.fill_(3)
    assert measures.log_synflow(net, (1, 1)) == pytest.approx(np.log(2 * 30))
    assert net[1](torch.tensor(9.0)) == 6  # the network itself keeps its bound


def test_synflow_of_a_network_that_passes_nothing_on_is_none():
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.zero_()
    assert measures.log_synflow(net, (1, 2)) == float("-inf")


def test_a_bootstrapped_difference_is_near_its_t_interval():
    first, second = np.random.default_rng(0).normal([[1.0], [0.0]], size=(2, 300))
    low, high = statistics.bootstrap_difference(first, second)
    expected = stats.ttest_ind(first, second).confidence_interval()
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.03)
