"""Measures of rank and correlation against independent ones, and against matrices made for it."""

import numpy as np
import pytest
import torch
from scipy import linalg, stats

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


def test_a_partial_correlation_is_that_of_residuals(rows):
    ranks = stats.rankdata(rows, axis=0)
    design = np.column_stack([np.ones(len(ranks)), ranks[:, 2]])
    residuals = ranks[:, :2] - design @ np.linalg.lstsq(design, ranks[:, :2], rcond=None)[0]
    assert statistics.partial_spearman(rows) == pytest.approx(stats.pearsonr(*residuals.T).statistic)


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
