"""Reading configs: overlays, options, and what a user can get wrong."""

import json
from pathlib import Path

import pytest
from helpers import small_config
from mmengine.config import Config

from backbones.errors import UserError
from backbones.features import feature_spec
from benchmark.config.complete import complete_model
from benchmark.config.identity import config_sha256
from benchmark.config.load import config_name, load_config, load_data_config
from benchmark.config.names import CONFIGS, list_leaves
from benchmark.data.demo.pictures import CLASSES
from benchmark.preflight import check_data
from benchmark.tasks import TASKS

LEAVES = list_leaves()
SSDLITE = CONFIGS / "ssdlite_rexnet_x1.0.py"


@pytest.mark.parametrize("path", LEAVES, ids=lambda p: p.stem)
def test_a_leafs_name_says_its_template_and_backbone(path):
    cfg = load_config(path)
    assert path.stem == config_name(cfg) == f"{cfg.template}_{cfg.model.backbone.name}"


@pytest.mark.parametrize("template", ["ssdlite", "faster_rcnn", "mask_rcnn"])
def test_a_detector_takes_its_channels_from_its_backbone(template):
    cfg = load_config(CONFIGS / f"{template}.py", backbone="mobilenet_v2")
    complete_model(cfg)
    spec = feature_spec(cfg.model.backbone.name, cfg.model.backbone.get("taps", "pyramid"))
    assert cfg.model.neck.in_channels == list(spec.channels)
    assert len(cfg.train_dataloader.dataset.metainfo.classes) == 80


def test_classes_are_mmdetections():
    from mmdet.datasets import CocoDataset

    assert tuple(load_config(SSDLITE).val_dataloader.dataset.metainfo.classes) == CocoDataset.METAINFO["classes"]


def test_demo_lies_over_the_config():
    cfg = load_config(SSDLITE, demo=True)
    assert cfg.model.bbox_head.num_classes == len(CLASSES)
    assert cfg.model.backbone.pretrained is None
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root == "data/demo"
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == 800
    assert cfg.optim_wrapper.optimizer == {
        "type": "SGD",
        "lr": 0.02,
        "momentum": 0.9,
        "weight_decay": 4e-5,
        "nesterov": True,
        "fused": True,
    }
    assert cfg.train_dataloader.dataset.pipeline[0].augment is False


def test_data_root_from_the_option_then_the_environment_then_the_config(monkeypatch, tmp_path):
    monkeypatch.delenv("DATA_ROOT", raising=False)
    assert load_config(SSDLITE).train_dataloader.dataset.data_root == "data/coco"
    monkeypatch.setenv("DATA_ROOT", "/from/environment")
    assert load_config(SSDLITE).val_dataloader.dataset.data_root == "/from/environment"
    cfg = load_config(SSDLITE, data_root=tmp_path)
    assert cfg.val_dataloader.dataset.data_root == str(tmp_path)
    assert cfg.val_evaluator.ann_file == str(tmp_path / "annotations/instances_val2017.json")
    assert load_config(SSDLITE, demo=True).data_root == "data/demo"


def test_options_change_the_config():
    cfg = load_config(
        SSDLITE, options=["train_cfg.max_iters=7", "sync_bn=false", "model.backbone.name=efficientnet_b0"]
    )
    assert (cfg.train_cfg.max_iters, cfg.sync_bn, cfg.model.backbone.name) == (7, False, "efficientnet_b0")


def test_the_hash_follows_the_content_not_the_place():
    base = load_config(SSDLITE)
    moved = load_config(SSDLITE)
    moved.work_dir = "elsewhere"
    other = load_config(SSDLITE, options=["train_cfg.max_iters=7"])
    assert config_sha256(base) == config_sha256(moved) != config_sha256(other)


def test_a_dumped_config_reads_back(tmp_path):
    cfg = small_config()
    cfg.dump(tmp_path / "config.py")
    again = load_config(tmp_path / "config.py")
    assert config_name(again) == config_name(cfg) == "ssdlite_mobilenet_v3_small"
    assert again.model.to_dict() == Config.fromfile(tmp_path / "config.py").model.to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": CONFIGS / "ssdlite_rexnet_x10.py"}, "Did you mean 'configs/ssdlite_rexnet_x1.0.py'"),
        ({"path": CONFIGS / "_base_" / "runtime.py"}, "no 'model' and 'task'"),
        ({"path": SSDLITE, "options": ["max_iters"]}, "takes key=value"),
        (
            {"path": SSDLITE, "options": ["custom_hooks.7.type=x"]},
            r"no such key\. Did you mean 'custom_hooks",
        ),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        load_config(**arguments)


def test_an_unknown_backbone_suggests_the_nearest():
    cfg = load_config(SSDLITE, options=["model.backbone.name=rexnet_1.0"])
    with pytest.raises(UserError, match=r"Did you mean 'rexnet_x1\.0'"):
        complete_model(cfg)


def test_a_config_that_is_no_python_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("model = dict(")
    with pytest.raises(UserError, match=r"broken\.py cannot be read: SyntaxError"):
        load_config(tmp_path / "broken.py")


def test_every_task_of_the_paper_has_a_config_and_every_task_a_tool():
    tasks = {load_config(path).task for path in LEAVES}
    assert tasks == {name for name, task in TASKS.items() if task.tables}
    assert all((CONFIGS.parent / "tools" / task.tool).is_file() for task in TASKS.values())


CLASS_NAMES = ("cat", "dog")


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Path:
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017/a.jpg").write_bytes(b"x")
    write_annotations(tmp_path / "ann.json")
    return tmp_path


def write_annotations(path: Path, **changes) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 8}],
        "annotations": [],
        "categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}],
        **changes,
    }
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def check(root: Path) -> None:
    cfg = load_data_config("coco", data_root=root)
    cfg.val_dataloader.dataset.update(ann_file="ann.json", metainfo={"classes": CLASS_NAMES})
    check_data(cfg, ["val_dataloader"])


def test_good_data_pass(tiny_coco):
    check(tiny_coco)


def test_missing_folder_names_the_ways_out(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*--data-root.*DATA_ROOT.*--demo"):
        check(tmp_path / "nowhere")


def test_missing_annotation_file(tiny_coco):
    (tiny_coco / "ann.json").unlink()
    with pytest.raises(UserError, match=r"Annotation file not found: .*ann\.json"):
        check(tiny_coco)


def test_truncated_annotations(tiny_coco):
    text = (tiny_coco / "ann.json").read_text()
    (tiny_coco / "ann.json").write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="not valid JSON"):
        check(tiny_coco)


@pytest.mark.parametrize("section", ["images", "annotations", "categories"])
def test_a_missing_section_is_named(tiny_coco, section):
    write_annotations(tiny_coco / "ann.json", **{section: None})
    with pytest.raises(UserError, match=f"no list '{section}'"):
        check(tiny_coco)


def test_annotations_that_are_no_object(tiny_coco):
    (tiny_coco / "ann.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="not a COCO annotation file"):
        check(tiny_coco)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat", "wolf"), "only in the config: dog; only in the file: wolf"),
        (("dog", "cat"), "the same names in another order"),
        (("cat",), "only in the config: dog"),
    ],
)
def test_other_class_names_are_listed(tiny_coco, names, message):
    write_annotations(tiny_coco / "ann.json", categories=[{"id": i, "name": name} for i, name in enumerate(names)])
    with pytest.raises(UserError, match=message):
        check(tiny_coco)


def test_missing_images_are_counted_and_the_first_named(tiny_coco):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 8, "height": 8} for i in range(5)]
    write_annotations(tiny_coco / "ann.json", images=images)
    (tiny_coco / "val2017/2.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"4 of 5 image files are missing .*0\.jpg, 1\.jpg, 3\.jpg"):
        check(tiny_coco)


def test_the_demo_data_pass_their_configs_check(demo_data):
    check_data(load_config(SSDLITE, demo=True, data_root=demo_data))
