"""What a training step's time is of, and which of data and model is the limit."""

import copy
import json

import pytest
import torch
from helpers import call_tool
from mmengine.optim import OptimWrapper

from backbones.errors import UserError
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.measuring import latency, rounds
from benchmark.measuring.latency import Settings, measure
from benchmark.measuring.training_step import make_step
from benchmark.records.latency import LatencyFile, LoaderRate

BACKBONE = "mobilenet_v3_small"


@pytest.mark.parametrize("template", ["ssdlite", "faster_rcnn", "mask_rcnn", "finetune"])
def test_a_step_trains_on_a_loss_and_leaves_the_weights(template, monkeypatch):
    dataset = "flowers102" if template == "finetune" else None
    cfg = load_config(CONFIGS / f"{template}.py", backbone=BACKBONE, dataset=dataset)
    seen = []
    update = OptimWrapper.update_params

    def watched(wrapper, loss, **options):
        parameters = [p for group in wrapper.optimizer.param_groups for p in group["params"] if p.requires_grad]
        before = copy.deepcopy(parameters)
        update(wrapper, loss, **options)
        seen.append((loss.item(), all(torch.equal(*pair) for pair in zip(parameters, before, strict=True))))

    monkeypatch.setattr(OptimWrapper, "update_params", watched)
    step = make_step(cfg, 2, (64, 64), precision="fp32", device="cpu", memory_format=torch.channels_last)
    step()
    ((loss, unchanged),) = seen
    assert loss > 0 and unchanged


def test_a_steps_record_says_what_it_is(monkeypatch):
    monkeypatch.setattr(rounds, "_WARM_UP_ROUNDS", 5)
    settings = Settings(training=True, batch_size=2, input=(64, 64), runs=2, backbone=BACKBONE)
    (record,) = measure([str(CONFIGS / "ssdlite.py")], settings)
    assert (record.model, record.timed) == (f"ssdlite_{BACKBONE}", "training step")
    assert record.input == (2, 3, 64, 64) and not record.fused and record.peak_memory > 10**8
    assert "Forward, losses, backward and update" in latency.describe([record])


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (BACKBONE, {}, "give a CONFIG"),
        ("configs/ssdlite.py", {"fold_bn": True}, "--fold-bn is no part of a training step"),
        ("configs/ssdlite.py", {"with_postprocessing": True}, "--with-postprocessing is no part"),
        (
            "configs/ssdlite.py",
            {"batch_size": 1, "backbone": BACKBONE},
            "at batch 1: Expected more than 1 value",
        ),
    ],
)
def test_what_cannot_be_timed_is_refused(model, changes, message):
    settings = Settings(**{"training": True, "batch_size": 2, "input": (64, 64), **changes})
    with pytest.raises(UserError, match=message):
        measure([model], settings)


@pytest.mark.parametrize(("loaded", "slower", "times"), [(10.0, "the data", 4.0), (60.0, "the model", 1.5)])
def test_the_slower_of_both_is_the_limit(loaded, slower, times):
    rate = LoaderRate(config="a", workers=2, batch=8, images_per_second=loaded)
    step = latency.Latency.model_construct(input=(8, 3, 64, 64), images_per_second=40.0, device="CPU")
    sentence = rate.limit(step)
    assert sentence.startswith(f"a, batch 8: {slower} is the limit here.")
    assert f"{times:.1f} times apart. Both share the processor" in sentence
    assert "share" not in rate.limit(step.model_copy(update={"device": "A100"}))


@pytest.mark.slow
def test_the_tool_times_data_and_steps(demo_data, monkeypatch):
    monkeypatch.setattr("benchmark.training.loading._SECONDS", 0.1)
    monkeypatch.setattr(rounds, "_WARM_UP_ROUNDS", 5)
    arguments = ["configs/ssdlite.py", "--backbone", BACKBONE, "--training", "--loader", "--demo"]
    arguments += ["--data-root", demo_data, "--batch-size", 2, "--input", 64, "--runs", 1, "--json"]
    tool = call_tool("latency.py", *arguments)
    assert tool.returncode == 0, tool.stderr
    found = LatencyFile.model_validate(json.loads(tool.stdout))
    (rate,), (step,) = found.loaders, found.latencies
    assert rate.config == step.model == f"ssdlite_{BACKBONE}"
    assert rate.batch == 2 and rate.images_per_second > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([BACKBONE, "--training"], "--training takes CONFIGs"),
        (["configs/ssdlite.py", "--loader"], "--loader belongs to --training"),
        (["configs/ssdlite.py", "--training", "--demo"], "--demo and --data-root belong to --loader"),
    ],
)
def test_options_that_would_do_nothing_are_refused(arguments, message):
    tool = call_tool("latency.py", *arguments)
    assert tool.returncode == 2 and message in tool.stderr
