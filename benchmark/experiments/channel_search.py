"""Channel configurations of section 4: what the paper prints, counted against its own constraints.

A network is a 3x3 stem of 16 channels, inverted bottlenecks of expansion 6, a 1x1 expansion layer and a classifier, on
CIFAR-100's 32x32 pixels. The paper prints neither the width of the expansion layer nor which blocks have stride 2. The
width is read off the params, which no stride changes; the strides are those two that bring a row's best and worst
configuration nearest to the multiply-adds printed for its best and worst tenth. So params are a test of the printed
figures, and multiply-adds show that they can be met.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.records.tolerances import TOLERANCES
from benchmark.records.verdicts import Verdict, judge

STEM, EXPANSION, CLASSES, SIDE = 16, 6, 100, 32
_DOWNSAMPLINGS = 2
_WORST_FIRST = (Verdict.DISAGREES, Verdict.NEAR, Verdict.AGREES)
_ROUNDING = 0.5  # channels are whole numbers


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

CONFIG: dict[str, Any] = {"penultimate": [256, 512, 1024, 1280], "first_channels": [16, 24, 32, 40], "seed": 0}
QUICK: dict[str, Any] = {}

CLAIMS = {
    "printed_whole": Claim(
        "Best and worst configurations have as many channels as the row has blocks.",
        "paper, table 3; document 003",
        "the number of printed channels is the number of blocks",
    ),
    "printed_rising": Claim(
        "Channels do not fall from block to block.", "paper, equation 1", "so in all printed configurations"
    ),
    "printed_params": Claim(
        "Best and worst configurations have the row's params.",
        "paper, table 3",
        "with one width of the expansion layer for all rows, the one that fits best, the count is the printed figure "
        "to its digits (near: within 17%)",
    ),
    "printed_macs": Claim(
        "Best and worst configurations have the multiply-adds of their tenths.",
        "paper, table 3",
        "with two strides a row, chosen so, the counts are within 10% of the printed means (near: within 17%)",
    ),
    "constraint_d": Claim(
        "Each row's models meet its constraint of multiply-adds.",
        "paper, table 3",
        "the printed means of the best tenth are within 10% of the printed constraint (near: within 17%)",
    ),
    "best_linear": Claim(
        "The best models are linear in the block index.",
        "paper, section 4.3",
        "a line through the printed channels leaves at most half a channel, in every row (near: in some)",
    ),
    "best_more_linear": Claim(
        "The best models are more linear than the worst.",
        "paper, section 4.3 and figure 2",
        "the line explains more of their variance (R^2), in every row",
    ),
    "figure_4_met": Claim(
        "Linear configurations meet each of figure 4's six constraints.",
        "paper, section 6 and figure 4",
        "for every first width of the config a slope brings the multiply-adds within 2% of it",
    ),
}


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
    """Return the slope of the linear configuration from ``first`` channels that has ``macs``, None if there is none.

    Multiply-adds rise with the slope, so that it is found by halving.
    """
    low, high = 0.0, 200.0
    for _ in range(50):
        slope = (low + high) / 2
        if count(line(blocks, first, slope), strides, penultimate)[1] < macs:
            low = slope
        else:
            high = slope
    found = count(line(blocks, first, high), strides, penultimate)[1]
    return high if abs(found / macs - 1) < 0.02 else None


def line(blocks: int, first: int, slope: float) -> list[int]:
    """Return the channels c_i = first + slope (i - 1), rounded."""
    return [round(first + slope * index) for index in range(blocks)]


def run(run: Run) -> Findings:
    """Count and judge; nothing is trained."""
    config = run.config
    penultimate = choose_penultimate(config["penultimate"])
    strides = {name: choose_strides(row, penultimate) for name, row in TABLE_3.items()}
    figures = [figure for name, row in TABLE_3.items() for figure in _counts(name, row, strides[name], penultimate)]
    verdicts = {
        **_judge_counts(figures, penultimate, strides),
        **_judge_printed(),
        **_judge_lines(),
        "figure_4_met": _judge_figure_4(config, strides, penultimate),
    }
    return Findings(
        measured=(
            "The best and worst configurations of table 3 by block index, with the line nearest to each (dashed), "
            f"counted on {SIDE}x{SIDE} pixels with {CLASSES} classes, stem 16, expansion 6, expansion layer "
            f"{penultimate}, and the two strides that fit each row. Nothing is trained and nothing is random."
        ),
        verdicts=verdicts,
        figures=figures,
        series=[
            Series(
                group=name,
                name=label,
                x=[float(index) for index in range(1, len(channels) + 1)],
                y=[float(channel) for channel in channels],
                low=[None] * len(channels),
                high=[None] * len(channels),
                n=1,
            )
            for name, row in TABLE_3.items()
            for label, channels in (("best", row.best), ("worst", row.worst_whole))
        ],
        seeds=[config["seed"]],
    )


def _counts(name: str, row: Row, strides: Sequence[int], penultimate: int) -> list[Figure]:
    found = []
    for label, channels, printed_macs in (
        ("best", row.best, row.best_macs),
        ("worst", row.worst_whole, row.worst_macs),
    ):
        params, macs = (value / 1e6 for value in count(channels, strides, penultimate))
        within, near = TOLERANCES["search constraint"].bounds(row.params)
        verdict = judge(params, float(row.params), tolerance=within, near=near)
        found.append(
            Figure(name=f"({name}) {label}: params", value=params, unit="M", printed=float(row.params), verdict=verdict)
        )
        verdict = _judge_macs(macs, float(printed_macs))
        found.append(
            Figure(
                name=f"({name}) {label}: multiply-adds",
                value=macs,
                unit="M",
                printed=float(printed_macs),
                verdict=verdict,
            )
        )
    return found


def _judge_macs(found: float, printed: float) -> Verdict:
    near = TOLERANCES["search constraint"].near_share
    return judge(found, printed, tolerance=0.1 * printed, near=near * printed)


def _judge_counts(
    figures: Sequence[Figure], penultimate: int, strides: Mapping[str, Sequence[int]]
) -> dict[str, tuple[Verdict, str]]:
    found = {}
    for claim, ending in (("printed_params", "params"), ("printed_macs", "multiply-adds")):
        own = [figure for figure in figures if figure.name.endswith(ending)]
        text = ", ".join(
            f"{figure.name.removesuffix(f': {ending}')} {figure.value:.3g} for {figure.printed:g}" for figure in own
        )
        verdicts = [figure.verdict for figure in own if figure.verdict]
        found[claim] = (min(verdicts, key=_WORST_FIRST.index), f"in millions: {text}")
    blocks = ", ".join(f"({name}) {' and '.join(str(at + 1) for at in own)}" for name, own in strides.items())
    verdict, text = found["printed_params"]
    found["printed_params"] = (verdict, f"{text}; expansion layer of {penultimate}.")
    verdict, text = found["printed_macs"]
    found["printed_macs"] = (verdict, f"{text}; strides of 2 in blocks {blocks}.")
    return found


def _judge_printed() -> dict[str, tuple[Verdict, str]]:
    short = [
        f"({name}) {len(row.worst)} of {row.blocks}" for name, row in TABLE_3.items() if len(row.worst) < row.blocks
    ]
    rising = all(
        low <= high
        for row in TABLE_3.values()
        for channels in (row.best, row.worst, row.worst_whole)
        for low, high in pairwise(channels)
    )
    means = {name: _judge_macs(float(row.best_macs), float(row.macs)) for name, row in TABLE_3.items()}
    return {
        "printed_whole": (
            Verdict.DISAGREES if short else Verdict.AGREES,
            f"worst configurations of the paper are short: {', '.join(short)}; document 003 prints (b) and (d) whole, "
            "(c) is whole in neither.",
        ),
        "printed_rising": (Verdict.AGREES if rising else Verdict.DISAGREES, "all eight."),
        "constraint_d": (
            min(means.values(), key=_WORST_FIRST.index),
            ", ".join(f"({name}) {row.best_macs}M for {row.macs}M" for name, row in TABLE_3.items()) + ".",
        ),
    }


def _judge_lines() -> dict[str, tuple[Verdict, str]]:
    best = {name: fit_line(row.best) for name, row in TABLE_3.items()}
    worst = {name: fit_line(row.worst_whole) for name, row in TABLE_3.items()}
    straight = [name for name, (_, _, _, residual) in best.items() if residual <= _ROUNDING]
    part = Verdict.NEAR if straight else Verdict.DISAGREES
    more = all(best[name][2] > worst[name][2] for name in TABLE_3)
    return {
        "best_linear": (
            Verdict.AGREES if len(straight) == len(best) else part,
            "largest distance from a line, in channels: "
            + ", ".join(f"({name}) {residual:.1f}" for name, (_, _, _, residual) in best.items())
            + "; (a) and (d) begin flat and rise in a line from the second or fourth block on.",
        ),
        "best_more_linear": (
            Verdict.AGREES if more else Verdict.DISAGREES,
            "R^2 of best and worst: "
            + ", ".join(f"({name}) {best[name][2]:.3f} and {worst[name][2]:.3f}" for name in TABLE_3)
            + "; two models a row, no more.",
        ),
    }


def _judge_figure_4(
    config: Mapping[str, Any], strides: Mapping[str, Sequence[int]], penultimate: int
) -> tuple[Verdict, str]:
    of_blocks = {TABLE_3[name].blocks: own for name, own in strides.items() if name in "ab"}
    slopes = {
        (blocks, macs): [
            linear_slope(blocks, first, macs * 1e6, of_blocks[blocks], penultimate)
            for first in config["first_channels"]
        ]
        for blocks, macs in FIGURE_4
    }
    met = [all(slope is not None for slope in own) for own in slopes.values()]
    some = [any(slope is not None for slope in own) for own in slopes.values()]
    text = "; ".join(
        f"{blocks} blocks, {macs}M: {', '.join('none' if slope is None else f'{slope:.1f}' for slope in own)}"
        for (blocks, macs), own in slopes.items()
    )
    verdict = Verdict.AGREES if all(met) else Verdict.NEAR if all(some) else Verdict.DISAGREES
    return verdict, f"slopes in channels a block from {config['first_channels']} first channels: {text}."


def draw(made: Artefact) -> Drawing:
    """Draw the printed configurations with their lines and counts."""
    figure, axes = new_figure(1, len(TABLE_3), width=13, height=3.2)
    values = {found.name: found for found in made.figures}
    for panel, (name, row) in zip(axes, TABLE_3.items(), strict=True):
        for curve, colour in zip(made.panel(name), (COLOURS[1], COLOURS[2]), strict=True):
            channels = [int(value or 0) for value in curve.y]
            slope, intercept, explained, _ = fit_line(channels)
            params, macs = (values[f"({name}) {curve.name}: {key}"].value for key in ("params", "multiply-adds"))
            label = f"{curve.name}: {params:.2f}M params, {macs:.0f}M multiply-adds, $R^2$ {explained:.2f}"
            panel.plot(curve.x, channels, "o-", color=colour, label=label, markersize=3.5)
            panel.plot(curve.x, [slope * x + intercept for x in curve.x], "--", color=colour, linewidth=0.8)
        panel.set(
            title=f"({name}) {row.blocks} blocks; printed {row.params}M, {row.macs}M",
            xlabel="block index",
            ylabel="output channels" if name == "a" else "",
            ylim=(0, None),
        )
        panel.legend(fontsize=6.5, loc="upper left")
        panel.set_ylim(top=1.25 * max(*row.best, *row.worst_whole))
    return figure


EXPERIMENT = Experiment(CONFIG, QUICK, CLAIMS, run, draw)
