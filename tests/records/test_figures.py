"""One row per figure: what is made of it, and that every name in use has its row."""

import json

import numpy as np
import pytest
from helpers import result

from backbones.errors import UserError
from benchmark.evaluation.accuracy import Answers, accuracy
from benchmark.evaluation.coco_ap import STATS
from benchmark.files.run_folder import RESULT
from benchmark.records.figures import FIGURES, IOU_TYPES, Figure, format_figures, headings
from benchmark.records.result import read_result
from benchmark.tasks import TASKS


def test_every_figure_of_a_task_and_of_a_metric_has_its_row():
    used = {name for task in TASKS.values() for name in task.figures}
    measured = accuracy(Answers(np.zeros(1, int), np.zeros((1, 5), int), 10))
    used |= {f"{group}_{name}" for group in IOU_TYPES for name in STATS} | measured.keys()
    assert used == FIGURES.keys()
    assert all(key == row.key for key, row in FIGURES.items())


def test_headings_name_the_group_where_there_are_several():
    boxes, masks = FIGURES["box_AP50"], FIGURES["mask_AP"]
    assert headings([boxes, FIGURES["top1"]]) == ["AP50", "top-1"]
    assert headings([masks, boxes, FIGURES["top1"]]) == ["mask AP", "box AP50", "top-1"]


def test_a_figure_has_its_own_unit_digits_and_direction(monkeypatch):
    monkeypatch.setitem(FIGURES, "error", Figure("error", "error", "toy", "‰", best="low", scale=0.001, digits=2))
    row = FIGURES["error"]
    assert row.format(0.0123) == "12.30" and row.format(-0.001, "+") == "-1.00"
    assert format_figures({"error": 0.0123}).split() == ["error", "12.30"]


def test_figures_are_printed_a_line_per_group_with_their_intervals():
    metrics = {"box_AP": 25.31, "box_AP50": None, "mask_AP": 20.0, "top1": 3.0}
    assert format_figures(metrics, {"box_AP": (24.0, 26.04)}).splitlines() == [
        " box  AP 25.3 (24.0 to 26.0)  AP50 -",
        "mask  AP 20.0",
        "      top-1 3.0",
    ]


@pytest.mark.parametrize("place", ["metrics", "intervals"])
def test_a_result_with_a_figure_that_nobody_knows_is_named(tmp_path, place):
    value = {"metrics": {"box_ap": 25.0}, "intervals": {"box_ap": [24.0, 26.0]}}[place]
    path = tmp_path / RESULT
    path.write_text(json.dumps(json.loads(result().model_dump_json()) | {place: value}))
    with pytest.raises(UserError, match=rf"{place}: .*unknown figure 'box_ap'.* Did you mean 'box_AP'"):
        read_result(path)
