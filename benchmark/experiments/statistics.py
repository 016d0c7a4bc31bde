"""Means, intervals and correlations of the experiments. Intervals are of 95% throughout."""

from collections.abc import Callable

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2000
Interval = tuple[float, float]


def mean_interval(values: np.ndarray, comparisons: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, lower and upper end of its t interval over the first axis.

    Args:
        values: (n, ...); one alone has an interval of NaN.
        comparisons: how many intervals are to hold at once (Bonferroni).
    """
    n, mean = len(values), values.mean(0)
    if n == 1:
        return mean, mean * np.nan, mean * np.nan
    quantile = stats.t.ppf(1 - (1 - LEVEL) / 2 / comparisons, n - 1)
    spread = quantile * values.std(0, ddof=1) / np.sqrt(n)
    return mean, mean - spread, mean + spread


def one_interval(values: np.ndarray) -> tuple[float, Interval]:
    """Return the mean of numbers (n,) and its t interval."""
    mean, low, high = mean_interval(values)
    return float(mean), (float(low), float(high))


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the percentile interval of a statistic of rows (n, ...) over draws of the rows."""
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(values), (resamples, len(values)))
    found = np.array([statistic(values[draw]) for draw in draws])
    found = found[np.isfinite(found)]  # a draw of equal rows has no correlation
    if not len(found):
        return (float("nan"), float("nan"))
    low, high = np.percentile(found, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def spearman(pairs: np.ndarray) -> float:
    """Return Spearman's rank correlation of pairs (n, 2)."""
    ranks = stats.rankdata(pairs, axis=0)
    return pearson(ranks)


def kendall(pairs: np.ndarray) -> float:
    """Return Kendall's tau-b of pairs (n, 2)."""
    return float(stats.kendalltau(pairs[:, 0], pairs[:, 1]).statistic)


def pearson(pairs: np.ndarray) -> float:
    """Return Pearson's correlation of pairs (n, 2), NaN where a column is constant."""
    centred = pairs - pairs.mean(0)
    norms = np.linalg.norm(centred, axis=0)
    return float(centred[:, 0] @ centred[:, 1] / norms.prod()) if norms.all() else float("nan")


def partial_spearman(rows: np.ndarray) -> float:
    """Return Spearman's correlation of the first two columns of (n, 3) given the third."""
    ranks = stats.rankdata(rows, axis=0)
    xy, xz, yz = (pearson(ranks[:, [i, j]]) for i, j in ((0, 1), (0, 2), (1, 2)))
    spread = np.sqrt((1 - xz**2) * (1 - yz**2))
    return float((xy - xz * yz) / spread) if spread > 1e-12 else float("nan")
