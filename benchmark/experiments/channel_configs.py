"""Channel configurations of section 4: what the paper prints of them, what they cost, and random ones that meet a cost.

A network is a 3x3 stem of 16 channels, inverted bottlenecks of expansion 6, a 1x1 expansion layer and a classifier, on
CIFAR-100's 32x32 pixels. The paper prints neither the width of the expansion layer nor which blocks have stride 2. The
width is read off the params, which no stride changes; the strides are those two that bring a row's best and worst
configuration nearest to the multiply-adds printed for its best and worst tenth. So params are a test of the printed
figures, and multiply-adds show that they can be met.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from benchmark.records.tolerances import last_digit

STEM, EXPANSION, CLASSES, SIDE = 16, 6, 100, 32
PENULTIMATE = (256, 512, 1024, 1280)  # widths of the expansion layer that are tried against the printed params
_DOWNSAMPLINGS = 2
_MOST_DRAWS = 3000  # of one configuration, a second or two
_MOST_SLOPE = 400.0  # channels a step of f


@dataclass(frozen=True)
class Row:
    """A row of table 3.

    Attributes:
        blocks: inverted bottlenecks.
        params: of the constraint, in millions, as printed.
        macs: of the constraint, in millions, as printed.
        best: channels of the best model.
        worst: channels of the worst one, as the paper prints them.
        worst_whole: likewise as document 003 prints them, or completed by us where it has none.
        best_macs: mean of the best tenth, in millions, as printed.
        worst_macs: of the worst tenth.
    """

    blocks: int
    params: str
    macs: str
    best: tuple[int, ...]
    worst: tuple[int, ...]
    worst_whole: tuple[int, ...]
    best_macs: str
    worst_macs: str


TABLE_3 = {
    "a": Row(5, "0.2", "30", (34, 34, 45, 55, 66), (36, 36, 36, 36, 83), (36, 36, 36, 36, 83), "30", "30"),
    "b": Row(
        9,
        "0.5",
        "100",
        (24, 33, 42, 50, 59, 68, 77, 85, 94),
        (*(39,) * 6, 87, 158),
        (*(39,) * 7, 87, 158),
        "101",
        "97",
    ),
    # Neither document prints nine channels: another 70 is as good as another 47.
    "c": Row(
        9,
        "1.0",
        "200",
        (30, 45, 59, 74, 88, 103, 117, 132, 146),
        (47, 47, *(70,) * 5, 364),
        (47, 47, *(70,) * 6, 364),
        "210",
        "200",
    ),
    "d": Row(
        13,
        "3.0",
        "300",
        (34, 34, 34, 40, 64, 88, 112, 136, 160, 184, 208, 232, 256),
        (*(52,) * 7, 115, 263, 263, 412),
        (*(52,) * 9, 115, 263, 263, 412),
        "351",
        "351",
    ),
}
# Figure 4's constraints: blocks and millions of multiply-adds. A depth of 18 or 30 is three layers a block, stem,
# expansion layer and classifier: 5 and 9 blocks.
FIGURE_4 = tuple((blocks, macs) for blocks, column in ((5, (30, 50, 70)), (9, (100, 150, 200))) for macs in column)


def count(channels: Sequence[int], strides: Sequence[int], penultimate: int) -> tuple[int, int]:
    """Return params and multiply-adds of a network (convolutions and classifier; params with batch normalisation's).

    Args:
        channels: of every block's output.
        strides: indices of the blocks with stride 2.
        penultimate: width of the expansion layer before the pooling.
    """
    side, inputs = SIDE, STEM
    params, macs = 27 * STEM + 2 * STEM, 27 * STEM * side**2
    for index, outputs in enumerate(channels):
        hidden = EXPANSION * inputs
        params += hidden * (inputs + 9 + outputs) + 2 * (2 * hidden + outputs)
        macs += hidden * inputs * side**2
        side //= 2 if index in strides else 1
        macs += hidden * (9 + outputs) * side**2
        inputs = outputs
    params += penultimate * (inputs + 2) + CLASSES * (penultimate + 1)
    macs += penultimate * inputs * side**2 + CLASSES * penultimate
    return params, macs


def choose_strides(row: Row, penultimate: int) -> tuple[int, ...]:
    """Return the blocks of stride 2 that bring best and worst configuration nearest to their printed multiply-adds."""

    def error(strides: tuple[int, ...]) -> float:
        pairs = ((row.best, row.best_macs), (row.worst_whole, row.worst_macs))
        return sum(
            abs(np.log(count(channels, strides, penultimate)[1] / 1e6 / float(macs))) for channels, macs in pairs
        )

    return min(combinations(range(row.blocks), _DOWNSAMPLINGS), key=error)


def choose_penultimate(widths: Sequence[int]) -> int:
    """Return the width of the expansion layer that brings the params of all rows nearest to the printed ones."""

    def error(width: int) -> float:
        return sum(
            abs(np.log(count(channels, (), width)[0] / 1e6 / float(row.params)))
            for row in TABLE_3.values()
            for channels in (row.best, row.worst_whole)
        )

    return min(widths, key=error)


def fit_line(channels: Sequence[int]) -> tuple[float, float, float, float]:
    """Return slope and intercept of the line through channels by block index from 1, its R^2, and the largest residual.

    The residual is of the line that makes it least (Chebyshev's), so that rounded channels of a line are within 0.5.
    """
    x, y = np.arange(1, len(channels) + 1), np.array(channels, float)
    slope, intercept = np.polyfit(x, y, 1)
    explained = 1 - ((y - slope * x - intercept) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    # Chebyshev's line is parallel to one through two of the points.
    slopes = [(y[j] - y[i]) / (j - i) for i, j in combinations(range(len(y)), 2)]
    residual = min(float(np.ptp(y - candidate * x)) / 2 for candidate in slopes)
    return float(slope), float(intercept), float(explained), residual


def linear_slope(blocks: int, first: int, macs: float, strides: Sequence[int], penultimate: int) -> float | None:
    """Return the slope of the linear configuration from ``first`` channels that has ``macs``, None if there is none."""
    slope = solve_slope(first, range(1, blocks + 1), macs, strides, penultimate)
    found = count(line(blocks, first, slope), strides, penultimate)[1]
    return slope if abs(found / macs - 1) < 0.02 else None


def line(blocks: int, first: int, slope: float) -> tuple[int, ...]:
    """Return the channels c_i = first + slope (i - 1), rounded."""
    return channels_of(first, slope, range(1, blocks + 1))


@dataclass(frozen=True)
class Constraint:
    """What a search's networks have: ``params`` as printed in millions, None for any, and multiply-adds in millions."""

    blocks: int
    params: str | None
    macs: float


def _constraints() -> dict[str, Constraint]:
    rows = {name: Constraint(row.blocks, row.params, float(row.macs)) for name, row in TABLE_3.items()}
    depths = {5: 18, 9: 30}
    return rows | {f"{depths[blocks]}-{macs}": Constraint(blocks, None, float(macs)) for blocks, macs in FIGURE_4}


# Table 3's four and figure 4's six, whose names are depth and multiply-adds.
SEARCHES = _constraints()


def strides_of(search: str, penultimate: int) -> tuple[int, ...]:
    """Return the blocks of stride 2 of a search's networks: those of the first row of table 3 of as many blocks."""
    return choose_strides(next(row for row in TABLE_3.values() if row.blocks == SEARCHES[search].blocks), penultimate)


class Config(NamedTuple):
    """A configuration c_i = a f(i) + b: a, b, f(1) .. f(d), the channels, and what the network costs."""

    a: float
    b: float
    f: tuple[float, ...]
    channels: tuple[int, ...]
    params: int
    macs: int


def draw_config(
    constraint: Constraint,
    strides: Sequence[int],
    penultimate: int,
    *,
    first: tuple[int, int],
    knots: int,
    tolerance: float,
    seed: Sequence[int],
    taken: Collection[tuple[int, ...]] = (),
) -> Config | None:
    """Return a random configuration that meets a constraint, None where some thousand draws have found none.

    f is piecewise linear from f(1) = 1 to f(d) = d, with values out of 1 .. d at its knots, some of the blocks between.
    It is a line without knots, and has a stage where two knots have one value. The first block's channels are drawn; a
    follows from the multiply-adds.

    Args:
        constraint: met in multiply-adds within ``tolerance``, in params to the printed digits.
        strides: as in ``count``; likewise ``penultimate``.
        first: least and most channels of the first block.
        knots: at most so many.
        tolerance: a share of the multiply-adds.
        seed: decides it.
        taken: channels that are not drawn again.
    """
    generator, blocks, goal = np.random.default_rng(list(seed)), constraint.blocks, constraint.macs * 1e6
    for _ in range(_MOST_DRAWS):
        shape = _draw_shape(blocks, knots, generator)
        start = int(generator.integers(first[0], first[1] + 1))
        a = solve_slope(start, shape, goal, strides, penultimate)
        channels = channels_of(start, a, shape)
        params, macs = count(channels, strides, penultimate)
        if abs(macs / goal - 1) <= tolerance and _fits(params, constraint.params) and channels not in taken:
            return Config(a, start - a, shape, channels, params, macs)
    return None


def _draw_shape(blocks: int, most_knots: int, generator: np.random.Generator) -> tuple[float, ...]:
    knots = min(int(generator.integers(0, most_knots + 1)), blocks - 2)
    places = np.sort(generator.choice(np.arange(2, blocks), knots, replace=False))
    values = np.sort(generator.integers(1, blocks + 1, knots))
    shape = np.interp(np.arange(1, blocks + 1), [1, *places, blocks], [1, *values, blocks])
    return tuple(float(value) for value in shape)


def _fits(params: int, printed: str | None) -> bool:
    return printed is None or abs(params / 1e6 - float(printed)) <= last_digit(printed) / 2


def channels_of(first: int, a: float, shape: Sequence[float]) -> tuple[int, ...]:
    """Return the channels that begin with ``first`` and rise by ``a`` a step of f, rounded."""
    return tuple(round(first + a * (value - shape[0])) for value in shape)


def solve_slope(first: int, shape: Sequence[float], macs: float, strides: Sequence[int], penultimate: int) -> float:
    """Return the a that brings the multiply-adds nearest to ``macs``, which rise with it: found by halving."""
    low, high = 0.0, _MOST_SLOPE
    for _ in range(30):
        middle = (low + high) / 2
        if count(channels_of(first, middle, shape), strides, penultimate)[1] < macs:
            low = middle
        else:
            high = middle
    return high
