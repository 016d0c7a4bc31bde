"""How sure a figure and a difference are, over pictures and seeds, and how many more of either would tell.

The figure of a backbone is the mean over its seeds, on one set of pictures. Its error has two parts, which add:

- pictures: the variance of the mean over the seeds when the pictures are drawn again, all runs on the same draws
  (bootstrap; it falls as 1 / pictures);
- seeds: the variance of the runs' figures on the same pictures over the number of seeds (it falls as 1 / seeds).

Part of what pictures and seeds do together is in both, so the sum is rather too large than too small, as with the
two-way "pigeonhole" bootstrap (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007). For a difference
the pictures part is that of the differences on the same draws.

The variance from seed to seed is taken as one for all backbones and pooled over them: two or three seeds alone tell
next to nothing of it. Where all have the same seeds it is what backbone and seed leave unexplained (two-way analysis
of variance), so that differences are paired by seed. A backbone with one seed borrows it; where all have one,
intervals cover pictures alone. ``unlike_spreads`` tells where one variance for all is plainly wrong.

An interval is the figure, moved by the bootstrap's bias as in ``benchmark.evaluation.bootstrap``, and half as wide as
``sqrt(t(n - 1)^2 * pictures part + t(seeds - 1)^2 * seeds part)``, each part with its own quantile of Student's t (the
rule of Cochran and Cox, Experimental Designs, 1957, section 4.14): three seeds are few, and the interval says so. One
quantile by Satterthwaite's degrees of freedom is too small where the seeds happen to agree.

How many more seeds or pictures would tell: the fewest at which a difference of that size would be found, with an
interval that excludes 0, four times out of five (power 80%, two-sided 5%): the same rule with ``t(0.975) + t(0.8)`` in
place of ``t(0.975)``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import stats

from benchmark.evaluation.spread import seed_variance

_LEVEL = 0.95
_POWER = 0.8
_MOST_SEEDS = 100
_MOST_TIMES = 1000  # the present number of pictures


@dataclass(frozen=True)
class Figure:
    """What is known of a backbone's figure.

    Attributes:
        values: by seed; runs of unknown seed have keys of their own.
        draws: (resamples,) mean over the seeds on each draw of the pictures; NaN where a draw has no object.
        images: number of pictures.
        own_draws: its pictures were drawn by themselves: nothing says which pictures it got right.
    """

    values: Mapping[int, float]
    draws: np.ndarray
    images: int
    own_draws: bool = False

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return float(np.mean([*self.values.values()]))


@dataclass(frozen=True)
class Spread:
    """The variance of a figure from seed to seed, and its degrees of freedom."""

    variance: float
    freedom: int


@dataclass(frozen=True)
class Spreads:
    """How much the figures of runs vary from seed to seed.

    Attributes:
        alone: of a run; None where no backbone has several seeds.
        paired: of a run beside others of its seed; None where the backbones have not all the same, several, seeds.
    """

    alone: Spread | None
    paired: Spread | None


@dataclass(frozen=True)
class Estimate:
    """A figure or a difference with its interval.

    Attributes:
        value: as measured.
        low: lower end of the 95% interval.
        high: upper end.
        pictures: variance from the choice of pictures.
        seeds: variance from the choice of seeds; None where all have one seed.
        count: number of seeds that ``seeds`` is of.
        images: number of pictures.
    """

    value: float
    low: float
    high: float
    pictures: float
    seeds: Spread | None
    count: int
    images: int

    @property
    def told(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Needed:
    """How many more would tell; None where that would not within reason, or cannot be known.

    Attributes:
        seeds: for each backbone, on the same pictures.
        pictures: to evaluate on, with the same seeds.
        times: as many seeds and as many times as many pictures, where neither alone would tell.
    """

    seeds: int | None
    pictures: int | None
    times: int | None = None


def spreads(figures: Sequence[Figure]) -> Spreads:
    """Return how much runs vary from seed to seed, pooled over backbones."""
    variance, freedom = seed_variance([[*figure.values.values()] for figure in figures])
    alone = Spread(variance, freedom) if freedom else None
    seeds = [*figures[0].values]
    if len(figures) < 2 or len(seeds) < 2 or any(figure.values.keys() != set(seeds) for figure in figures):
        return Spreads(alone, None)
    table = np.array([[figure.values[seed] for seed in seeds] for figure in figures])  # (backbones, seeds)
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    freedom = (len(figures) - 1) * (len(seeds) - 1)
    return Spreads(alone, Spread(float((rest**2).sum()) / freedom, freedom))


def unlike_spreads(figures: Sequence[Figure]) -> bool:
    """Tell whether one variance from seed to seed is plainly wrong for all backbones (Bartlett's test, 1%)."""
    several = [[*figure.values.values()] for figure in figures if len(figure.values) > 1]
    varying = [values for values in several if np.ptp(values) > 0]
    return len(varying) > 1 and bool(stats.bartlett(*varying).pvalue < 0.01)


def estimate(figure: Figure, spread: Spreads) -> Estimate:
    """Return a figure, in percent, with its interval within 0..100."""
    seeds = _scaled(spread.alone, 1 / len(figure.values))
    found = _estimate(figure.mean, figure.draws, seeds, len(figure.values), figure.images)
    return replace(found, low=min(max(found.low, 0.0), 100.0), high=max(min(found.high, 100.0), 0.0))


def difference(a: Figure, b: Figure, spread: Spreads) -> Estimate:
    """Return a's figure minus b's, with its interval; paired over pictures, and over seeds where all have the same."""
    chosen = spread.paired or spread.alone
    seeds = _scaled(chosen, 1 / len(a.values) + 1 / len(b.values))
    return _estimate(a.mean - b.mean, a.draws - b.draws, seeds, min(len(a.values), len(b.values)), a.images)


def _scaled(spread: Spread | None, factor: float) -> Spread | None:
    return spread and Spread(spread.variance * factor, spread.freedom)


def needed(found: Estimate, size: float) -> Needed:
    """Return how many more seeds, or pictures, would tell a difference.

    Args:
        found: whose parts of the variance are taken.
        size: of the difference, at least a hair over 0.
    """
    seeds, pictures = _more_seeds(found, abs(size)), _more_pictures(found, abs(size))
    return Needed(seeds, pictures, None if seeds or pictures else _more_of_both(found, abs(size)))


def _estimate(value: float, draws: np.ndarray, seeds: Spread | None, count: int, images: int) -> Estimate:
    pictures = float(np.nanvar(draws, ddof=1))
    centre = 2 * value - float(np.nanmean(draws))
    half = _reach(pictures, images, seeds)
    return Estimate(value, centre - half, centre + half, pictures, seeds, count, images)


def _reach(pictures: float, images: int, seeds: Spread | None, power: float = 0.5) -> float:
    """Return half the width of an interval, and with a power how large a difference must be to be found with it."""
    parts = [Spread(pictures, max(images - 1, 1)), *([seeds] if seeds else [])]
    return sum(_quantile(part.freedom, power) ** 2 * part.variance for part in parts) ** 0.5


@cache
def _quantile(freedom: int, power: float) -> float:
    return float(stats.t.ppf(0.5 + _LEVEL / 2, freedom) + stats.t.ppf(power, freedom))


def _enough(found: Estimate, size: float, count: int, images: int) -> bool:
    """Tell whether a difference of a size would be found with so many seeds and pictures."""
    pictures = found.pictures * found.images / images
    now = found.seeds
    seeds = now and Spread(now.variance * found.count / count, _freedom(now, found.count, count))
    return size >= _reach(pictures, images, seeds, _POWER)


def _freedom(part: Spread, before: int, count: int) -> int:
    """Return the degrees of freedom with so many seeds; a borrowed spread keeps those that it was borrowed with."""
    return part.freedom * (count - 1) // (before - 1) if before > 1 else max(part.freedom, count - 1)


def _more_seeds(found: Estimate, size: float) -> int | None:
    if not found.seeds:
        return None
    counts = range(found.count + 1, _MOST_SEEDS + 1)
    enough = next((count for count in counts if _enough(found, size, count, found.images)), None)
    return enough and enough - found.count


def _more_pictures(found: Estimate, size: float) -> int | None:
    low, high = found.images, found.images * _MOST_TIMES
    if not _enough(found, size, found.count, high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _enough(found, size, found.count, middle) else (middle, high)
    return high - found.images


def _more_of_both(found: Estimate, size: float) -> int | None:
    if not found.seeds:
        return None
    factors = range(2, _MOST_SEEDS // found.count + 1)
    return next((n for n in factors if _enough(found, size, n * found.count, n * found.images)), None)
