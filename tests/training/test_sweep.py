"""The sweep: its grid, its shared queue, and two workers of which one is killed."""

import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from finegrained_layouts import MAKERS
from finegrained_layouts import SMALL as SMALL_RUN
from helpers import started_tool, wait_for
from optuna.trial import TrialState
from PIL import Image

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import load_options
from benchmark.config.names import CONFIGS
from benchmark.records.result import read_result
from benchmark.training.hooks import DivergedError
from benchmark.training.sweep import search as module
from benchmark.training.sweep.report import grid_table, report
from benchmark.training.sweep.search import Grid, Sweep, make_grid, open_study, prepare_sweep, run_sweep

pytestmark = pytest.mark.slow

CONFIG = CONFIGS / "finetune.py"
SMALL = (*SMALL_RUN, "auto_scale_lr.base_batch_size=6")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    MAKERS["imagefolder"](tmp_path / "data")
    settings = (*SMALL, "model.backbone.pretrained=None")
    return Options(CONFIG, tmp_path / "sweep", settings, tmp_path / "data", batch_size=6, dataset="imagefolder")


class Record:
    """Stands for a result: only its figure is asked for."""

    def __init__(self, value: float) -> None:
        self.metrics = {"top1": value}


def figure(point: tuple[float, float]) -> float:
    """A made-up figure with its peak inside the grid."""
    rate, decay = point
    return 90 - abs(rate - 0.01) * 100 - decay * 1000


@pytest.fixture
def fake_training(monkeypatch):
    """Replace the training: appends what was trained to a file, and gives the made-up figure."""

    def fake(sweep, folder, point, own, hooks):
        with (sweep.folder / "trained.txt").open("a") as file:
            file.write(f"{'final' if folder.name == 'final' else 'trial'} {point[0]:g} {point[1]:g}\n")
        if point[0] >= 0.1:
            raise DivergedError("The loss is nan")
        return Record(figure(point))

    monkeypatch.setattr(module, "_train", fake)


def trained(folder: Path) -> list[str]:
    return (folder / "trained.txt").read_text().splitlines()


def test_the_grid_is_kornbliths():
    grid = make_grid("7x7", (1e-4, 1e-1), (1e-6, 1e-3))
    assert grid.learning_rates == pytest.approx([10 ** (-4 + i / 2) for i in range(7)], rel=1e-3)
    assert grid.weight_decays[0] == 0
    assert grid.weight_decays[1:] == pytest.approx([10 ** (-6 + 3 * i / 5) for i in range(6)], rel=1e-3)
    assert len(set(grid.points())) == 49


@pytest.mark.parametrize("text", ("0x3", "3x0", "0x0", "7", "x", "-1x2", "ax2"))
def test_an_empty_or_garbled_grid_is_an_error(text):
    with pytest.raises(UserError, match="--grid"):
        make_grid(text, (1e-4, 1e-1), (1e-6, 1e-3))


def test_bad_settings_are_refused(options, monkeypatch):
    with pytest.raises(UserError, match="--trials"):
        prepare_sweep(options, trials=0)
    with pytest.raises(UserError, match="is a ssdlite config"):
        prepare_sweep(replace(options, config=CONFIGS / "ssdlite_rexnet_x1.0.py", dataset=None, cfg_options=()))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="torchrun"):
        prepare_sweep(options)


def test_every_point_once_then_the_winner(options, fake_training):
    sweep = prepare_sweep(options, grid="4x3", steps=2)
    result = run_sweep(sweep)
    lines = trained(sweep.folder)
    assert len(lines) == 13 and len(set(lines)) == 13
    points = sweep.points()
    best = max((point for point in points if point[0] < 0.1), key=figure)
    assert lines[-1] == f"final {best[0]:g} {best[1]:g}" and result.metrics["top1"] == figure(best)
    study = open_study(sweep.folder, "top1")
    table = grid_table(sweep.grid, module.finished_trials(study, points))
    assert table.count("diverged") == 3 and table.count("**") == 2 and f"**{figure(best):.1f}**" in table


def test_more_trials_go_on_from_fewer(options, fake_training):
    first = prepare_sweep(options, grid="2x3", steps=2, trials=2)
    run_sweep(replace(first, grid=Grid((1e-3, 1e-2), (0.0, 1e-6, 1e-3))))
    run_sweep(replace(first, grid=Grid((1e-3, 1e-2), (0.0, 1e-6, 1e-3)), trials=5))
    trials = [line for line in trained(first.folder) if line.startswith("trial")]
    assert len(trials) == len(set(trials)) == 5


def test_lost_trials_are_queued_again_and_finished_ones_kept(options, fake_training):
    sweep = Sweep(options, Grid((1e-3, 1e-2), (0.0, 1e-3)), steps=2)
    study = module._open_study(sweep, load_options(sweep.options, pretrained=sweep.pretrained, steps=sweep.steps))
    with module._claimed(sweep, study) as finished:
        study.tell(finished, 12.5)
    module._fill_queue(sweep, study)
    lost = study.ask()  # by a process that holds no lock: it has died
    run_sweep(sweep)
    states = [trial.state for trial in study.get_trials()]
    assert states.count(TrialState.COMPLETE) == 4 and states.count(TrialState.FAIL) == 1
    assert study.get_trials()[lost.number].state is TrialState.FAIL
    assert study.get_trials()[finished.number].value == 12.5
    assert sum(line.startswith("trial") for line in trained(sweep.folder)) == 3


def test_a_held_trial_is_not_taken(options):
    sweep = Sweep(options, Grid((1e-3,), (0.0,)), steps=2)
    study = module._open_study(sweep, load_options(sweep.options, pretrained=sweep.pretrained, steps=sweep.steps))
    with module._claimed(sweep, study) as first, module._claimed(sweep, study) as second:
        assert first is not None and second is None
    with module._claimed(sweep, study) as third:
        assert third.number != first.number


def test_all_diverged_is_an_error(options, fake_training):
    with pytest.raises(UserError, match="No trial of the sweep came to a figure"):
        run_sweep(Sweep(options, Grid((0.5,), (0.0,)), steps=2))


@pytest.mark.parametrize(
    ("change", "named"),
    (
        ({"cfg_options": ("model.backbone.name=resnet50", *SMALL[1:])}, "config"),
        ({"batch_size": 5}, "settings"),
        ({"precision": "bf16"}, "precision"),
    ),
)
def test_another_sweeps_storage_is_refused(options, fake_training, change, named):
    grid = Grid((1e-3,), (0.0,))
    run_sweep(Sweep(options, grid, steps=2))
    with pytest.raises(UserError, match=f"belongs to another sweep: its {named} is"):
        run_sweep(Sweep(replace(options, **change), grid, steps=2))
    with pytest.raises(UserError, match="its learning_rates is"):
        run_sweep(Sweep(options, Grid((1e-3, 1e-2), (0.0,)), steps=2))


def test_the_place_of_the_data_does_not_matter(options, fake_training, tmp_path):
    grid = Grid((1e-3,), (0.0,))
    run_sweep(Sweep(options, grid, steps=2))
    MAKERS["imagefolder"](tmp_path / "elsewhere")
    run_sweep(Sweep(replace(options, data_root=tmp_path / "elsewhere"), grid, steps=2))


def test_a_trial_below_the_median_is_pruned(options):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    for values in ((50.0, 60.0), (10.0, 20.0)):
        trial = study.ask()
        hook = module.ReportHook(trial, "top1")
        runner = type("Runner", (), {"iter": 5, "max_iters": 10})()
        if values[0] < 50:
            with pytest.raises(optuna.TrialPruned):
                hook.after_val_epoch(runner, {"top1": values[0]})
        else:
            hook.after_val_epoch(runner, {"top1": values[0]})
            study.tell(trial, values[1])


def _work(sweep: Sweep, seconds: float) -> None:
    def slow(own, folder, point, *_):
        with (own.folder / "trained.txt").open("a") as file:
            file.write(f"{os.getpid()} {folder.name} {point[0]:g} {point[1]:g}\n")
        time.sleep(seconds)
        return Record(figure(point))

    module._train = slow
    module._WAIT = 0.05
    run_sweep(sweep)


def test_four_workers_share_without_repeating(options):
    sweep = Sweep(options, Grid((1e-4, 1e-3, 1e-2), (0.0, 1e-6, 1e-5, 1e-4)), steps=2)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(sweep, 0.1)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    points = [line.split(maxsplit=1)[1] for line in trained(sweep.folder)]
    trials = [point for point in points if not point.startswith("final")]
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(trials) == len(set(trials)) == 12
    study = open_study(sweep.folder, "top1")
    assert [trial.state for trial in study.get_trials()] == [TrialState.COMPLETE] * 12


@pytest.mark.slow
def test_two_workers_one_killed(tmp_path):
    """The command line: 2x2, two workers, one killed within a trial; four finished trials and the right winner."""
    MAKERS["imagefolder"](tmp_path / "data")
    folder = tmp_path / "sweep"
    command = ["sweep.py", CONFIG, "--work-dir", folder, "--dataset", "imagefolder", "--data-root", tmp_path / "data"]
    command += ["--grid", "2x2", "--steps", 12, "--batch-size", 6, "--pretrained", "none", "--cfg-options", *SMALL]
    with (
        started_tool(*command, out=tmp_path / "victim.txt") as victim,
        started_tool(*command, out=tmp_path / "survivor.txt") as survivor,
    ):
        wait_for(tmp_path / "victim.txt", ": learning rate")
        victim.kill()
        victim.join(60)
        survivor.join(300)
    output = (tmp_path / "survivor.txt").read_text()
    assert survivor.exitcode == 0, (tmp_path / "survivor.err").read_text()
    study = open_study(folder, "top1")
    done = [trial for trial in study.get_trials() if trial.state is TrialState.COMPLETE]
    lost = [trial for trial in study.get_trials() if trial.state is TrialState.FAIL]
    assert len(done) == 4 and len(lost) == 1 and len(study.get_trials()) == 5
    assert len({tuple(trial.user_attrs["point"]) for trial in done}) == 4
    for trial in done:
        rate, decay = trial.user_attrs["point"]
        own = read_result(folder / f"trials/lr{rate:g}_wd{decay:g}/result.json")
        assert own.metrics["top1"] == trial.value and own.data.split == "val"
        assert own.training.learning_rate == pytest.approx(rate)
    final = read_result(folder / "final/result.json")
    winner = max(done, key=lambda trial: trial.value)
    assert final.data.split == "test" and final.training.learning_rate == pytest.approx(winner.user_attrs["point"][0])
    assert "Best of 4" in output and Image.open(folder / "grid.png").size[0] > 100
    assert not list(folder.glob("trials/*/iter_*.pth")) and list(folder.glob("final/iter_*.pth"))


def test_the_report_draws_the_grid(options, fake_training):
    sweep = Sweep(options, Grid((1e-3, 1e-2), (0.0, 1e-3)), steps=2)
    run_sweep(sweep)
    text = report(sweep, None)
    assert "Best of 4: learning rate 0.01, weight decay 0" in text and "another worker" in text
    assert Image.open(sweep.folder / "grid.png").format == "PNG"
