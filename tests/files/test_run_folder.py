"""Names in a run's folder: what is a run, and what belongs to one."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmark.files.run_folder import (
    BEST,
    CONFIG,
    LOG,
    MARK,
    PICTURES,
    RESULT,
    SHEET,
    VIS_DATA,
    checkpoint_iteration,
    is_run,
    list_checkpoints,
    remove_run,
    run_files,
)


@pytest.mark.parametrize(
    ("names", "expected"), [((RESULT,), True), ((CONFIG, LOG), True), ((CONFIG,), False), ((LOG,), False), ((), False)]
)
def test_a_run_has_a_result_or_what_a_training_begins_with(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).touch()
    assert is_run(tmp_path) == expected


def fill(folder: Path) -> tuple[list[str], set[str]]:
    """Put the files of a run into a folder, and some of a user's; return both, by their place in it."""
    runs = ["iter_9.pth", "iter_10.pth", "iter_11.pth.damaged", RESULT, BEST, CONFIG, LOG]
    runs += [f"{VIS_DATA}/events.out.tfevents.1.host", f"{PICTURES}/{SHEET}"]
    mine = {"notes.txt", "iter_best.pth", "weights.pth", "result.json.bak", f"{VIS_DATA}/notes.txt", "own/iter_1.pth"}
    mine.add(f"{PICTURES}/holiday.png")
    for name in (*runs, *mine):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MARK if name.endswith(SHEET) else "")
    return runs, mine


def places(folder: Path, paths: Iterable[Path]) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


def test_the_files_of_a_run_are_its_own_and_no_others(tmp_path):
    runs, _ = fill(tmp_path)
    assert places(tmp_path, run_files(tmp_path)) == runs
    assert [checkpoint_iteration(path) for path in list_checkpoints(tmp_path)] == [9, 10]


def test_a_removed_run_leaves_what_it_did_not_write(tmp_path):
    _, mine = fill(tmp_path)
    remove_run(tmp_path)
    assert set(places(tmp_path, (path for path in tmp_path.rglob("*") if path.is_file()))) == mine
    fill(tmp_path / "other")
    (tmp_path / "other" / PICTURES / "holiday.png").unlink()
    remove_run(tmp_path / "other")
    assert not (tmp_path / "other" / PICTURES).exists() and (tmp_path / "other" / VIS_DATA).is_dir()
