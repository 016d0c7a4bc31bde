"""Means, intervals and correlations of the experiments. Intervals are of 95% throughout."""

from collections.abc import Callable, Iterable

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


def bootstrap_difference(
    first: np.ndarray, second: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the percentile interval of the difference of two groups' means, (n,) and (m,), drawn apart."""
    generator = np.random.default_rng(seed)
    means = [group[generator.integers(0, len(group), (resamples, len(group)))].mean(1) for group in (first, second)]
    low, high = np.percentile(means[0] - means[1], [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def spearman(pairs: np.ndarray) -> float:
    """Return Spearman's rank correlation of pairs (n, 2)."""
    ranks = stats.rankdata(pairs, axis=0)
    return pearson(ranks)


def kendall(pairs: np.ndarray) -> float:
    """Return Kendall's tau-b of pairs (n, 2), NaN where a column is constant; many times faster than SciPy's."""
    steps = np.sign(pairs[:, None] - pairs[None])  # (n, n, 2)
    ordered = np.sqrt((steps**2).sum((0, 1))).prod()
    return float(steps.prod(2).sum() / ordered) if ordered else float("nan")


def pearson(pairs: np.ndarray) -> float:
    """Return Pearson's correlation of pairs (n, 2), NaN where a column is constant."""
    centred = pairs - pairs.mean(0)
    norms = np.linalg.norm(centred, axis=0)
    return float(centred[:, 0] @ centred[:, 1] / norms.prod()) if norms.all() else float("nan")


def partial_spearman(rows: np.ndarray) -> float:
    """Return Spearman's correlation of the first two columns of (n, k) given the others, by the ranks' residuals."""
    ranks = stats.rankdata(rows, axis=0)
    design = np.column_stack([np.ones(len(ranks)), ranks[:, 2:]])
    residuals = ranks[:, :2] - design @ np.linalg.lstsq(design, ranks[:, :2], rcond=None)[0]
    explained = np.linalg.norm(residuals, axis=0) < 1e-9 * np.linalg.norm(ranks[:, :2], axis=0)
    return float("nan") if explained.any() else pearson(residuals)


def written(found: Iterable[tuple[str, float, Interval]], form: str = ".2f") -> str:
    """Return named values with their intervals as text; ``form`` is Python's format of a number."""
    return ", ".join(
        f"{name} {value:{form}} " + (f"({low:{form}} to {high:{form}})" if np.isfinite(low + high) else "(no interval)")
        for name, value, (low, high) in found
    )
