"""Our configs are plain MMDetection configs: its own clients run them, and find what our tools find."""

import json
import runpy
import sys
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from helpers import SMALL
from mmengine.config import Config

from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.data.demo.pictures import CLASSES
from benchmark.training.evaluate import evaluate
from benchmark.training.train import train

pytestmark = pytest.mark.slow

CONFIG_NAMES = ("ssdlite_rexnet_x1.0", "faster_rcnn_rexnet_x1.0", "mask_rcnn_rexnet_x1.0")
TOOLS = {"ssdlite": "eval_detection.py", "faster_rcnn": "eval_detection.py", "mask_rcnn": "eval_segmentation.py"}
STOCK = Path(mmdet.__file__).parent / ".mim/tools"


@pytest.fixture(scope="module", params=TOOLS)
def run(request, tmp_path_factory, demo_data) -> tuple[str, Path]:
    """A task, and the folder of a short training of its detector."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    options = Options(
        config=CONFIGS / f"{request.param}_rexnet_x1.0.py",
        work_dir=folder,
        data_root=demo_data,
        demo=True,
        batch_size=2,
        cfg_options=(
            *SMALL,
            "train_dataloader.num_workers=0",
            "val_dataloader.num_workers=0",
            "train_images=16",
            "val_images=6",
        ),
    )
    train(options, steps=2)
    return request.param, folder


def stock_tool(name: str, monkeypatch, *arguments: object) -> None:
    """Run a script of MMDetection's in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(STOCK / name), run_name="__main__")


@pytest.mark.parametrize("name", CONFIG_NAMES)
def test_a_leaf_builds_as_it_is(name):
    """Channels and preprocessing follow from the backbone in the models' own constructors."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope("mmdet")
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert model.data_preprocessor._enable_normalize
    assert cfg.model.neck.get("in_channels") is None


def test_the_inferencer_takes_a_config_alone(demo_data):
    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(str(CONFIGS / "ssdlite_rexnet_x1.0.py"), device="cpu", show_progress=False)
    picture = next((demo_data / "val2017").iterdir())
    found = inferencer(str(picture), no_save_vis=True, print_result=False)
    assert set(found["predictions"][0]) >= {"labels", "scores", "bboxes"}


def test_the_inferencer_finds_what_our_evaluation_finds(run, demo_data, tmp_path):
    from mmdet.apis import DetInferencer

    task, folder = run
    inferencer = DetInferencer(str(folder / "config.py"), str(folder / "best.pth"), device="cpu", show_progress=False)
    assert inferencer.model.dataset_meta["classes"] == tuple(CLASSES)
    # One picture at a time in one memory format: near ties of proposals must not hang on the last bit.
    plain = ("memory_format=contiguous_format",)
    options = Options(folder / "config.py", tmp_path / "evaluated", plain, data_root=demo_data, batch_size=1)
    evaluate(options, folder / "best.pth", tool=TOOLS[task])
    ours = json.loads((tmp_path / "evaluated/detections.json").read_text())
    truth = json.loads((demo_data / "annotations/instances_val2017.json").read_text())
    categories = [category["id"] for category in truth["categories"]]
    for image in truth["images"]:
        found = inferencer(str(demo_data / "val2017" / image["file_name"]), no_save_vis=True)["predictions"][0]
        own = [detection for detection in ours if detection["image_id"] == image["id"]]
        assert len(found["scores"]) == len(own) > 0
        np.testing.assert_allclose(found["scores"], [d["score"] for d in own], atol=1e-5)
        assert [categories[label] for label in found["labels"]] == [d["category_id"] for d in own]
        xywh = np.array(found["bboxes"])
        xywh[:, 2:] -= xywh[:, :2]
        np.testing.assert_allclose(xywh, [d["bbox"] for d in own], atol=1e-2)


@pytest.mark.parametrize("name", CONFIG_NAMES)
def test_a_leafs_training_samples_can_be_browsed(name, demo_data):
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope("mmdet")
    dataset = {**cfg.train_dataloader.dataset, "data_root": str(demo_data), "metainfo": {"classes": CLASSES}}
    assert set(DATASETS.build(dataset)[0]) == {"inputs", "data_samples"}


def test_mmdetections_test_tool_gives_our_figures(run, monkeypatch, capsys, tmp_path):
    _, folder = run
    stock_tool("test.py", monkeypatch, folder / "config.py", folder / "best.pth", "--work-dir", tmp_path)
    ours = json.loads((folder / "result.json").read_text())["metrics"]
    logged = capsys.readouterr()
    line = "  ".join(f"{name} {value:.1f}" for name, value in ours.items() if value is not None)
    assert f"test: {line}" in logged.out + logged.err


def test_mmdetections_flops_and_browse_tools_run(run, demo_data, monkeypatch, capsys, tmp_path):
    _, folder = run
    stock_tool("analysis_tools/get_flops.py", monkeypatch, folder / "config.py", "--num-images", 1)
    assert "Flops:" in capsys.readouterr().out
    stock_tool(
        "analysis_tools/browse_dataset.py", monkeypatch, folder / "config.py", "--output-dir", tmp_path, "--not-show"
    )
    assert len(list(tmp_path.iterdir())) == 16
