"""A learning rate searched inside a short budget: chosen well, undone, recorded, repeated and resumed exactly."""

import math
import shutil
from pathlib import Path

import kills
import pytest
import torch
from finegrained_layouts import MAKERS, SMALL
from helpers import started_tool, two_ranks
from mmengine.hooks import Hook
from test_fine_tuning import run, whole
from test_finegrained_runs import options

from backbones.errors import UserError
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.config.recipe import Recipe
from benchmark.files.checkpoints import load_checkpoint
from benchmark.preflight.run import check_learning_rate
from benchmark.records.result import read_result
from benchmark.training.evaluate import evaluate
from benchmark.training.rate_search import choose
from benchmark.training.signals import StoppedError

pytestmark = pytest.mark.slow

AUTO = Recipe(lr="auto")
STEPS = 54  # the fewest with a search: 8 iterations of it and 46 of training
FINETUNE = dict(path=CONFIGS / "finetune.py", dataset="imagefolder", backbone="mobilenet_v3_small")
SSDLITE = dict(path=CONFIGS / "ssdlite.py", backbone="mobilenet_v3_small")
HOOK = "RateSearchHook"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    MAKERS["imagefolder"](root)
    return root


def searches(cfg) -> list:
    return [hook for hook in cfg.custom_hooks if hook.type == HOOK]


def short(**changes):
    return load_config(**{**SSDLITE, "recipe": Recipe(), **changes})


# What is chosen.


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2, 1.9, 1.8, 1.7, 2.41, 5], 0.1),  # two iterations before the loss exceeds 1.2 times the first
        ([2, 1.9, 1.8, 1.7, 2.39, math.nan], 1),
        ([2, 1.9, 1.8, 1.7, math.inf], 0.1),
        ([2, 1.9, 1.8, 1.7, 1.6, 1.5], 10),  # nowhere: a tenth of the highest
        ([2, 9], 0.001),
    ],
)
def test_a_tenth_of_the_rate_that_the_training_bears_is_chosen(losses, expected):
    assert choose([0.01, 0.1, 1, 10, 50, 100], losses) == expected


# Where.


def test_a_short_training_searches_inside_its_budget():
    cfg = short(steps=1000)
    (hook,) = searches(cfg)
    assert (hook.steps, cfg.train_cfg.max_iters) == (60, 940)
    assert (hook.low, hook.high) == pytest.approx((0.008, 8))
    cfg = short(steps=100)
    assert (searches(cfg)[0].steps, cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (15, 85, 85)
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.type, warm_up.begin, warm_up.end) == ("LinearLR", 0, 8)
    assert (cosine.type, cosine.begin, cosine.end) == ("CosineAnnealingLR", 8, 85)


def test_a_part_of_the_pictures_and_own_data_are_short(folders, data_cache):
    assert searches(short(subset={"fraction": 0.1}))
    own = {**FINETUNE, "dataset": str(folders)}
    cfg = load_config(**own, recipe=Recipe())
    assert searches(cfg) and cfg.train_cfg.max_iters == 20_000 - 60


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"steps": 200_000},
        {"steps": 50_000, "batch_size": 1024},  # as many images
        {"steps": 53},
        {"steps": 1000, "recipe": Recipe(lr="config")},
        {"steps": 1000, "recipe": None},
        {"steps": 1000, "options": ["learning_rate=0.1"]},
        {"steps": 1000, "options": ["optim_wrapper.optimizer.lr=0.1"]},
        {"steps": 1000, "options": ["auto_scale_lr.enable=False"]},
        {"demo": True},
    ],
)
def test_other_trainings_take_the_configs_rate(changes):
    assert not searches(short(**changes))


def test_processes_count_in_what_is_short(monkeypatch):
    assert searches(short(steps=25_000))
    monkeypatch.setenv("WORLD_SIZE", "32")
    assert not searches(short(steps=25_000, batch_size=64))


def test_it_can_be_asked_for_anywhere():
    cfg = short(recipe=AUTO)
    assert searches(cfg) and cfg.train_cfg.max_iters == 199_940
    assert check_learning_rate(cfg).examples == ("searched from 0.008 to 8",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 53}, r"--lr auto searches in 15% of the training: give --steps 54 at least"),
        ({"options": ["learning_rate=0.1"]}, r"--lr auto and --cfg-options learning_rate contradict each other"),
        ({"options": ["param_scheduler=[]"]}, r"--lr auto and --cfg-options param_scheduler contradict"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        short(recipe=AUTO, **changes)


def test_a_runs_own_config_keeps_its_search(tmp_path):
    cfg = short(subset={"fraction": 0.1})
    cfg.dump(tmp_path / "config.py")
    again = load_config(tmp_path / "config.py", recipe=Recipe())
    assert (again.train_cfg.max_iters, searches(again)) == (199_940, searches(cfg))


# What it does.


@pytest.fixture(scope="module")
def alone(folders, tmp_path_factory):
    """A training of its own rate, with its checkpoints."""
    folder = tmp_path_factory.mktemp("searched")
    return folder, run(folders, folder / "alone", AUTO, steps=STEPS, save_interval="15")


def test_the_result_says_what_was_found(alone, folders):
    folder, result = alone
    search = result.training.search
    assert (search.iterations, result.training.iterations) == (8, 46)
    assert result.training.learning_rate == choose(search.rates, search.losses)
    assert f"Learning rate {result.training.learning_rate:.3g}: found in 8" in (folder / "alone/run.log").read_text()
    assert read_result(folder / "alone/result.json") == result
    again = evaluate(options(folders, None), folder / "alone/iter_46.pth", tool="eval_finegrained.py")
    assert again.metrics == result.metrics


def test_nothing_else_is_left_of_the_search(alone, folders, tmp_path):
    """A training that is told the rate and the schedule ends with the same weights."""
    _, result = alone
    schedule = [
        {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 5},
        {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 5, "end": 46, "eta_min": 0.0},
    ]
    told = (
        f"optim_wrapper.optimizer.lr={result.training.learning_rate}",
        f"param_scheduler={schedule}",
        "auto_scale_lr.enable=False",
    )
    run(folders, tmp_path, Recipe(lr="config"), *told, steps=46, save_interval="60m")
    ours, theirs = (load_checkpoint(path / "iter_46.pth") for path in (alone[0] / "alone", tmp_path))
    for part in ("state_dict", "optimizer"):
        assert kills.differences(ours[part], theirs[part]) == []


@pytest.mark.parametrize("kept", [15, 45])
def test_it_resumes_bit_for_bit(alone, folders, tmp_path, kept):
    folder, result = alone
    shutil.copy(folder / f"alone/iter_{kept}.pth", tmp_path)
    again = run(folders, tmp_path, AUTO, steps=STEPS, resume=True, save_interval="60m")
    ours, theirs = (whole(path / "iter_46.pth") for path in (tmp_path, folder / "alone"))
    assert kills.differences(ours, theirs) == []
    assert again.metrics == result.metrics
    assert (again.training.search, again.training.learning_rate) == (
        result.training.search,
        result.training.learning_rate,
    )


class StopAt(Hook):
    """Send this process a signal before the search, as a scheduler may."""

    def before_train(self, runner) -> None:
        runner.stop_signals.received = 15


def test_a_search_that_is_stopped_begins_again_and_ends_the_same(alone, folders, tmp_path):
    folder, result = alone
    with pytest.raises(StoppedError, match="which begins again: --resume auto continues"):
        run(folders, tmp_path / "run", AUTO, steps=STEPS, hooks=[StopAt()])
    again = run(folders, tmp_path / "run", AUTO, steps=STEPS, resume="auto", save_interval="60m")
    assert again.training.search == result.training.search
    ours, theirs = (load_checkpoint(path / "iter_46.pth") for path in (tmp_path / "run", folder / "alone"))
    assert kills.differences(ours["state_dict"], theirs["state_dict"]) == []


def test_averages_and_parts_hold_with_a_search(alone, folders, tmp_path):
    _, result = alone
    both = run(folders, tmp_path, Recipe(lr="auto", ema=True, accumulate=2), steps=STEPS, save_interval="60m")
    assert both.training.search.iterations == 8
    assert both.training.search.losses[0] == pytest.approx(result.training.search.losses[0], rel=0.2)


def test_two_processes_choose_one_rate(folders, tmp_path):
    arguments = [CONFIGS / "finetune.py", "--dataset", "imagefolder", "--data-root", folders, "--work-dir", tmp_path]
    arguments += ["--batch-size", 3, "--steps", STEPS, "--pretrained", "none", "--cfg-options", *SMALL]
    outs = [tmp_path / f"{rank}.txt" for rank in range(2)]
    ranks = two_ranks()
    with (
        started_tool("train.py", *arguments, out=outs[0], **ranks[0]) as first,
        started_tool("train.py", *arguments, out=outs[1], **ranks[1]) as second,
    ):
        first.join(200)
        second.join(60)
    assert [first.exitcode, second.exitcode] == [0, 0], outs[0].with_suffix(".err").read_text()
    result = read_result(tmp_path / "result.json")
    assert result.training.search.iterations == 8 and result.training.batch_size == 6
    weights = load_checkpoint(tmp_path / "iter_46.pth")["state_dict"]
    assert all(torch.isfinite(value).all() for value in weights.values())
