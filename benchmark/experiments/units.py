"""Units of an experiment's work: done by as many processes as there are cores, each kept as soon as it is done.

Killed at any moment, an experiment loses the units in work and nothing else.
"""

import contextlib
import multiprocessing
import os
import threading
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.console import track_progress
from benchmark.files.atomic import make_folder, remove_leftovers, write_atomically
from benchmark.files.run_folder import UNITS

Values = dict[str, np.ndarray]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def do_units(
    folder: Path,
    units: Mapping[str, Any],
    work: Callable[[Any], Values],
    *,
    processes: int,
    note: Callable[[str, Values], None] = lambda name, values: None,
) -> dict[str, Values]:
    """Return the arrays that ``work`` makes of every unit's argument, by the unit's name.

    Args:
        folder: of the experiment; each unit is a file in it.
        units: arguments by name; the name stands for the argument, so that a file of that name is taken for it.
        work: a function of a module.
        processes: side by side, one thread each; 0 works in this process, with its threads.
        note: is told of every unit that is done, those of earlier runs first.
    """
    place = folder / UNITS
    make_folder(place)
    remove_leftovers(place)
    done = {name: values for name in units if (values := _read(place / f"{name}.npz")) is not None}
    for name, values in done.items():
        note(name, values)
    todo = {name: argument for name, argument in units.items() if name not in done}
    with contextlib.closing(_results(todo, work, processes)) as results:
        for name, values in track_progress(results, folder.name, total=len(todo)):
            write_atomically(place / f"{name}.npz", partial(write_arrays, values=values))
            done[name] = values
            note(name, values)
    return {name: done[name] for name in units}


def _results(
    todo: Mapping[str, Any], work: Callable[[Any], Values], processes: int
) -> Generator[tuple[str, Values], None, None]:
    if processes == 0:
        yield from ((name, work(argument)) for name, argument in todo.items())
        return
    if not todo:
        return
    with _environment(_ONE_THREAD):
        # Forked processes would inherit PyTorch's threads, which do not survive a fork.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(processes, len(todo)), mp_context=context, initializer=_begin)
        try:
            futures = {pool.submit(work, argument): name for name, argument in todo.items()}
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """End this process with the one that started it, also when that is killed; work with one thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    import torch

    torch.set_num_threads(1)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started within the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write_arrays(path: Path, values: Values) -> None:
    """Write arrays by their names into a file, whatever its ending."""
    with path.open("wb") as file:  # np.savez would add an ending to a name
        np.savez_compressed(file, allow_pickle=False, **values)


def _read(path: Path) -> Values | None:
    """Return a unit's arrays; None where it is not done, or its file is damaged: it is done again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
