"""Templates and leaves: which file a command line means, and what its run is called."""

import csv
from pathlib import Path

import pytest
from helpers import REPOSITORY, run_tool

from backbones.errors import UserError
from benchmark.config.load import config_name, load_config
from benchmark.config.names import CONFIGS, is_template, list_leaves
from benchmark.data.layouts import LAYOUTS

SSDLITE = CONFIGS / "ssdlite.py"


@pytest.mark.parametrize(
    ("file", "settings", "name"),
    [
        ("ssdlite.py", {"backbone": "rexnet_x1.0"}, "ssdlite_rexnet_x1.0"),
        ("ssdlite.py", {"backbone": "timm:mobilenetv4_conv_small"}, "ssdlite_timm-mobilenetv4_conv_small"),
        ("ssdlite.py", {"backbone": "rexnet_x1.0", "dataset": "coco"}, "ssdlite_rexnet_x1.0"),
        ("ssdlite_rexnet_x1.0.py", {}, "ssdlite_rexnet_x1.0"),
        ("ssdlite_rexnet_x1.0.py", {"backbone": "resnet50"}, "ssdlite_resnet50"),
        ("ssdlite_rexnet_x1.0.py", {"options": ["model.backbone.name=resnet50"]}, "ssdlite_resnet50"),
        ("finetune.py", {"dataset": "cars", "backbone": "resnet50"}, "finetune_cars_resnet50"),
        ("finetune_cars_resnet50.py", {"backbone": "rexnet_x1.0"}, "finetune_cars_rexnet_x1.0"),
    ],
)
def test_a_run_is_named_by_template_and_backbone(file, settings, name):
    assert config_name(load_config(CONFIGS / file, **settings)) == name


def test_a_leaf_is_its_template_with_a_backbone():
    for leaf, settings in (
        ("ssdlite_rexnet_x1.0", {"backbone": "rexnet_x1.0"}),
        ("finetune_cars_resnet50", {"backbone": "resnet50", "dataset": "cars"}),
    ):
        template = CONFIGS / f"{leaf.split('_')[0]}.py"
        assert load_config(template, **settings).to_dict() == load_config(CONFIGS / f"{leaf}.py").to_dict()


def test_a_file_of_the_users_own_keeps_its_name(tmp_path):
    mine = tmp_path / "longer.py"
    mine.write_text(f"_base_ = {str(CONFIGS / 'ssdlite_rexnet_x1.0.py')!r}\nmax_iters = 7\n")
    assert config_name(load_config(mine)) == "longer"
    assert config_name(load_config(mine, backbone="resnet50")) == "longer_resnet50"


def test_a_file_named_after_another_backbone_is_refused(tmp_path):
    wrong = tmp_path / "ssdlite_rexnet_x1.3.py"
    wrong.write_text(f"_base_ = {str(SSDLITE)!r}\nmodel = dict(backbone=dict(name='rexnet_x1.0'))\n")
    with pytest.raises(UserError, match=r"named after rexnet_x1\.3, but its backbone is rexnet_x1\.0"):
        load_config(wrong)


def test_a_resolved_config_keeps_name_and_template(tmp_path):
    cfg = load_config(SSDLITE, backbone="rexnet_x1.0")
    cfg.experiment_name = "as a training names it"
    cfg.dump(tmp_path / "config.py")
    again = load_config(tmp_path / "config.py", backbone="rexnet_x1.0")
    assert (config_name(again), again.template) == ("ssdlite_rexnet_x1.0", "ssdlite")
    with pytest.raises(UserError, match=r"channels and the preprocessing of rexnet_x1\.0"):
        load_config(tmp_path / "config.py", backbone="resnet50")


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("ssdlite.py", {}, r"ssdlite\.py names no backbone: give --backbone NAME"),
        ("finetune.py", {"backbone": "resnet50"}, r"give --dataset aircraft\|cars\|flowers102\|food101\|imagefolder"),
        ("finetune.py", {"backbone": "resnet50", "dataset": "flowers"}, "Did you mean 'flowers102'"),
        ("ssdlite.py", {"backbone": "resnet50", "dataset": "cars"}, "takes only coco"),
        ("finetune_cars_resnet50.py", {"dataset": "food101"}, "takes only cars"),
        (
            "finetune_imagefolder_efficientnet_lite0.py",
            {},
            r"configs/finetune\.py --dataset imagefolder --backbone efficientnet_lite0$",
        ),
        ("mask_rcnn_fbnet_c.py", {}, r"configs/mask_rcnn\.py --backbone fbnet_c$"),
        ("ssdlite_timm-resnet18.py", {}, r"configs/ssdlite\.py --backbone timm:resnet18$"),
        ("ssdlite_rexnet_1.0.py", {}, r"Did you mean 'configs/ssdlite_rexnet_x1\.0\.py'"),
    ],
)
def test_mistakes_name_the_command(file, settings, message):
    with pytest.raises(UserError, match=message):
        load_config(CONFIGS / file, **settings)


def test_configs_are_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_name(load_config(Path("configs/ssdlite_rexnet_x1.0.py"))) == "ssdlite_rexnet_x1.0"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/ssdlite_rexnet_x1.0.py").write_text(f"_base_ = {str(SSDLITE)!r}\n")
    with pytest.raises(UserError, match="names no backbone"):  # the file that is there comes first
        load_config(Path("configs/ssdlite_rexnet_x1.0.py"))


def test_the_leaves_are_the_papers_rows():
    rows = set()
    titles = {layout.title: name for name, layout in LAYOUTS.items()}
    for file, template in (
        ("table6_ssdlite", "ssdlite"),
        ("table7_faster_rcnn", "faster_rcnn"),
        ("table8_finegrained", "finetune"),
        ("table9_mask_rcnn", "mask_rcnn"),
    ):
        with (REPOSITORY / f"benchmark/reporting/paper/{file}.csv").open() as table:
            for row in csv.DictReader(table):
                data_set = f"{titles[row['dataset']]}_" if "dataset" in row else ""
                rows.add(f"{template}_{data_set}{row['backbone']}")
    assert {path.stem for path in list_leaves()} == rows
    for path in list_leaves():
        assert len(path.read_text().strip().splitlines()) == 5, path  # docstring, base, backbone


def test_templates_are_told_from_leaves():
    templates = {path.stem for path in CONFIGS.glob("*.py") if is_template(path)}
    assert templates == {"ssdlite", "faster_rcnn", "mask_rcnn", "finetune", "imagenet", "imagenet_randaug"}


@pytest.mark.parametrize(
    "tool",
    [
        *("train", "sweep", "predict", "export", "check_data", "complexity", "latency"),
        *("eval_detection", "eval_segmentation", "eval_finegrained"),
    ],
)
def test_every_tool_that_takes_a_config_takes_a_backbone(tool):
    run = run_tool(f"{tool}.py", "--help")
    assert "--backbone" in run.stdout and "--dataset" in run.stdout
