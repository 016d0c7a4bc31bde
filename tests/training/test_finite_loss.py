"""The stop at a loss that is not finite: late on a GPU, but never after a checkpoint."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from benchmark.training import hooks
from benchmark.training.hooks import DivergedError, FiniteLossHook

LAG = 5


class Arrival:
    """An event that has not happened until somebody waits for it."""

    waits = 0

    def __init__(self) -> None:
        self.here = False

    def query(self) -> bool:
        return self.here

    def synchronize(self) -> None:
        self.here = True
        Arrival.waits += 1


@pytest.fixture
def slow_device(monkeypatch) -> type[Arrival]:
    """A device whose results never arrive by themselves."""
    monkeypatch.setattr(Arrival, "waits", 0)
    monkeypatch.setattr(hooks, "send_to_host", lambda values: (values, Arrival()))
    return Arrival


@pytest.fixture
def run() -> Callable[..., tuple[SimpleNamespace, FiniteLossHook]]:
    """Function that trains with given losses, and returns the runner, whose log is a list, and the hook."""
    runner = SimpleNamespace(iter=0, logged=[], log_processor=SimpleNamespace(window_size=1000))
    runner.message_hub = SimpleNamespace(
        update_scalar=lambda name, value: runner.logged.append((name, value)), state_dict=dict
    )

    def train(losses: list[float]) -> tuple[SimpleNamespace, FiniteLossHook]:
        hook = FiniteLossHook(lag=LAG)
        for iteration, loss in enumerate(losses):
            runner.iter = iteration
            outputs = {"loss_cls": torch.tensor(loss / 2), "loss": torch.tensor(loss)}
            batch = {"data_samples": [SimpleNamespace(img_path=f"{runner.iter + 1}.jpg")]}
            hook.after_train_iter(runner, 0, batch, outputs)
        return runner, hook

    return train


def test_nothing_waits_until_the_lag_is_over(slow_device, run):
    run([1.0] * LAG)
    assert slow_device.waits == 0
    runner, _ = run([1.0] * 3 * LAG)
    assert slow_device.waits == 2 * LAG
    assert runner.logged == [("train/loss", 1.0), ("train/loss_cls", 0.5)] * 2 * LAG


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_bad_iteration_is_named_within_the_lag(slow_device, run, bad):
    losses = [1.0, 1.0, bad, math.nan] + [1.0] * LAG
    with pytest.raises(DivergedError, match=rf"The loss is {bad} at iteration 3 \(loss_cls {bad}\); images: 3\.jpg\."):
        run(losses)
    assert slow_device.waits == 3
    run(losses[:LAG])  # not known yet


def test_on_a_cpu_it_stops_at_once(run):
    with pytest.raises(DivergedError, match="at iteration 2 "):
        run([1.0, math.nan])


@pytest.mark.parametrize("end", ["before_save_checkpoint", "before_val_epoch", "after_train"])
def test_what_is_under_way_is_read_before_it_matters(slow_device, run, end):
    runner, hook = run([1.0, math.nan, 1.0])
    arguments = ({"state_dict": {}},) if end == "before_save_checkpoint" else ()
    with pytest.raises(DivergedError, match="at iteration 2 "):
        getattr(hook, end)(runner, *arguments)


def test_a_checkpoint_is_not_written_of_weights_that_are_not_finite(run):
    """Another process had the bad loss, or the backward pass of a finite one overflowed."""
    runner, hook = run([1.0, 1.0])
    weights = {"a": torch.ones(3), "steps": torch.tensor(7), "b": torch.tensor([1.0, math.inf])}
    with pytest.raises(DivergedError, match=r"weights are no longer finite after iteration 2 \(first: b\)"):
        hook.before_save_checkpoint(runner, {"state_dict": weights})
    hook.before_save_checkpoint(runner, {"state_dict": {**weights, "b": torch.ones(2)}})


def test_a_checkpoint_holds_the_log_of_every_iteration(slow_device, run):
    runner, hook = run([1.0, 2.0])
    runner.message_hub.state_dict = lambda: list(runner.logged)
    checkpoint = {"state_dict": {}, "message_hub": "before"}
    hook.before_save_checkpoint(runner, checkpoint)
    assert [value for name, value in checkpoint["message_hub"] if name == "train/loss"] == [1.0, 2.0]
