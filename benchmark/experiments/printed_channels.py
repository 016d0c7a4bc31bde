"""The channel configurations that the paper prints (section 4, table 3), counted against its own constraints."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure as Drawing

from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.channel_configs import (
    CLASSES,
    FIGURE_4,
    PENULTIMATE,
    SIDE,
    TABLE_3,
    Row,
    choose_penultimate,
    choose_strides,
    count,
    fit_line,
    linear_slope,
)
from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.records.tolerances import TOLERANCES
from benchmark.records.verdicts import Verdict, judge

_WORST_FIRST = (Verdict.DISAGREES, Verdict.NEAR, Verdict.AGREES)
_ROUNDING = 0.5  # channels are whole numbers

CONFIG: dict[str, Any] = {"penultimate": list(PENULTIMATE), "first_channels": [16, 24, 32, 40], "seed": 0}
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
    "worst_narrow": Claim(
        "The worst models have highly reduced the input-side channels.",
        "paper, section 4.3 (its figure 2, green)",
        "in every row the first half of the blocks has fewer channels in sum in the worst model than in the best",
    ),
    "figure_4_met": Claim(
        "Linear configurations meet each of figure 4's six constraints.",
        "paper, section 6 and figure 4",
        "for every first width of the config a slope brings the multiply-adds within 2% of it",
    ),
}


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
    halves = {
        name: (sum(row.best[: row.blocks // 2]), sum(row.worst_whole[: row.blocks // 2]))
        for name, row in TABLE_3.items()
    }
    narrow = [worst < best for best, worst in halves.values()]
    return {
        "worst_narrow": (
            Verdict.AGREES if all(narrow) else Verdict.NEAR if any(narrow) else Verdict.DISAGREES,
            "channels of the first half, best and worst: "
            + ", ".join(f"({name}) {best} and {worst}" for name, (best, worst) in halves.items())
            + ".",
        ),
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
