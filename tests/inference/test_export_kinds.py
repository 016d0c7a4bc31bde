"""Two-stage detectors and classifiers in other runtimes: what MMDetection's own heads find, or no file."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import SMALL, build_detector, small_config
from onnx import numpy_helper

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.inference.export import two_stage
from benchmark.inference.export.checked import compare, export
from benchmark.inference.export.exportable import call
from benchmark.inference.export.formats import FORMATS
from benchmark.inference.export.source import prepare, read_config

pytestmark = pytest.mark.slow

CANVAS = (128, 160)
FINETUNE = "finetune_food101_rexnet_x1.0"


def options(config):
    return Options(CONFIGS / f"{config}.py", cfg_options=SMALL, demo=config != FINETUNE)


@pytest.fixture(scope="module")
def checkpoints(randomise, tmp_path_factory):
    """A checkpoint of each kind, whose scores differ from one another and do not saturate."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for config in ("faster_rcnn", "mask_rcnn", FINETUNE):
        model = randomise(build_detector(small_config(config, demo=config != FINETUNE)))
        if config != FINETUNE:
            head = model.roi_head.bbox_head
            with torch.no_grad():
                for layer, times in ((model.rpn_head.rpn_cls, 4), (model.rpn_head.rpn_reg, 4), (head.fc_cls, 8)):
                    layer.weight.mul_(times)
        torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / f"{config}.pth")
    return folder


@pytest.fixture(scope="module")
def written(checkpoints, pictures, tmp_path_factory):
    """ONNX files by config."""
    folder = tmp_path_factory.mktemp("written")
    for config, canvas in (("faster_rcnn", CANVAS), ("mask_rcnn", CANVAS), (FINETUNE, None)):
        out = folder / f"{config}.onnx"
        found = export(options(config), checkpoints / f"{config}.pth", out, pictures=pictures, canvas=canvas)
        assert found.pictures == 2 and found.differences.within(found.allowed)
    return folder


def source_of(config, checkpoints, pictures):
    canvas = None if config == FINETUNE else CANVAS
    return prepare(read_config(options(config)), checkpoints / f"{config}.pth", pictures, canvas)


@pytest.mark.parametrize("config", ["faster_rcnn", "mask_rcnn", FINETUNE])
def test_a_changed_weight_of_the_file_fails_the_comparison(config, written, checkpoints, pictures, tmp_path):
    source, row = source_of(config, checkpoints, pictures), FORMATS["onnx"].load_module()
    assert compare(source.original, source.checks, row.load(written / f"{config}.onnx")).within(
        source.original.tolerance
    )
    model = onnx.load(written / f"{config}.onnx")
    weights = max(
        (one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 4),
        key=lambda one: np.prod(one.dims),
    )
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.2), weights.name))
    onnx.save(model, tmp_path / "changed.onnx")
    changed = compare(source.original, source.checks, row.load(tmp_path / "changed.onnx"))
    assert not changed.within(source.original.tolerance)


def test_the_pictures_have_detections_to_compare_and_masks(written, checkpoints, pictures):
    source = source_of("mask_rcnn", checkpoints, pictures)
    run = FORMATS["onnx"].load_module().load(written / "mask_rcnn.onnx")
    for inputs, reference in source.checks:
        found = two_stage.detections(call(run, inputs))
        assert len(reference.scores) > 10 and found.masks is not None and reference.masks is not None
        assert found.masks.shape == reference.masks.shape


def test_what_lies_beyond_the_picture_is_not_seen(written, checkpoints, pictures):
    source = source_of("faster_rcnn", checkpoints, pictures)
    run = FORMATS["onnx"].load_module().load(written / "faster_rcnn.onnx")
    inputs, _ = source.checks[0]
    height, width = (int(side) for side in inputs["size"])
    assert (height, width) != CANVAS
    noisy = torch.full_like(inputs["image"], 255.0)
    noisy[..., :height, :width] = inputs["image"][..., :height, :width]
    clean, found = call(run, inputs), call(run, {**inputs, "image": noisy})
    assert all(torch.equal(clean[name], found[name]) for name in clean)


def test_a_picture_without_detections_gives_none(written):
    run = FORMATS["onnx"].load_module().load(written / "mask_rcnn.onnx")
    inputs = {"image": torch.zeros(1, 3, *CANVAS), "size": torch.tensor([1.0, 1.0])}
    found = call(run, inputs)
    assert found["detection_boxes"].shape == (100, 4) and bool(torch.isfinite(found["detection_masks"]).all())
    assert float(found["detection_boxes"].max()) <= 1


def test_openvino_finds_the_same_and_a_changed_weight_is_seen(checkpoints, pictures, tmp_path):
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    out = tmp_path / "model.xml"
    found = export(options("faster_rcnn"), checkpoints / "faster_rcnn.pth", out, pictures=pictures, canvas=CANVAS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    assert found.differences.within(found.allowed)
    row, source = FORMATS["openvino"].load_module(), source_of("faster_rcnn", checkpoints, pictures)
    assert row.facts(out)["input_height"] == CANVAS[0] and row.facts(out)["classes"]
    weights = np.fromfile(tmp_path / "model.bin", dtype=np.uint8)
    numbers = weights[: len(weights) // 4 * 4].view(np.float32)
    size = np.abs(numbers)
    numbers[(size > 1e-3) & (size < 1)] *= np.float32(1.2)  # whole numbers look like far smaller ones, and stay
    weights.tofile(tmp_path / "model.bin")
    changed = compare(source.original, source.checks, row.load(out))
    assert not changed.within(source.original.tolerance)


def test_an_export_that_finds_other_boxes_leaves_no_file(checkpoints, pictures, tmp_path, monkeypatch):
    clip = two_stage._clip
    kept = two_stage.DecodedTwoStage.merge_branches

    def spoil(model):
        kept(model)
        monkeypatch.setattr(two_stage, "_clip", lambda boxes, corner: clip(boxes + 1, corner))

    monkeypatch.setattr(two_stage.DecodedTwoStage, "merge_branches", spoil)
    with pytest.raises(UserError, match="was not written"):
        export(
            options("faster_rcnn"),
            checkpoints / "faster_rcnn.pth",
            tmp_path / "new/model.onnx",
            pictures=pictures,
            canvas=CANVAS,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("canvas", [(100, 128), (0, 32), (32, 8192)])
def test_a_canvas_that_the_net_does_not_take_is_named(canvas, checkpoints, tmp_path):
    with pytest.raises(UserError, match=r"--canvas takes height and width, multiples of 32"):
        export(options("faster_rcnn"), checkpoints / "faster_rcnn.pth", tmp_path / "x.onnx", canvas=canvas)


def test_an_interrupted_conversion_leaves_nothing(checkpoints, pictures, tmp_path, monkeypatch):
    def begin(conversion, out: Path, **chosen):
        out.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(FORMATS["onnx"].load_module(), "convert", begin)
    with pytest.raises(KeyboardInterrupt):
        export(options(FINETUNE), checkpoints / f"{FINETUNE}.pth", tmp_path / "x.onnx", pictures=pictures)
    assert list(tmp_path.iterdir()) == []
