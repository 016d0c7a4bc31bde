"""What is measured of a table of the paper, read from the runs and times below folders and from our own counts.

A run fills a row's cells if it trained the row's config from pretrained weights on as many images as the recipe says,
give or take a tenth and whatever the batch, and was evaluated on the whole split of the row's data. Of several seeds
the mean counts. Times are of classifiers in fp32, eager, with batch normalisation as it is.

A table of ImageNet classifiers names the recipe of each row's training. Where there is none of it here, the newest
evaluation of weights from elsewhere fills the row, of several rows of one backbone the last, which has the most
augmentation; the notes name the weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from mmengine.config import Config

from benchmark.config.load import config_name, load_config
from benchmark.config.names import CONFIGS
from benchmark.measuring.complexity import Complexity
from benchmark.records.latency import Latency, Pair
from benchmark.records.models import read_models
from benchmark.records.result import Result
from benchmark.records.runs import Run, find_runs
from benchmark.records.verdicts import Verdict, judge
from benchmark.reporting.paper.blocks import read_architecture, structure
from benchmark.reporting.paper.counts import compare_complexity, row_config
from benchmark.reporting.paper.printed import is_on_data
from benchmark.reporting.paper.tables import (
    PAIRED_TABLE,
    Row,
    TableNumber,
    classifier_side,
    find_table,
    read_table,
    tolerance,
)
from benchmark.reporting.reproduce.cells import TIMED, Cell, Column, Ratio, State, Timed, columns

_SAME_LENGTH = 0.1  # by what part of the recipe's images a training may be longer or shorter


@dataclass(frozen=True)
class _Measured:
    """What is measured of a row: its runs, one per seed; its count; its stem and blocks and its times by column."""

    results: Sequence[Result]
    complexity: Complexity | None
    structure: Mapping[str, str]
    times: Mapping[str, Latency]

    def values(self, column: Column) -> list[float] | list[str]:
        """Return the measurements of a column, in the unit of our results."""
        if column.kind == "accuracy":
            return [value for result in self.results if (value := result.metrics.get(column.key)) is not None]
        if column.kind == "structure":
            return [self.structure[column.key]] if self.structure else []
        if column.kind == "count":
            return [getattr(self.complexity, column.key)] if self.complexity else []
        return [getattr(self.times[column.name], column.key)] if column.name in self.times else []


def read_state(number: TableNumber, folders: Sequence[Path], data_root: Path | None = None) -> State:
    """Compare every cell of a table with ours.

    Args:
        number: of a table of ``TABLES``.
        folders: where runs and times are looked for.
        data_root: folder of the data, for the commands.
    """
    found, rows = find_runs(folders), read_table(number)
    counts = iter(compare_complexity(number))
    times = {column: _choose_times(rows, found.timings, timed) for column, timed in TIMED.items()}
    cells: list[Cell] = []
    skipped: list[str] = []
    weights: list[str] = []
    for row in rows:
        cfg = _recipe(number, row)
        runs, others = _runs_of(number, row, cfg, found.runs) if cfg else ([], [])
        skipped += others
        weights += [f"{row['label']} of {origin}" for run in runs if (origin := _from_elsewhere(run.result))]
        measured = _Measured(
            [run.result for run in runs],
            next(counts).ours if row["backbone"] else None,
            _structure(number, row),
            {column: own for column, chosen in times.items() if (own := chosen.get(_model(row)))},
        )
        commands = _commands(number, row, cfg, data_root)
        cells += [_cell(number, row, column, measured.values(column), commands) for column in columns(number)]
    ratios = map(_ratio, found.pairs if number == PAIRED_TABLE else ())
    return State(
        number,
        len(rows),
        tuple(cells),
        tuple(ratios),
        {column.heading: _describe(own) for column in columns(number) if (own := times.get(column.name))}
        | ({"Weights that were not trained here": "; ".join(weights)} if weights else {}),
        tuple(skipped),
        tuple(found.problems),
    )


def recipe_images(cfg: Config) -> int:
    """Return how many images a config's training sees at the batch that its recipe is for."""
    return cfg.train_cfg.max_iters * cfg.auto_scale_lr.base_batch_size


def _recipe(number: TableNumber, row: Row) -> Config | None:
    """Return the config of a row's training; None where the catalogue has no backbone for it, or nothing is trained."""
    if row["backbone"] and "recipe" in row:
        return load_config(CONFIGS / f"{row['recipe']}.py", backbone=row["backbone"])
    config = row_config(number, row)
    return load_config(config) if config else None


def _from_elsewhere(result: Result) -> str | None:
    """Return which weights an evaluation is of that no run of ours has trained; None for others."""
    checkpoint = result.checkpoint
    return checkpoint.file if checkpoint and checkpoint.iteration is None and result.training is None else None


def _same_backbone(number: TableNumber, row: Row) -> list[Row]:
    return [other for other in read_table(number) if other["backbone"] == row["backbone"]]


def _takes_weights(number: TableNumber, row: Row) -> bool:
    """Tell whether weights from elsewhere may fill a row."""
    return "recipe" in row and row == _same_backbone(number, row)[-1]


def _runs_of(number: TableNumber, row: Row, cfg: Config, runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Return the runs that fill a row's cells, the newest of each seed, and why others of its model do not."""
    by_seed: dict[int | None, Run] = {}
    weights: list[Run] = []
    skipped: list[str] = []
    others = {f"{other['recipe']}_{other['backbone']}" for other in _same_backbone(number, row) if "recipe" in other}
    for run in sorted(runs, key=lambda run: run.result.provenance.date):
        result = run.result
        same_model = (result.task, result.backbone) == (cfg.task, row["backbone"])
        if not (same_model and is_on_data(row, cfg.task, result.data)):
            continue
        elsewhere = "recipe" in row and _from_elsewhere(result)
        of_another_row = result.config.name in others - {config_name(cfg)}
        if not _takes_weights(number, row) if elsewhere else of_another_row:
            continue
        if reason := _why_not_evaluated(result, row) if elsewhere else _why_not(result, cfg):
            skipped.append(f"{run.folder}: {reason}")
        elif result.training:
            by_seed[result.training.seed] = run
        else:
            weights = [run]
    return list(by_seed.values()) or weights, skipped


def _why_not_evaluated(result: Result, row: Row) -> str | None:
    """Say why an evaluation of a row's backbone does not fill its cells, whatever weights it is of."""
    if result.data.partial:
        return f"evaluated on a part of the split ({result.data.images} images)"
    (_, _, height, width), side = result.cost.input, classifier_side(row)
    return None if (height, width) == (side, side) else f"evaluated at {height}x{width}, not {side}x{side}"


def _why_not(result: Result, cfg: Config) -> str | None:
    """Say why a run of a row's model and data does not fill its cells."""
    training = result.training
    if result.config.name != config_name(cfg):
        return f"its config is {result.config.name}, not {config_name(cfg)}"
    if result.data.partial:
        return f"evaluated on a part of the split ({result.data.images} images)"
    if result.data.unreadable:
        return f"evaluated without {len(result.data.unreadable)} unreadable pictures of the split"
    if training is None:
        return "nothing is known of its training"
    if result.other_weights:
        return f"not of its final weights ({result.other_weights})"
    if training.partial:
        return "trained on a part of the split"
    wanted = cfg.model.backbone.pretrained is not None
    if (training.pretrained is not None) != wanted:
        return f"trained from {'random' if wanted else 'pretrained'} weights"
    share = training.iterations * training.batch_size / recipe_images(cfg)
    if abs(share - 1) > _SAME_LENGTH:
        return f"trained on {share:.3g} times the recipe's images"
    return None


def _structure(number: TableNumber, row: Row) -> dict[str, str]:
    """Return stem and blocks of a row's network, where its table prints them and the catalogue has it."""
    if not (find_table(number).structure and row["backbone"]):
        return {}
    return structure(row, read_architecture(row["backbone"], classifier_side(row)))


def _model(row: Row) -> tuple[str, int]:
    """Return what is timed of a row: backbone, and side of its images in pixels."""
    return row["backbone"], classifier_side(row)


def _choose_times(rows: Sequence[Row], timings: Iterable[Latency], timed: Timed) -> dict[tuple[str, int], Latency]:
    """Return the times of a table's models, all under the conditions that most of them were timed under."""
    models = {_model(row) for row in rows if row["backbone"]}
    groups: dict[tuple[str, ...], dict[tuple[str, int], Latency]] = {}
    for timing in timings:
        batch, _, height, width = timing.input
        model = (timing.model, height)
        plain = (timing.timed, timing.precision, timing.compiled, timing.norms_folded) == (
            "classifier", "fp32", False, None,
        )  # fmt: skip
        on_device = (timing.device == "CPU") == (timed.device == "cpu")
        if plain and on_device and batch == timed.batch_size and height == width and model in models:
            groups.setdefault(timing.conditions, {})[model] = timing
    return max(groups.values(), key=len, default={})


def _describe(times: Mapping[tuple[str, int], Latency]) -> str:
    timings = list(times.values())
    unstable = [timing.model for timing in timings if not timing.stable]
    text = ", ".join(timings[0].conditions)
    return f"{text}; the medians of {', '.join(unstable)} still moved when the warm-up ended" if unstable else text


def _cell(
    number: TableNumber, row: Row, column: Column, values: Sequence[float | str], commands: Mapping[str, str]
) -> Cell:
    printed = row.get(column.name, "")
    numbers = column.kind in ("accuracy", "count")
    comparable = printed and column.kind in commands and numbers
    bounds = tolerance(number, row, column.name) if comparable else (None, None)
    if column.kind == "structure":
        ours = values[0] if values else None
    else:
        ours = fmean(map(float, values)) / column.scale if values else None
    cell = Cell(
        row=f"{row['label']}, {row['dataset']}" if "dataset" in row else row["label"],
        backbone=row["backbone"],
        column=column,
        config=row_config(number, row),
        printed=printed,
        ours=ours,
        runs=len(values),
        tolerance=bounds[0],
        near=bounds[1],
        verdict=Verdict.MISSING,
        command=commands.get(column.name, commands.get(column.kind)),
    )
    return replace(cell, verdict=_verdict(cell))


def _verdict(cell: Cell) -> Verdict:
    if not cell.backbone:
        return Verdict.NOT_IN_THE_CATALOGUE
    if cell.ours is None:
        return Verdict.MISSING
    if not cell.printed:
        return Verdict.NOT_PRINTED
    if cell.column.kind == "structure":
        return Verdict.AGREES if cell.ours == cell.printed else Verdict.DISAGREES
    if cell.tolerance is None or cell.near is None or isinstance(cell.ours, str):
        return Verdict.NOT_COMPARED
    return judge(
        cell.ours,
        float(cell.printed),
        tolerance=cell.tolerance,
        near=cell.near,
        higher_is_better=cell.column.kind == "accuracy",
    )


def _commands(number: TableNumber, row: Row, cfg: Config | None, data_root: Path | None) -> dict[str, str]:
    """Return the command lines that measure a row, by kind of figure; for times on a GPU by column."""
    if not row["backbone"]:
        return {}
    times = f"python tools/reproduce.py table{number} --run"
    on_gpu = {
        column: f"{times}  # on a machine with a GPU" for column, timed in TIMED.items() if timed.device == "cuda"
    }
    count = f"python tools/complexity.py --table {number}"
    commands = {"count": count, "structure": count, "time": times, **on_gpu}
    if cfg and _takes_weights(number, row) and read_models()[row["backbone"]]["weights"]:
        return commands | {"accuracy": _evaluation_command(row, data_root)}
    return commands | ({"accuracy": _training_command(row, cfg, data_root)} if cfg else {})


def _evaluation_command(row: Row, data_root: Path | None) -> str:
    """Return the command line that evaluates the ImageNet weights of a row's backbone."""
    options = f" --data-root {data_root}" if data_root else ""
    return (
        f"python tools/eval_imagenet.py configs/imagenet.py --backbone {row['backbone']} --pretrained imagenet{options}"
    )


def _training_command(row: Row, cfg: Config, data_root: Path | None) -> str:
    """Return the command line that trains a config by one process, at the batch that its recipe is for."""
    batch = cfg.auto_scale_lr.base_batch_size
    options = f" --backbone {row['backbone']}" if "recipe" in row else ""
    options += f" --batch-size {batch}" if batch != cfg.train_dataloader.batch_size else ""
    options += f" --data-root {data_root}" if data_root else ""
    return f"python tools/train.py {Path(cfg.filename).relative_to(CONFIGS.parent)}{options}"


def _ratio(pair: Pair) -> Ratio:
    return Ratio(pair.device, pair.batch, pair.pair, float(pair.printed), float(pair.ratio), pair.quartiles)
