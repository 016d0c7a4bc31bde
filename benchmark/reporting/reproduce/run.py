"""Measuring what a table lacks, as far as this machine can; what is measured already is not measured again."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import load_config
from benchmark.config.recipe import Recipe
from benchmark.files.run_folder import RESULT, latency_path, list_checkpoints, table_folder
from benchmark.measuring.latency import Settings, measure
from benchmark.preflight import check_data
from benchmark.records.latency import LatencyFile
from benchmark.records.verdicts import Verdict
from benchmark.reporting.paper.ratios import paper_ratios
from benchmark.reporting.paper.tables import PAIRED_TABLE, TABLES, TableNumber
from benchmark.reporting.reproduce.cells import TIMED
from benchmark.reporting.reproduce.state import read_state, recipe_images
from benchmark.training.processes import is_main
from benchmark.training.train import train


def run_table(
    number: TableNumber,
    folders: Sequence[Path],
    *,
    data_root: Path | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    threads: int | None = None,
) -> list[str]:
    """Measure the times that a table lacks on the devices that are here, and train the configs whose data are here.

    Everything is stored below ``reproduce/table<number>`` of the first folder: times as ``tools/latency.py --json``
    prints them, trainings as ordinary runs. A training that was interrupted is resumed from its newest checkpoint.

    Args:
        number: of a table of ``TABLES``.
        folders: where runs and times are looked for.
        data_root: folder of the data; default as in ``load_config``.
        batch_size: images per process in training, in place of the recipe's batch over the number of processes. The
            training sees as many images as the recipe says; learning rate and schedule follow.
        precision: of training.
        threads: of the CPU while times are measured; None for PyTorch's choice.

    Returns:
        What was not trained, and why.

    Raises:
        UserError: what the user can fix and does not concern the data.
    """
    if TABLES[number].timed and is_main():
        _measure_times(number, folders, threads)
    problems: dict[str, list[str]] = {}
    for config in _untrained(number, folders):
        folder = table_folder(folders[0], number) / config.stem
        options = Options(config, folder, data_root=data_root, precision=precision)
        if problem := _train(options, folder, batch_size):
            problems.setdefault(problem, []).append(config.stem)
    return [f"{', '.join(names)}: {problem}" for problem, names in problems.items()]


def _untrained(number: TableNumber, folders: Sequence[Path]) -> list[Path]:
    """Return the configs of the rows that have no accuracy at all."""
    cells = [cell for cell in read_state(number, folders).cells if cell.column.kind == "accuracy"]
    measured = {cell.config for cell in cells if cell.ours is not None}
    return [config for config in dict.fromkeys(cell.config for cell in cells) if config and config not in measured]


def _measure_times(number: TableNumber, folders: Sequence[Path], threads: int | None) -> None:
    """Measure the times that are missing; a row of the paired table is timed with that one, and only once."""
    for column, timed in TIMED.items():
        if timed.device == "cuda" and not torch.cuda.is_available():
            continue
        settings = Settings(batch_size=timed.batch_size, device=timed.device, threads=threads)
        for part in dict.fromkeys((PAIRED_TABLE, number)):
            cells = [cell for cell in read_state(part, folders).cells if cell.column.name == column]
            missing = dict.fromkeys(cell.backbone for cell in cells if cell.verdict == Verdict.MISSING)
            if missing:
                times = (
                    paper_ratios(settings)
                    if part == PAIRED_TABLE
                    else LatencyFile(latencies=measure(list(missing), settings))
                )
                times.write(latency_path(table_folder(folders[0], part), timed.device))


def _train(options: Options, folder: Path, batch_size: int | None) -> str | None:
    """Train a config in its folder, or resume it; where that cannot be, return why."""
    if (folder / RESULT).is_file():
        return f"{folder} holds a finished run that does not fill the cells; move it away to train again."
    cfg = load_config(options.config, data_root=options.data_root)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = batch_size or max(1, cfg.auto_scale_lr.base_batch_size // processes)
    try:
        found = check_data(cfg).splits["val_dataloader"].images
    except UserError as error:
        return str(error)
    if found != cfg.get("val_images", found):
        return f"{cfg.data_root} has {found} of {cfg.val_images} validation images."
    resume = bool(list_checkpoints(folder))
    train(
        replace(options, batch_size=batch),
        steps=max(1, round(recipe_images(cfg) / (batch * processes))),
        resume=resume,
        overwrite=not resume,
        recipe=Recipe(lr="config"),
    )
    return None
