"""Overrides: each reaches what the run reads, or is an error that says what would."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS

SSDLITE = CONFIGS / "ssdlite_rexnet_x1.0.py"
FASTER_RCNN = CONFIGS / "faster_rcnn_rexnet_x1.0.py"
MASK_RCNN = CONFIGS / "mask_rcnn_rexnet_x1.0.py"
FINETUNE = CONFIGS / "finetune_food101_rexnet_x1.0.py"


def find(cfg: Config, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[int(part) if part.isdecimal() else part]
    return cfg


LOADERS = ("train_dataloader", "val_dataloader")


@pytest.mark.parametrize(
    ("path", "option", "value", "places"),
    [
        (SSDLITE, "learning_rate", 0.5, ["optim_wrapper.optimizer.lr"]),
        (SSDLITE, "weight_decay", 1e-3, ["optim_wrapper.optimizer.weight_decay"]),
        (SSDLITE, "warmup_iters", 77, ["param_scheduler.0.end", "param_scheduler.1.begin"]),
        (SSDLITE, "num_classes", 3, ["model.bbox_head.num_classes"]),
        (SSDLITE, "workers", 1, [f"{name}.num_workers" for name in LOADERS]),
        (SSDLITE, "positive_iou", 0.6, [f"model.train_cfg.assigner.{name}_iou_thr" for name in ("pos", "neg")]),
        (SSDLITE, "sync_bn", False, ["sync_bn"]),
        (MASK_RCNN, "num_classes", 3, [f"model.roi_head.{head}_head.num_classes" for head in ("bbox", "mask")]),
        (MASK_RCNN, "image_scale", (600, 400), [f"{LOADERS[0]}.dataset.pipeline.2.scale"]),
        (MASK_RCNN, "image_scale", (600, 400), [f"{LOADERS[1]}.dataset.pipeline.1.scale"]),
        (FASTER_RCNN, "rois", 64, ["model.train_cfg.rcnn.sampler.num"]),
        (
            FASTER_RCNN,
            "proposals",
            300,
            ["model.train_cfg.rpn_proposal.max_per_img", "model.test_cfg.rpn.max_per_img"],
        ),
        (FASTER_RCNN, "schedule", 2, []),
        (FINETUNE, "image_size", 128, [f"{name}.dataset.pipeline.0.size" for name in LOADERS]),
        (FINETUNE, "momentum", 0.8, ["optim_wrapper.optimizer.momentum"]),
    ],
)
def test_a_name_of_the_files_reaches_every_place(path, option, value, places):
    cfg = load_config(path, options=[f"{option}={value}"])
    assert [find(cfg, place) for place in places] == [value] * len(places)
    assert Path(cfg.filename) == path and option not in {*cfg} - {"sync_bn"}


def test_the_schedule_moves_as_the_template_says():
    cfg = load_config(FASTER_RCNN, options=["schedule=2"])
    assert (cfg.train_cfg.max_iters, cfg.param_scheduler[1].milestones) == (180_000, [120_000, 160_000])


def test_input_size_reaches_pipelines_and_anchors():
    cfg, plain = load_config(SSDLITE, options=["input_size=480"]), load_config(SSDLITE)
    assert cfg.train_dataloader.dataset.pipeline[0].size == 480
    resizes = [step.scale for step in cfg.val_dataloader.dataset.pipeline if step.type == "Resize"]
    assert resizes == [(480, 480)]
    anchors, usual = cfg.model.bbox_head.anchor_generator, plain.model.bbox_head.anchor_generator
    assert anchors.strides == [16, 32, 60, 120, 240, 480]  # maps of side 30, 15, 8, 4, 2 and 1
    assert anchors.min_sizes == [1.5 * size for size in usual.min_sizes]
    assert anchors.max_sizes == [1.5 * size for size in usual.max_sizes]
    assert usual.strides == [16, 32, 64, 107, 160, 320]
    assert (usual.min_sizes, usual.max_sizes) == ([45, 90, 135, 180, 225, 270], [90, 135, 180, 225, 270, 315])


@pytest.mark.parametrize(
    ("path", "option", "message"),
    [
        (SSDLITE, "max_iters=10", "--steps N, which moves the schedule"),
        (SSDLITE, "batch_size=2", "--batch-size N"),
        (FINETUNE, "batch_size=2", "--batch-size N"),
        (SSDLITE, "seed=3", "--seed N"),
        (SSDLITE, "randomness.seed=3", "--seed N"),
        (SSDLITE, "randomness={'seed': 3}", "--seed N"),
        (SSDLITE, "optim_wrapper.type=AmpOptimWrapper", "--precision"),
        (SSDLITE, "data_root=elsewhere", "--data-root DIR"),
        (SSDLITE, "train_dataloader.dataset.data_root=elsewhere", "--data-root DIR"),
        (SSDLITE, "val_evaluator.ann_file=a.json", r"set val_dataloader\.dataset\.ann_file"),
        (SSDLITE, "load_from=x.pth", "--pretrained FILE or --resume"),
        (SSDLITE, "learning_rat=0.5", "no such key. Did you mean 'learning_rate'"),
        (SSDLITE, "optim_wrapper.optimiser.lr=1", r"Did you mean 'optim_wrapper\.optimizer\.lr'"),
        (SSDLITE, "auto_scale_lr.enabled=False", r"Did you mean 'auto_scale_lr\.enable'"),
        (SSDLITE, "train_dataloader.batchsize=3", r"Did you mean 'train_dataloader\.batch_size'"),
        (SSDLITE, "model.test_cfg.iou=0.4", "no such key"),
        (SSDLITE, "train_dataloader.dataset.pipeline.99.size=3", "no such key"),
        (SSDLITE, "train_pipeline.0.type=LoadImage", "no such key"),
        (SSDLITE, "train_images=16", "no such key"),
    ],
)
def test_an_override_that_would_change_nothing_is_refused(path, option, message):
    with pytest.raises(UserError, match=message):
        load_config(path, options=[option])


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"demo": True}, "num_classes=3"),
        ({"demo": True}, "rois=64"),
        ({"demo": True}, "base_batch_size=7"),
        ({"batch_size": 4}, "train_dataloader.batch_size=2"),
    ],
)
def test_what_the_command_line_decides_cannot_be_overridden(settings, option):
    with pytest.raises(UserError, match=r"changes nothing that the run reads|no such key"):
        load_config(SSDLITE, options=[option], **settings)


@pytest.mark.parametrize("path", [SSDLITE, FASTER_RCNN], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("learning_rate", "optim_wrapper.optimizer.lr"),
        ("weight_decay", "optim_wrapper.optimizer.weight_decay"),
        ("log_interval", "default_hooks.logger.interval"),
        ("checkpoint_interval", "default_hooks.checkpoint.interval"),
    ],
)
def test_a_name_reaches_the_demo_too(path, name, place):
    assert find(load_config(path, options=[f"{name}=7"], demo=True), place) == 7


def test_a_real_key_may_be_set_to_what_it_is():
    plain = load_config(SSDLITE)
    for option in ("optim_wrapper.optimizer.lr=0.08", "learning_rate=0.08", "sync_bn=True", "input_size=320"):
        assert load_config(SSDLITE, options=[option]).to_dict() == plain.to_dict()


def test_a_key_given_twice_is_refused():
    with pytest.raises(UserError, match=r"learning_rate is given twice, as 0\.1 and 0\.2"):
        load_config(SSDLITE, options=["learning_rate=0.1", "learning_rate=0.2"])
    with pytest.raises(UserError, match=r"model\.backbone\.pretrained contradicts another option"):
        load_config(SSDLITE, options=["model.backbone.pretrained=x.pth"], pretrained="none")
    with pytest.raises(UserError, match=r"train_cfg\.max_iters contradicts another option"):
        load_config(SSDLITE, options=["train_cfg.max_iters=7"], steps=5)
    load_config(SSDLITE, options=["model.backbone.pretrained=None"], pretrained="none")


def test_keys_may_be_added_where_a_class_can_be_asked():
    cfg = load_config(
        SSDLITE,
        options=["optim_wrapper.optimizer.nesterov=True", "train_dataloader.pin_memory=True", "log_level=DEBUG"],
    )
    assert cfg.optim_wrapper.optimizer.nesterov and cfg.train_dataloader.pin_memory and cfg.log_level == "DEBUG"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("optim_wrapper.optimizer.nesterof=True", r"optim_wrapper\.optimizer: SGD does not take .*'nesterov'"),
        ("optim_wrapper={'optimiser': {'lr': 1}}", r"optim_wrapper: OptimWrapper does not take .*'optimizer'"),
        ("model.neck.extra_chanels=(8, 8, 8, 8)", r"model\.neck: SSDLiteNeck does not take .*'extra_channels'"),
        ("train_dataloader.dataset.filter={}", r"train_dataloader\.dataset: CocoDetection does not take 'filter'"),
        ("val_dataloader.dataset.pipeline.1.size=3", r"pipeline\.1: Resize does not take 'size'"),
        ("param_scheduler.1.eta_mn=1", r"CosineAnnealingLR does not take 'eta_mn'.*'eta_min'"),
        ("model.bbox_head.loss_cls={'type': 'SigmoidFocalClassificationLoss'}", "does not take 'neg_pos_ratio'"),
    ],
)
def test_an_argument_that_a_class_does_not_take_is_refused(option, message):
    from benchmark.config.overrides import check_arguments
    from benchmark.training.registration import register

    register()
    cfg = load_config(SSDLITE, options=[option])
    with pytest.raises(UserError, match=message):
        check_arguments(cfg)


@pytest.mark.parametrize("path", [SSDLITE, MASK_RCNN, FINETUNE], ids=lambda path: path.stem)
@pytest.mark.parametrize("demo", [False, True])
def test_every_class_takes_what_our_configs_give_it(path, demo):
    from benchmark.config.complete import complete_model
    from benchmark.config.overrides import check_arguments
    from benchmark.training.registration import register

    register()
    extra = ["optim_wrapper.clip_grad={'max_norm': 1.0}", "train_dataloader.dataset.indices=10"]
    cfg = load_config(path, demo=demo, options=extra)
    complete_model(cfg)
    check_arguments(cfg)


def test_a_training_refuses_it_before_a_model_is_built(demo_data, tmp_path):
    from benchmark.training.train import train

    few = ("train_images=16", "val_images=6", "model.backbone.name=mobilenet_v3_small")
    options = Options(SSDLITE, tmp_path, (*few, "model.neck.extra_chanels=(8,)"), demo_data, demo=True, batch_size=2)
    with pytest.raises(UserError, match="SSDLiteNeck does not take 'extra_chanels'"):
        train(options, steps=1)
    assert list(tmp_path.iterdir()) == []


def test_a_resolved_config_holds_what_a_run_reads_and_is_as_strict(tmp_path):
    load_config(FASTER_RCNN, options=["schedule=2", "learning_rate=0.5"]).dump(tmp_path / "config.py")
    again = load_config(tmp_path / "config.py")
    assert (again.train_cfg.max_iters, again.optim_wrapper.optimizer.lr) == (180_000, 0.5)
    assert {"schedule", "learning_rate", "train_pipeline", "rois"}.isdisjoint(again)
    with pytest.raises(UserError, match="no such key"):
        load_config(tmp_path / "config.py", options=["learning_rate=0.1"])
    assert (
        load_config(tmp_path / "config.py", options=["optim_wrapper.optimizer.lr=0.1"]).optim_wrapper.optimizer.lr
        == 0.1
    )


def test_a_users_config_may_build_on_ours_by_relative_and_absolute_paths(tmp_path):
    (tmp_path / "base.py").write_text(f"_base_ = {str(SSDLITE)!r}\nrate = 0.3\n")
    (tmp_path / "mine.py").write_text(
        "_base_ = ['./base.py']\nhalf = _base_.rate / 2\noptim_wrapper = dict(optimizer=dict(lr=half))\n"
    )
    assert load_config(tmp_path / "mine.py").optim_wrapper.optimizer.lr == 0.15
    cfg = load_config(tmp_path / "mine.py", options=["rate=0.5", "input_size=480"])
    assert cfg.optim_wrapper.optimizer.lr == 0.25
    assert cfg.model.bbox_head.anchor_generator.strides[-1] == 480
    assert Path(cfg.filename) == tmp_path / "mine.py"


def test_a_value_that_the_files_cannot_work_with_is_named():
    with pytest.raises(UserError, match=r"cannot be read with input_size='x': TypeError"):
        load_config(SSDLITE, options=["input_size=x"])
