"""The hash of a config: the same for two that train the same, another for two that do not."""

import pytest

from benchmark.config.complete import complete_model
from benchmark.config.identity import config_sha256
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.config.recipe import Recipe

SSDLITE = CONFIGS / "ssdlite_rexnet_x1.0.py"
FINETUNE = CONFIGS / "finetune_food101_rexnet_x1.0.py"


def sha(path=SSDLITE, *options: str, **settings) -> str:
    return config_sha256(load_config(path, options=options, **settings))


@pytest.fixture(scope="module")
def plain() -> dict:
    return {path: sha(path) for path in (SSDLITE, FINETUNE)}


@pytest.mark.parametrize(
    ("path", "options", "settings"),
    [
        (SSDLITE, ["train_dataloader.num_workers=0"], {}),
        (SSDLITE, ["workers=1"], {}),
        (SSDLITE, ["train_dataloader.pin_memory=True"], {}),
        (SSDLITE, ["log_interval=7", "checkpoint_interval=100", "checkpoints_kept=9"], {}),
        (SSDLITE, ["val_interval=1000"], {}),
        (SSDLITE, ["dataset_name=mine"], {}),
        (SSDLITE, [], {"data_root": "elsewhere"}),
        (SSDLITE, [], {"steps": 200_000}),
        (SSDLITE, ["input_size=320"], {}),
        (SSDLITE, ["model.neck.in_channels=[768, 1280]"], {}),
        (SSDLITE, ["model.data_preprocessor.mean=[123.675, 116.28, 103.53]"], {}),
        (SSDLITE, ["train_dataloader.dataset.pipeline.0.mean=[123.675, 116.28, 103.53]"], {}),
        (SSDLITE, ["env_cfg.cudnn_benchmark=False"], {}),
        (SSDLITE, [], {"backbone": "rexnet_x1.0"}),
        (FINETUNE, ["train_dataloader.dataset.pipeline.0.interpolation=bicubic"], {}),
        (FINETUNE, [], {"allow_partial": True}),
    ],
)
def test_configs_that_train_the_same_have_one_hash(path, options, settings, plain):
    assert sha(path, *options, **settings) == plain[path]


@pytest.mark.parametrize(
    ("path", "options", "settings"),
    [
        (SSDLITE, ["learning_rate=0.5"], {}),
        (SSDLITE, ["input_size=480"], {}),
        (SSDLITE, ["memory_format=contiguous_format"], {}),
        (SSDLITE, ["sync_bn=False"], {}),
        (SSDLITE, ["auto_scale_lr.enable=False"], {}),
        (SSDLITE, [], {"recipe": Recipe(accumulate=2)}),
        (SSDLITE, [], {"recipe": Recipe(ema=True)}),
        (SSDLITE, [], {"recipe": Recipe(early_stop=2)}),
        (SSDLITE, [], {"recipe": Recipe(freeze_stages=2)}),
        (FINETUNE, [], {"recipe": Recipe(freeze_stages=2)}),
        (SSDLITE, ["custom_hooks=[{'type': 'EMAHook'}]"], {}),
        (SSDLITE, ["default_hooks.ema={'type': 'EMAHook'}"], {}),
        (SSDLITE, ["train_dataloader.dataset.filter_cfg.min_size=1"], {}),
        (SSDLITE, ["model.neck.in_channels=[768, 640]"], {}),
        (SSDLITE, ["model.data_preprocessor.mean=[0, 0, 0]"], {}),
        (SSDLITE, ["nms_iou=0.6"], {}),
        (SSDLITE, [], {"steps": 100}),
        (SSDLITE, [], {"batch_size": 4}),
        (SSDLITE, [], {"pretrained": "none"}),
        (SSDLITE, [], {"demo": True}),
        (SSDLITE, [], {"backbone": "rexnet_x0.9"}),
        (FINETUNE, ["image_size=192"], {}),
        (FINETUNE, ["train_dataloader.dataset.split=train"], {}),
        (FINETUNE, [], {"backbone": "efficientnet_lite0"}),
    ],
)
def test_configs_that_train_otherwise_have_another(path, options, settings, plain):
    assert sha(path, *options, **settings) != plain[path]


def test_a_scaling_that_is_off_has_no_base():
    assert sha(SSDLITE, "auto_scale_lr.enable=False") == sha(
        SSDLITE, "auto_scale_lr.enable=False", "auto_scale_lr.base_batch_size=8"
    )


def test_evaluations_count_where_they_may_stop_the_training():
    recipe = Recipe(early_stop=2)
    assert sha(SSDLITE, "val_interval=1000", recipe=recipe) != sha(SSDLITE, "val_interval=2000", recipe=recipe)


def test_generated_pictures_count_where_they_are_trained_on():
    assert sha(demo=True) != sha(SSDLITE, "train_images=16", demo=True)


def test_templates_leaves_and_resolved_configs_agree(plain, tmp_path):
    assert sha(CONFIGS / "ssdlite.py", backbone="rexnet_x1.0") == plain[SSDLITE]
    cfg = load_config(SSDLITE)
    complete_model(cfg)
    # as a training leaves it in its folder
    cfg.optim_wrapper.type, cfg.optim_wrapper.precision = "AutocastOptimWrapper", "bf16"
    cfg.randomness.seed, cfg.work_dir, cfg.experiment_name = 7, "somewhere", "x"
    cfg.dump(tmp_path / "config.py")
    assert sha(tmp_path / "config.py") == plain[SSDLITE]


def test_a_docstring_and_a_users_name_for_a_value_do_not_count(plain, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        f'"""Mine."""\n_base_ = {str(SSDLITE)!r}\nrate = 0.08\noptim_wrapper = dict(optimizer=dict(lr=rate))\n'
    )
    assert sha(mine) == plain[SSDLITE]


def test_the_hash_is_not_of_the_config_that_is_asked():
    cfg = load_config(SSDLITE)
    before = cfg.to_dict()
    config_sha256(cfg)
    assert cfg.to_dict() == before
