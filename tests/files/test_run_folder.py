"""Names in a run's folder: what is a run, and what belongs to one."""

import pytest

from benchmark.files.run_folder import (
    BEST,
    CONFIG,
    LOG,
    PICTURES,
    RESULT,
    VIS_DATA,
    checkpoint_iteration,
    is_run,
    list_checkpoints,
    run_files,
)


@pytest.mark.parametrize(
    ("names", "expected"), [((RESULT,), True), ((CONFIG, LOG), True), ((CONFIG,), False), ((LOG,), False), ((), False)]
)
def test_a_run_has_a_result_or_what_a_training_begins_with(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).touch()
    assert is_run(tmp_path) == expected


def test_the_files_of_a_run_are_its_own_and_no_others(tmp_path):
    mine = ("notes.txt", "iter_best.pth", "weights.pth", "result.json.bak", "pictures.zip")
    for name in ("iter_10.pth", "iter_9.pth", "iter_11.pth.damaged", RESULT, BEST, CONFIG, LOG, *mine):
        (tmp_path / name).touch()
    for name in (VIS_DATA, PICTURES, "own"):
        (tmp_path / name).mkdir()
    expected = ["iter_9.pth", "iter_10.pth", "iter_11.pth.damaged", RESULT, BEST, CONFIG, LOG, VIS_DATA, PICTURES]
    assert [path.name for path in run_files(tmp_path)] == expected
    assert [checkpoint_iteration(path) for path in list_checkpoints(tmp_path)] == [9, 10]
