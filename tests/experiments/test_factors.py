"""Table 2's models: widths solved, steps judged as stated, trained end to end on small data."""

import numpy as np
import pytest
import torch

from benchmark.experiments import factors
from benchmark.experiments.factors import MODELS, count, judge_steps, solve_stem, widths
from benchmark.experiments.run import run_experiment
from benchmark.measuring.complexity import count_macs
from benchmark.records.verdicts import Verdict


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.label)
def test_widths_meet_the_printed_multiply_adds_and_ratios(model):
    stem = solve_stem(model)
    assert count(model, stem) / 1e6 == pytest.approx(model.macs, rel=0.03)  # whole channels
    inputs, middle, outputs = widths(model, stem)
    assert [inputs / middle, middle / outputs] == pytest.approx([model.ratio] * 2, rel=0.05)
    with torch.device("meta"):
        net = factors.build(model, 100).eval()
        assert count_macs(lambda: net(torch.zeros(1, 3, 32, 32)))[0] == count(model, stem)


def test_steps_are_judged_by_pairs_of_seeds():
    rising = np.array([[1.0, 2, 3, 4], [11, 12.1, 13, 14], [21, 22, 23.1, 24]])
    assert judge_steps(rising)[0] == Verdict.AGREES
    assert judge_steps(rising[:, ::-1])[0] == Verdict.DISAGREES
    assert judge_steps(rising[:1])[0] == Verdict.CANNOT_TELL


@pytest.mark.slow
def test_it_runs_end_to_end_on_small_data_and_says_so(tmp_path, monkeypatch):
    tiny = {"epochs": 1, "train": 16, "test": 16, "scenes": [6, 6], "batch_size": 8}
    for key, value in tiny.items():
        monkeypatch.setitem(factors.QUICK, key, value)
    monkeypatch.setattr("benchmark.experiments.run.available_cores", lambda: 0)
    made, folder = run_experiment("factors", work_dir=tmp_path / "run", quick=True)
    assert made.small_data and "small data: no reproduction" in made.title and "generated shapes" in made.title
    assert all(figure.printed is None for figure in made.figures)  # never beside the paper's
    assert (folder / "figure.png").is_file()
