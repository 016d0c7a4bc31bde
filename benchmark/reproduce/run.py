"""Measuring what a table lacks, as far as this machine can; what is measured already is not measured again."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmark.checkpoints import list_checkpoints, write_atomically
from benchmark.config import load_config
from benchmark.engine import Options, is_main, train
from benchmark.errors import UserError
from benchmark.latency import Latency, Settings, measure, paper_ratios
from benchmark.paper_tables import TABLES, read_table, row_config
from benchmark.preflight import check_data
from benchmark.reproduce.cells import FIGURES, TIMED, State, Verdict
from benchmark.reproduce.state import PAIRED_TABLE, read_state, recipe_images
from benchmark.results import FILE_NAME

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
    problems = []
    for config in _untrained(number, folders):
        options = Options(config, folders[0] / FOLDER / f"table{number}" / config.stem, data_root=data_root)
        if problem := _train(options, batch_size, precision):
            problems.append(f"{config.stem}: {problem}")
    return problems


def _measure_times(number: int, folders: Sequence[Path], threads: int | None) -> None:
    """Measure the times that are missing; rows that stand in the paired table too are timed with that one."""
    for column, timed in TIMED.items():
        if timed.device == "cuda" and not torch.cuda.is_available():
            continue
        settings = Settings(batch_size=timed.batch_size, device=timed.device, threads=threads)
        for part in dict.fromkeys((PAIRED_TABLE, number)):
            state = read_state(part, folders)
            missing = _missing_models(state, column)
            if not missing:
                continue
            records, pairs = paper_ratios(settings) if part == PAIRED_TABLE else (measure(missing, settings), [])
            path = folders[0] / FOLDER / f"table{part}" / f"latency_{timed.device}.json"
            _store(path, records, [{"device": records[0].device, "batch": timed.batch_size, **row} for row in pairs])


def _missing_models(state: State, column: str) -> list[str]:
    """Return the backbones that a column of a table lacks a time of."""
    heading = FIGURES[column].heading
    cells = [cell for cell in state.cells if cell.figure == heading]
    rows = read_table(state.number)
    missing = [row["backbone"] for row, cell in zip(rows, cells, strict=True) if cell.verdict == Verdict.MISSING]
    return list(dict.fromkeys(missing))


def _store(path: Path, records: Sequence[Latency], pairs: Sequence[dict[str, str | int]]) -> None:
    content = {"latencies": [record.model_dump() for record in records], "pairs": pairs}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


def _untrained(number: int, folders: Sequence[Path]) -> Iterator[Path]:
    """Return the configs of the rows without accuracy."""
    accuracy = {figure.heading for figure in FIGURES.values() if figure.kind == "accuracy"}
    cells = iter(read_state(number, folders).cells)
    ...
