"""What a fine-tuner asks for: averages of the weights, an early stop, frozen stages, a batch in parts."""

import contextlib
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import kills
import pytest
import test_train
import torch
from finegrained_layouts import MAKERS, SMALL
from helpers import started_tool, two_ranks
from mmengine.hooks import Hook
from test_finegrained_runs import options

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.config.recipe import Recipe
from benchmark.files.checkpoints import load_checkpoint
from benchmark.files.run_folder import list_checkpoints
from benchmark.training import fine_tuning
from benchmark.training.evaluate import evaluate
from benchmark.training.loops import split_batch
from benchmark.training.signals import StoppedError
from benchmark.training.train import train

pytestmark = pytest.mark.slow

STEPS = 4
CONSTANT = "optim_wrapper.optimizer.lr=1e-12"  # no figure ever changes
EVERY = "train_cfg.val_interval=1"
ALL = Recipe(ema=True, early_stop=2, freeze_stages=1, accumulate=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Class folders with a few pictures each."""
    root = tmp_path_factory.mktemp("folders")
    MAKERS["imagefolder"](root)
    return root


def run(root: Path, folder: Path, recipe: Recipe, *more: str, steps: int = STEPS, **changes):
    """Train the smallest classifier, with a checkpoint at every iteration."""
    last = {option.partition("=")[0]: option for option in (*SMALL, *more)}
    return train(
        options(root, folder, cfg_options=(*last.values(),)),
        **{"pretrained": "none", "steps": steps, "save_interval": "1", "keep": 99, "recipe": recipe, **changes},
    )


def whole(path: Path) -> dict:
    """Everything that a checkpoint remembers of a training, but for times."""
    content = load_checkpoint(path)
    told = content["message_hub"]["runtime_info"]
    kept = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers")
    return {
        **{name: content[name] for name in kept if name in content},
        "counted": {name: value for name, value in told.items() if name.startswith(("best", "early_stop"))},
    }


@pytest.mark.parametrize(
    "recipe",
    [Recipe(ema=True), Recipe(early_stop=2), Recipe(freeze_stages=2), Recipe(accumulate=3), ALL],
    ids=["averages", "early stop", "frozen", "in parts", "all"],
)
@pytest.mark.parametrize("kept", [1, 2])
def test_a_classifier_resumes_bit_for_bit(folders, tmp_path, recipe, kept):
    alone = run(folders, tmp_path / "alone", recipe, EVERY)
    resumed(tmp_path, kept)
    again = run(folders, tmp_path / "resumed", recipe, EVERY, resume=True)
    compare(tmp_path, kept)
    assert (again.metrics, again.config) == (alone.metrics, alone.config)
    assert (again.training.iterations, again.training.planned) == (alone.training.iterations, alone.training.planned)


@pytest.mark.parametrize("config", ["ssdlite", "mask_rcnn"])
def test_a_detector_resumes_bit_for_bit(demo_data, tmp_path, config):
    def go(folder: Path, **changes):
        chosen = test_train.options(demo_data, folder, EVERY, config=CONFIGS / f"{config}.py", dataset="coco")
        return train(chosen, **{"steps": STEPS, "save_interval": "1", "keep": 99, "recipe": ALL, **changes})

    alone = go(tmp_path / "alone")
    resumed(tmp_path, 2)
    assert go(tmp_path / "resumed", resume=True).metrics == alone.metrics
    compare(tmp_path, 2)
    assert (alone.training.ema, alone.training.accumulate, alone.training.frozen_stages) == (0.0002, 2, 1)


def resumed(folder: Path, kept: int) -> None:
    """Make the folder of a run that was interrupted."""
    (folder / "resumed").mkdir()
    shutil.copy(folder / f"alone/iter_{kept}.pth", folder / "resumed")


def compare(folder: Path, kept: int) -> None:
    alone, again = (list_checkpoints(folder / name) for name in ("alone", "resumed"))
    assert [path.name for path in again] == [path.name for path in alone[kept - 1 :]]
    for path in again:
        assert kills.differences(whole(path), whole(folder / "alone" / path.name)) == []


class Seen(Hook):
    """Keep the weights that are evaluated."""

    def before_val_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.evaluated = {name: value.clone() for name, value in runner.model.state_dict().items()}


def test_the_averages_are_those_of_the_formula_and_are_evaluated(folders, tmp_path):
    seen = Seen()
    result = run(folders, tmp_path / "run", Recipe(ema=True), hooks=[seen])
    checkpoints = [load_checkpoint(path) for path in list_checkpoints(tmp_path / "run")]
    trained = [
        {name.removeprefix("module."): value for name, value in checkpoint["ema_state_dict"].items()}
        for checkpoint in checkpoints
    ]
    floating = [name for name, value in checkpoints[0]["state_dict"].items() if value.is_floating_point()]
    assert any(name.endswith("running_var") for name in floating)
    for name in floating:
        expected = trained[0][name].double()
        for update, weights in enumerate(trained[1:], start=1):
            share = 10 / (10 + update)
            expected = (1 - share) * expected + share * weights[name].double()
        torch.testing.assert_close(checkpoints[-1]["state_dict"][name].double(), expected, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(trained[-1][name], checkpoints[-1]["state_dict"][name]) for name in floating)
    assert kills.differences(seen.evaluated, checkpoints[-1]["state_dict"]) == []
    assert result.training.ema == 0.0002


def test_the_averages_of_a_run_are_evaluated_once(folders, tmp_path):
    """A run's own config names the hook, which must leave the weights of an evaluation alone."""
    result = run(folders, tmp_path / "run", Recipe(ema=True))
    mine = Options(tmp_path / "run/config.py", data_root=folders)
    assert evaluate(mine, tmp_path / f"run/iter_{STEPS}.pth", tool="eval_finegrained.py").metrics == result.metrics


class StopWhileEvaluating(Hook):
    """Send the signal of a scheduler when the first batch of an evaluation is done."""

    def before_val_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_within_an_evaluation_mixes_nothing_up(folders, tmp_path):
    recipe = Recipe(ema=True)
    run(folders, tmp_path / "alone", recipe, "train_cfg.val_interval=2")
    with pytest.raises(StoppedError):
        run(
            folders,
            tmp_path / "stopped",
            recipe,
            "train_cfg.val_interval=2",
            save_interval="60m",
            hooks=[StopWhileEvaluating()],
        )
    assert kills.differences(whole(tmp_path / "stopped/iter_2.pth"), whole(tmp_path / "alone/iter_2.pth")) == []


def test_a_training_stops_where_nothing_gets_better(folders, tmp_path):
    result = run(folders, tmp_path, Recipe(early_stop=2), EVERY, CONSTANT, steps=9, save_interval="60m")
    assert (result.training.iterations, result.training.planned, result.training.early_stop) == (3, 9, 2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["iter_3.pth"]
    assert "Stopped at iteration 3 of 9: top1 has not risen above" in (tmp_path / "run.log").read_text()
    again = run(folders, tmp_path, Recipe(early_stop=2), EVERY, CONSTANT, steps=9, resume=True)
    assert (again.metrics, again.training.iterations) == (result.metrics, 3)


def test_frozen_stages_do_not_move(folders, tmp_path):
    result = run(folders, tmp_path, Recipe(freeze_stages=2))
    first, last = (load_checkpoint(tmp_path / f"iter_{n}.pth")["state_dict"] for n in (1, STEPS))
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert any(name.startswith("backbone.blocks.4") for name in moved)
    assert not any(name.startswith(("backbone.conv_stem", "backbone.bn1", "backbone.blocks.0")) for name in moved)
    assert result.training.frozen_stages == 2


def test_all_stages_frozen_leave_the_new_classifier(folders, tmp_path):
    run(folders, tmp_path, Recipe(freeze_stages=4))
    first, last = (load_checkpoint(tmp_path / f"iter_{n}.pth")["state_dict"] for n in (1, STEPS))
    assert {name for name in first if not torch.equal(first[name], last[name])} == {
        "backbone.classifier.weight",
        "backbone.classifier.bias",
    }


def test_a_batch_in_parts_gives_the_gradients_of_the_whole(folders, tmp_path):
    """In a network without BN; the weights differ by rounding alone."""
    sizes = [f"{loader}_dataloader.dataset.pipeline.0.size=160" for loader in ("train", "val")]
    more = ("model.backbone.name=timm:test_vit", "model.drop_rate=0", *sizes)
    for name, recipe in (("whole", Recipe()), ("parts", Recipe(accumulate=3))):
        run(folders, tmp_path / name, recipe, *more, "optim_wrapper.optimizer.lr=0.5", steps=3)
    ours, theirs = (load_checkpoint(tmp_path / name / "iter_3.pth")["state_dict"] for name in ("parts", "whole"))
    begun = load_checkpoint(tmp_path / "whole/iter_1.pth")["state_dict"]
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-6)
    assert any((theirs[name] - begun[name]).abs().max() > 1e-3 for name in ours)


def test_a_batch_is_parted_in_order():
    parts = split_batch({"inputs": torch.arange(6), "data_samples": list("abcdef")}, 3)
    assert [part["inputs"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert ["".join(part["data_samples"]) for part in parts] == ["ab", "cd", "ef"]


def test_two_processes_average_and_accumulate_alike(folders, tmp_path):
    """Only the last part of a batch exchanges gradients, and all evaluate the main process's averages."""
    chosen = options(folders, None)
    arguments = [chosen.config, "--dataset", "imagefolder", "--data-root", folders, "--work-dir", tmp_path]
    arguments += ["--batch-size", 6, "--steps", 2, "--pretrained", "none", "--ema", "--accumulate", 3]
    arguments += ["--cfg-options", *chosen.cfg_options]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(started_tool("train.py", *arguments, out=tmp_path / f"{rank['RANK']}.txt", **rank))
            for rank in two_ranks()
        ]
        for process in processes:
            process.join(120)
    assert [process.exitcode for process in processes] == [0, 0], (tmp_path / "0.err").read_text()
    again = evaluate(options(folders, None), tmp_path / "iter_2.pth", tool="eval_finegrained.py")
    assert again.training.batch_size == 12 and again.training.accumulate == 3
    printed = [line for line in (tmp_path / "run.log").read_text().splitlines() if "val:" in line]
    assert f"top1 {again.metrics['top1']:.1f}" in printed[-1]


def test_the_main_processs_statistics_are_evaluated_everywhere(monkeypatch):
    """Each process has its own pictures, and so its own averages of BN's statistics."""
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda tensor, src: sent.append(tensor))
    monkeypatch.setattr(fine_tuning, "is_distributed", lambda: True)
    runner = SimpleNamespace(model=torch.nn.BatchNorm2d(2), _train_loop=object(), iter=0)
    hook = fine_tuning.EmaWeightsHook()
    hook.before_run(runner)
    hook.before_val_epoch(runner)
    buffers = [*hook.ema_model.module.buffers()]
    assert len(buffers) == 3 and all(any(each is one for one in sent) for each in buffers)


FINETUNE = dict(path=CONFIGS / "finetune.py", dataset="imagefolder", backbone="mobilenet_v3_small")


@pytest.mark.parametrize(
    ("recipe", "settings", "words"),
    [
        (Recipe(accumulate=3), {"batch_size": 4}, "4 images a process do not make 3 equal parts"),
        (Recipe(early_stop=2), {"steps": 10}, r"have 1, and it stops at number 3 at the earliest"),
        (Recipe(early_stop=2), {"steps": 30, "options": ["val_interval=10"]}, "have 3, and it stops at number 3"),
        (Recipe(ema=True), {"options": ["default_hooks.ema={'type': 'EMAHook'}"]}, "averages its weights by a hook"),
        (Recipe(freeze_stages=1), {"options": ["model.backbone.frozen_stages=2"]}, "contradicts another option"),
        (Recipe(), {"options": ["optim_wrapper.accumulative_counts=2"]}, "give --accumulate N"),
    ],
    ids=["unequal parts", "one evaluation", "too few evaluations", "two averages", "two stages", "MMEngine's parts"],
)
def test_what_cannot_hold_is_refused(folders, recipe, settings, words):
    with pytest.raises(UserError, match=words):
        load_config(**FINETUNE, data_root=folders, recipe=recipe, **settings)


def test_a_network_without_stages_is_frozen_whole_or_not(folders, tmp_path):
    with pytest.raises(UserError, match=r"frozen_stages=2 of backbone timm:test_vit: it has no such stages.*4 freezes"):
        run(folders, tmp_path, Recipe(freeze_stages=2), "model.backbone.name=timm:test_vit")
    assert not list(tmp_path.iterdir())
