"""A result may name the checkpoint that it is of; where that is not the training's last, it is its own row."""

import json

import pytest
from helpers import result
from test_leaderboard import TRAINING, boards, save

from benchmark.records.result import CheckpointRecord, read_result
from benchmark.reporting.leaderboard import find_runs, make_report, render


def weights(iteration: int | None, name: str = "iter.pth") -> dict:
    return {"file": name, "sha256": "2" * 64, "iteration": iteration}


def test_it_reads_back_and_a_result_without_one_is_valid(tmp_path):
    written = result(checkpoint=weights(2))
    assert written.checkpoint == CheckpointRecord(**weights(2))
    assert read_result(written.write(tmp_path)) == written
    old = json.loads(result().model_dump_json())
    del old["checkpoint"]
    (tmp_path / "result.json").write_text(json.dumps(old))
    assert read_result(tmp_path / "result.json").checkpoint is None


@pytest.mark.parametrize(
    ("training", "checkpoint", "mark"),
    [
        (TRAINING, None, []),
        (TRAINING, weights(100), []),
        (TRAINING, weights(20), ["iteration 20 of 100"]),
        (TRAINING, weights(None, "best.pth"), ["checkpoint best.pth"]),
        (None, weights(20, "iter_20.pth"), ["checkpoint iter_20.pth"]),
        (None, None, []),
    ],
)
def test_other_weights_than_the_last_are_marked(tmp_path, training, checkpoint, mark):
    save(tmp_path / "run", training=training, checkpoint=checkpoint)
    [row] = boards(tmp_path)[0]["rows"]
    assert row["marks"] == mark


def test_they_are_never_a_seed_of_the_training_nor_its_newest_run(tmp_path):
    new = "2026-02-01T00:00:00+00:00"
    for seed in (0, 1):
        save(tmp_path / f"run{seed}", ap=25.0 + seed, training=TRAINING | {"seed": seed})
    save(tmp_path / "early", ap=10.0, date=new, training=TRAINING, checkpoint=weights(20))
    save(tmp_path / "late", ap=12.0, date=new, training=TRAINING, checkpoint=weights(20))
    [board] = boards(tmp_path)
    assert [(row["box_AP"]["mean"], row["n"], row["older"]) for row in board["rows"]] == [
        (25.5, 2, []), (12.0, 1, []), (10.0, 1, []),
    ]  # fmt: skip
    text = render(make_report(find_runs([tmp_path])))
    assert text.count("iteration 20 of 100") == 2 and f"{tmp_path}/early" in text  # the folder tells them apart
