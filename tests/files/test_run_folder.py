"""Names in a run's folder: what is a run, and what belongs to one."""

import pytest
from PIL import Image

from benchmark.evaluation.pictures import save_drawn
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


def test_the_files_of_a_run_are_its_own_and_no_others(tmp_path):
    mine = ("notes.txt", "iter_best.pth", "weights.pth", "result.json.bak", "pictures.zip")
    mine += (f"{VIS_DATA}/notes.txt", f"{PICTURES}/holiday.png", f"{PICTURES}/sheet.jpg", "own/result.json")
    checkpoints = ["iter_9.pth", "iter_10.pth", "iter_11.pth.damaged"]
    made = [*checkpoints, RESULT, BEST, CONFIG, LOG, f"{VIS_DATA}/events.out.tfevents.1"]
    drawn = [f"{PICTURES}/images/d0/frame1.jpg.png", f"{PICTURES}/sheet.png"]
    for name in (*made, *mine):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in drawn:
        save_drawn(Image.new("RGB", (8, 8)), tmp_path / name)
    assert [str(path.relative_to(tmp_path)) for path in run_files(tmp_path)] == [*made, *drawn]
    assert [checkpoint_iteration(path) for path in list_checkpoints(tmp_path)] == [9, 10]
    remove_run(tmp_path)
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(mine)
