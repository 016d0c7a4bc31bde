"""Predictions by exported files: what the checkpoint finds, with no config, on pictures and videos."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from helpers import SMALL, build_detector, call_tool, small_config
from PIL import Image
from videos import make_video, noise

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.inference.export.checked import export
from benchmark.inference.export.formats import FORMATS
from benchmark.inference.exported import ExportedDetector
from benchmark.inference.predict import predict, predict_exported

pytestmark = pytest.mark.slow

FINETUNE = "finetune_food101_rexnet_x1.0"
CANVAS = {"ssdlite": None, "mask_rcnn": (320, 416), FINETUNE: None}


def options(config):
    return Options(CONFIGS / f"{config}.py", cfg_options=SMALL, demo=config != FINETUNE)


@pytest.fixture(scope="module")
def pictures(demo_data, tmp_path_factory):
    """Two generated pictures, of the shape that the canvas has."""
    folder = tmp_path_factory.mktemp("pictures")
    for path in sorted((demo_data / "val2017").iterdir())[:2]:
        Image.open(path).resize((416, 320)).save(folder / f"{path.stem}.png")
    return folder


@pytest.fixture(scope="module")
def files(randomise, pictures, tmp_path_factory):
    """Folder with a checkpoint and an ONNX file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(1)
    for config, canvas in CANVAS.items():
        model = randomise(build_detector(small_config(config, demo=config != FINETUNE)))
        if config == "ssdlite":
            for conv in model.bbox_head.cls_convs:
                torch.nn.init.normal_(conv[-1].weight)
        torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / f"{config}.pth")
        export(options(config), folder / f"{config}.pth", folder / f"{config}.onnx", pictures=pictures, canvas=canvas)
    return folder


def found_in(folder):
    """Detections by picture, best first, and the lists of images and categories."""
    described = json.loads((folder / "images.json").read_text())
    found = json.loads((folder / "predictions.json").read_text())
    return sorted(found, key=lambda one: (one["image_id"], -one["score"])), described


@pytest.mark.parametrize("config", ["ssdlite", "mask_rcnn"])
def test_it_finds_what_the_checkpoint_finds(config, files, pictures, tmp_path):
    at = {"score_threshold": 0.1}
    size = () if config == "ssdlite" else ("image_scale=(416, 320)",)  # as the canvas
    by_config = Options(CONFIGS / f"{config}.py", cfg_options=(*SMALL, *size), demo=True)
    expected = predict(by_config, files / f"{config}.pth", [pictures], tmp_path / "checkpoint", **at)
    found = predict_exported(files / f"{config}.onnx", [pictures], tmp_path / "file", **at)
    assert found.pictures == expected.pictures == 2 and found.detections == expected.detections > 20
    theirs, described = found_in(tmp_path / "checkpoint")
    ours, named = found_in(tmp_path / "file")
    assert named == described
    np.testing.assert_allclose([one["score"] for one in ours], [one["score"] for one in theirs], atol=1e-3)
    middle = np.median([one["score"] for one in theirs])  # the lowest may be cut off at another place
    for expected in (one for one in theirs if one["score"] > middle):
        same = [one for one in ours if all(one[key] == expected[key] for key in ("image_id", "category_id"))]
        assert min(np.abs(np.subtract(one["bbox"], expected["bbox"])).max() for one in same) < 0.1
    assert ("segmentation" in ours[0]) == (config == "mask_rcnn")
    for picture in sorted(pictures.iterdir()):
        drawn = [np.asarray(Image.open(tmp_path / folder / picture.name)) for folder in ("checkpoint", "file")]
        assert drawn[0].shape == drawn[1].shape == (320, 416, 3)


def test_the_tool_takes_a_file_in_place_of_config_and_checkpoint_and_videos_too(files, pictures, tmp_path):
    video = tmp_path / "video.mp4"
    make_video(video, noise(3))
    run = call_tool("predict.py", files / "ssdlite.onnx", pictures, video, "--out", tmp_path / "out", "--frames", "2")
    assert run.returncode == 0 and run.stderr == "", run.stderr
    assert "2 pictures and 2 frames" in run.stdout
    assert list((tmp_path / "out").rglob("video.mp4"))
    _, described = found_in(tmp_path / "out")
    assert [one.get("frame_id") for one in described["images"]] == [None, None, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{f}/ssdlite.onnx",), "CHECKPOINT"),
        (("{c}", "{f}/ssdlite.onnx", "{p}"), "leave that out"),
        (("{c}", "{f}/ssdlite.pth"), "SOURCE"),
        (("{f}/ssdlite.onnx", "{p}", "--demo"), "--demo"),
        (("{f}/ssdlite.onnx", "{p}", "--batch-size", "3"), "--batch-size"),
        (("{f}/ssdlite.onnx", "{p}", "--cfg-options", "a=1"), "--cfg-options"),
        (("{f}/ssdlite.onnx", "{p}", "--precision", "fp16"), "--precision"),
        (("{f}/absent.onnx", "{p}"), "No such exported file"),
        (("{f}/ssdlite.onnx", "{f}/none"), "No such picture"),
        ((f"{{f}}/{FINETUNE}.onnx", "{p}"), "holds a classifier"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(arguments, message, files, pictures, tmp_path):
    names = {"f": files, "c": CONFIGS / "ssdlite.py", "p": pictures}
    run = call_tool("predict.py", *(text.format(**names) for text in arguments), "--out", tmp_path / "out")
    assert run.returncode != 0 and message in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_that_does_not_say_how_it_is_used_is_refused(files, tmp_path):
    model = onnx.load(files / "ssdlite.onnx")
    kept = [entry for entry in model.metadata_props if entry.key != "classes"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(UserError, match=r"bare\.onnx does not say how it is used \(classes: .*export it again"):
        ExportedDetector(tmp_path / "bare.onnx")


def test_a_file_without_its_runtime_or_that_cannot_run_here_is_refused(tmp_path):
    (tmp_path / "x.mlpackage").mkdir()
    with pytest.raises(UserError, match="cannot be run here: Core ML runs on Apple"):
        ExportedDetector(tmp_path / "x.mlpackage")
    with pytest.raises(UserError, match=r"no exported file by its ending: expected one of \.onnx"):
        ExportedDetector(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["openvino", "ncnn"])
def test_other_formats_find_the_same(name, files, pictures, tmp_path):
    row = FORMATS[name]
    if row.missing():
        pytest.skip(f"{row.title}: {', '.join(row.missing())} not installed")
    out = tmp_path / f"model{row.ending}"
    export(options("ssdlite"), files / "ssdlite.pth", out, pictures=pictures)
    expected = predict_exported(files / "ssdlite.onnx", [pictures], tmp_path / "a", score_threshold=0.3)
    found = predict_exported(out, [pictures], tmp_path / "b", score_threshold=0.3)
    assert found.detections == expected.detections
    scores = [[one["score"] for one in found_in(tmp_path / folder)[0]] for folder in ("a", "b")]
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_a_file_that_takes_several_pictures_finds_the_same(files, pictures, tmp_path):
    export(options("ssdlite"), files / "ssdlite.pth", tmp_path / "two.onnx", pictures=pictures, batch=2)
    shutil.copytree(pictures, tmp_path / "three")
    shutil.copyfile(next(pictures.iterdir()), tmp_path / "three/z.png")
    at = {"score_threshold": 0.3}
    expected = predict_exported(files / "ssdlite.onnx", [tmp_path / "three"], tmp_path / "a", **at)
    found = predict_exported(tmp_path / "two.onnx", [tmp_path / "three"], tmp_path / "b", **at)
    assert found.detections == expected.detections and found.pictures == 3
    scores = [[one["score"] for one in found_in(tmp_path / folder)[0]] for folder in ("a", "b")]
    np.testing.assert_allclose(*scores, atol=1e-3)
