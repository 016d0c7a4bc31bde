"""Measuring what a table lacks, as far as this machine can; what is measured already is not measured again."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import load_config
from benchmark.files.atomic import write_atomically
from benchmark.files.checkpoints import list_checkpoints
from benchmark.measuring.latency import Latency, Settings, measure
from benchmark.preflight import check_data
from benchmark.records.result import FILE_NAME
from benchmark.reporting.paper.ratios import paper_ratios
from benchmark.reporting.paper.tables import TABLES
from benchmark.reporting.reproduce.cells import TIMED, Verdict
from benchmark.reporting.reproduce.state import PAIRED_TABLE, read_state, recipe_images
from benchmark.training.processes import is_main
from benchmark.training.train import train

FOLDER = "reproduce"


def run_table(
    number: int,
    folders: Sequence[Path],
    *,
    data_root: Path | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    threads: int | None = None,
) -> list[str]:
    """Measure the times that a table lacks on the devices that are here, and train the configs whose data are here.

    Everything is stored below ``reproduce/table<number>`` of the first folder: times as ``tools/latency.py --json``
    prints them, trainings as ordinary runs. A training that was interrupted goes on from its newest checkpoint.

    Args:
        number: of a table of ``TABLES``.
        folders: where runs and times are looked for.
        data_root: folder of the data; default as in ``load_config``.
        batch_size: images a process in training, in place of the recipe's batch over the number of processes. The
            training sees as many images as the recipe says; learning rate and schedule follow.
        precision: of training.
        threads: of the CPU while times are measured; None for PyTorch's choice.

    Returns:
        What was not trained, and why.

    Raises:
        UserError: what the user can mend and does not concern the data.
    """
    if TABLES[number].timed and is_main():
        _measure_times(number, folders, threads)
    problems: dict[str, list[str]] = {}
    for config in _untrained(number, folders):
        options = Options(config, folders[0] / FOLDER / f"table{number}" / config.stem, data_root=data_root)
        if problem := _train(options, batch_size, precision):
            problems.setdefault(problem, []).append(config.stem)
    return [f"{', '.join(names)}: {problem}" for problem, names in problems.items()]


def _untrained(number: int, folders: Sequence[Path]) -> list[Path]:
    """Return the configs of the rows that have no accuracy at all."""
    cells = [cell for cell in read_state(number, folders).cells if cell.config and cell.figure.kind == "accuracy"]
    measured = {cell.config for cell in cells if cell.ours is not None}
    return [config for config in dict.fromkeys(cell.config for cell in cells) if config not in measured]


def _measure_times(number: int, folders: Sequence[Path], threads: int | None) -> None:
    """Measure the times that are missing; a row of the paired table is timed with that one, and only once."""
    for column, timed in TIMED.items():
        if timed.device == "cuda" and not torch.cuda.is_available():
            continue
        settings = Settings(batch_size=timed.batch_size, device=timed.device, threads=threads)
        for part in dict.fromkeys((PAIRED_TABLE, number)):
            cells = [cell for cell in read_state(part, folders).cells if cell.column == column]
            missing = dict.fromkeys(cell.backbone for cell in cells if cell.verdict == Verdict.MISSING)
            if missing:
                times = paper_ratios(settings) if part == PAIRED_TABLE else (measure(list(missing), settings), [])
                _store(folders[0] / FOLDER / f"table{part}" / f"latency_{timed.device}.json", settings, *times)


def _store(path: Path, settings: Settings, records: Sequence[Latency], pairs: Sequence[dict[str, str]]) -> None:
    content = {
        "latencies": [record.model_dump() for record in records],
        "pairs": [{"device": records[0].device, "batch": settings.batch_size, **pair} for pair in pairs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


def _train(options: Options, batch_size: int | None, precision: str) -> str | None:
    """Train a config, or go on with it; where that cannot be, return why."""
    if (options.work_dir / FILE_NAME).is_file():
        return f"{options.work_dir} holds a finished run that does not fill the cells; move it away to train again."
    cfg = load_config(options.config, data_root=options.data_root)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = batch_size or max(1, cfg.auto_scale_lr.base_batch_size // processes)
    try:
        found = check_data(cfg).splits["val_dataloader"].images
    except UserError as error:
        return str(error)
    if found != cfg.get("val_images", found):
        return f"{cfg.data_root} has {found} of {cfg.val_images} validation images."
    resume = bool(list_checkpoints(options.work_dir))
    train(
        replace(options, batch_size=batch, precision=precision),
        steps=max(1, round(recipe_images(cfg) / (batch * processes))),
        resume=resume,
        overwrite=not resume,
    )
    return None
