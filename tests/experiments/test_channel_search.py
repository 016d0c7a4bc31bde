"""The search: models within their constraint, tenths and linearity as stated, and nothing lost or doubled by a kill."""

import time

import numpy as np
import optuna
import pytest
import torch
from helpers import started_tool
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from backbones.errors import UserError
from benchmark.experiments import channel_search, searched
from benchmark.experiments.channel_configs import SEARCHES, TABLE_3, channels_of, count, draw_config, strides_of
from benchmark.experiments.channel_search import between_share, linearity, tenths
from benchmark.experiments.run import run_experiment
from benchmark.files.run_folder import SEARCH, UNITS
from benchmark.measuring.complexity import count_macs
from benchmark.records.verdicts import Verdict

CONFIG = {**searched.CONFIG, "searches": ["a"], "models": 12}
PENULTIMATE = 512


@pytest.mark.parametrize("search", SEARCHES)
def test_models_are_different_and_meet_their_constraint(search):
    constraint = SEARCHES[search]
    models = searched.draw_models(search, {**CONFIG, "models": 6})
    assert len({model.channels for model in models}) == 6
    for model in models:
        params, macs = count(model.channels, strides_of(search, PENULTIMATE), PENULTIMATE)
        assert (params, macs) == (model.params, model.macs)
        assert macs / 1e6 == pytest.approx(constraint.macs, rel=0.05)
        if constraint.params:
            assert f"{params / 1e6:.1f}" == constraint.params
        assert len(model.channels) == constraint.blocks and list(model.channels) == sorted(model.channels)
        assert model.channels == channels_of(model.channels[0], model.a, model.f)
        assert model.f[0] == 1 and model.f[-1] == constraint.blocks and model.a + model.b == model.channels[0]


def test_a_model_is_decided_by_its_number():
    few, many = (searched.draw_models("a", {**CONFIG, "models": models}) for models in (4, 9))
    assert many[:4] == few
    assert searched.draw_models("a", {**CONFIG, "models": 4, "seed": 1}) != few


def test_lines_and_stages_are_in_the_space():
    shapes = [model.f for model in searched.draw_models("18-30", {**CONFIG, "models": 60})]
    assert (1, 2, 3, 4, 5) in shapes
    assert any(len(set(shape)) < len(shape) for shape in shapes)  # a stage of several blocks


def test_a_network_costs_what_was_counted():
    model = searched.draw_models("a", {**CONFIG, "models": 1})[0]
    strides = strides_of("a", PENULTIMATE)
    with torch.device("meta"):
        net = searched.build(model.channels, strides, PENULTIMATE, 100).eval()
        macs, _ = count_macs(lambda: net(torch.zeros(1, 3, 32, 32)))
    assert (sum(parameter.numel() for parameter in net.parameters()), macs) == (model.params, model.macs)


def test_a_constraint_that_no_configuration_meets_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"No configuration of 5 blocks meets 30M multiply-adds within 0.000% and 0.2M"):
        run_experiment("channel_search", work_dir=tmp_path / "run", quick=True, settings=["tolerance=0"])
    with pytest.raises(UserError, match="No search 'e'"):
        run_experiment("channel_search", work_dir=tmp_path / "run", quick=True, settings=["searches=['e']"])
    assert not (tmp_path / "run").exists()


def test_none_is_drawn_where_all_are_taken():
    options = {"first": (34, 34), "knots": 0, "tolerance": 0.05, "seed": (0,)}
    only = draw_config(SEARCHES["18-30"], (1, 3), PENULTIMATE, **options)
    assert only is not None
    assert draw_config(SEARCHES["18-30"], (1, 3), PENULTIMATE, **options, taken={only.channels}) is None


def test_tenths_are_of_the_order_by_accuracy():
    accuracy = np.random.default_rng(0).permutation(30).astype(float)
    best, middle, worst = (sorted(accuracy[part]) for part in tenths(accuracy))
    assert (best, middle, worst) == ([27, 28, 29], [12, 13, 14], [0, 1, 2])


def test_linearity_is_one_for_lines_alone():
    found = linearity(np.array([TABLE_3["b"].best, TABLE_3["b"].worst_whole, (30,) * 9], float))
    assert found[0] > 0.999 and found[1] < 0.7 and found[2] == 1


def test_the_share_between_models_is_the_intraclass_correlation():
    generator = np.random.default_rng(0)
    models, seeds = generator.normal(0, 2, (4000, 1)), generator.normal(0, 1, (4000, 3))
    assert between_share(models + seeds) == pytest.approx(4 / 5, abs=0.02)
    assert between_share(seeds) == pytest.approx(0, abs=0.03)
    assert between_share(np.repeat(models, 3, 1)) == pytest.approx(1)


def made(slope: float, noise: float, trainings: int = 3) -> searched.Searched:
    """Models whose accuracy rises with their linearity, and as much noise of the seeds."""
    models = searched.draw_models("a", {**CONFIG, "models": 40})
    straight = linearity(np.array([model.channels for model in models], float))
    accuracy = 60 + slope * straight[:, None] + np.random.default_rng(1).normal(0, noise, (40, trainings))
    return searched.Searched(models, {"top1": accuracy})


def verdicts(own: searched.Searched) -> dict[str, Verdict]:
    found: dict[str, list] = {claim: [] for claim in channel_search.CLAIMS}
    for claim, name, value, interval, _ in channel_search.measure(own):
        found[claim].append((name, value, interval))
    return {claim: channel_search._judge(claim, own)[0] for claim, own in found.items()}


def test_claims_are_judged_as_stated():
    wins = verdicts(made(10, 0.01))
    decided = ("best_linear", "best_more_linear", "linear_wins", "linear_wins_every_seed", "models_differ")
    assert {wins[claim] for claim in decided} == {Verdict.AGREES}
    loses = verdicts(made(-10, 0.01))
    assert {loses[claim] for claim in decided[:4]} == {Verdict.DISAGREES}
    luck = verdicts(made(0, 1))
    assert luck["models_differ"] == Verdict.DISAGREES and luck["linear_wins_every_seed"] != Verdict.AGREES
    assert verdicts(made(10, 0.01, trainings=1))["models_differ"] == Verdict.CANNOT_TELL


TINY = ("models=3", "trainings=2", "epochs=1", "patience=1", "train=24", "test=24", "scenes=[8, 8]")
OPTIONS = ("channel_search", "--quick", *(part for setting in TINY for part in ("--set", setting)))


@pytest.mark.slow
def test_it_runs_end_to_end_on_small_data_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.experiments.run.available_cores", lambda: 0)
    made, folder = run_experiment("channel_search", work_dir=tmp_path / "run", quick=True, settings=TINY)
    assert made.small_data and "generated shapes; small data: no reproduction" in made.title
    assert {claim.claim for claim in made.claims} == set(channel_search.CLAIMS)
    assert len(made.panel("a")) == 3 and len(made.panel("a | linearity")[0].x) == 3
    trials = trials_of(folder)
    assert [number for number, *_ in trials] == [0, 1, 2] and all(value is not None for *_, value in trials)
    assert (folder / "figure.svg").read_text().count("no reproduction")
    again, _ = run_experiment("channel_search", work_dir=folder, quick=True, settings=TINY)
    assert again.series == made.series and trials_of(folder) == trials


def trials_of(folder) -> list[tuple]:
    storage = JournalStorage(JournalFileBackend(str(folder / SEARCH)))
    trials = optuna.load_study(study_name="a", storage=storage).trials
    return [(trial.number, str(trial.state), trial.params, trial.user_attrs, trial.value) for trial in trials]


@pytest.mark.slow
def test_killed_five_times_and_resumed_it_is_trial_for_trial_the_same(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    killed = tmp_path / "killed" / "run"
    for kill in range(6):
        with started_tool("experiment.py", *OPTIONS, "--work-dir", killed, out=tmp_path / f"out{kill}") as process:
            deadline = time.monotonic() + 120
            while process.is_alive() and time.monotonic() < deadline:
                if kill < 5 and len(list(killed.glob(f"{UNITS}/*.npz"))) > kill:
                    break  # every time with one unit more; the block's end kills it
                time.sleep(0.02)
            assert kill < 5 or not process.is_alive()
    with started_tool("experiment.py", *OPTIONS, "--work-dir", tmp_path / "whole/run", out=tmp_path / "out") as process:
        process.join(120)
    assert trials_of(killed) == trials_of(tmp_path / "whole/run")
    assert len(list(killed.glob(f"{UNITS}/*.npz"))) == 6
