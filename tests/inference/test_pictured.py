"""ONNX files that take decoded pictures of any size: what the evaluation finds in them, in pixels of the picture."""

import numpy as np
import onnx
import pytest
import torch
from helpers import SMALL, build_detector, call_tool, small_config
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.inference.export.checked import export
from benchmark.inference.export.formats import FORMATS
from benchmark.inference.export.preparation import Preparation
from benchmark.inference.export.to_onnx import prepend_preparation
from benchmark.inference.predict import predict_exported

pytestmark = pytest.mark.slow

FINETUNE = "finetune_food101_rexnet_x1.0"
SIZES = [(640, 427), (333, 500), (320, 320), (97, 641)]


@pytest.fixture(scope="module")
def pictures(demo_data, tmp_path_factory):
    """Pictures of several sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    picture = Image.open(min((demo_data / "val2017").iterdir())).convert("RGB")
    for size in SIZES:
        picture.resize(size, Image.Resampling.BICUBIC).save(folder / f"{size[0]}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoints(randomise, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(1)
    for config in ("ssdlite", FINETUNE):
        model = randomise(build_detector(small_config(config, demo=config != FINETUNE)))
        if config == "ssdlite":
            for conv in model.bbox_head.cls_convs:
                torch.nn.init.normal_(conv[-1].weight)
        torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / f"{config}.pth")
    return folder


def options(config):
    return Options(CONFIGS / f"{config}.py", cfg_options=SMALL, demo=config != FINETUNE)


@pytest.mark.parametrize("config", ["ssdlite", FINETUNE])
def test_pictures_of_any_size_give_what_the_evaluation_finds(config, checkpoints, pictures, tmp_path):
    out = tmp_path / "x.onnx"
    found = export(options(config), checkpoints / f"{config}.pth", out, pictures=pictures, with_preprocessing=True)
    assert found.pictures == len(SIZES) and found.differences.within(found.allowed)
    row = FORMATS["onnx"].load_module()
    [(name, kind, shape)], _ = row.tensors(out)
    assert (name, kind, shape) == ("picture", "uint8", [-1, -1, 3])
    facts = row.facts(out)
    assert facts["preparation"]["how"] == "inside" and facts["inputs"].keys() == {"picture"}


@pytest.mark.parametrize("nms", [False, True])
def test_boxes_are_in_pixels_of_the_picture_and_predict_draws_them(nms, checkpoints, pictures, tmp_path):
    given = {"pictures": pictures, **({"nms": True} if nms else {})}
    export(options("ssdlite"), checkpoints / "ssdlite.pth", tmp_path / "bare.onnx", **given)
    export(options("ssdlite"), checkpoints / "ssdlite.pth", tmp_path / "whole.onnx", with_preprocessing=True, **given)
    expected, found = (
        predict_exported(tmp_path / f"{name}.onnx", [pictures], tmp_path / name, score_threshold=0.3)
        for name in ("bare", "whole")
    )
    assert found.detections == expected.detections > 50
    run = FORMATS["onnx"].load_module().load(tmp_path / "whole.onnx", 1)
    boxes = "detection_boxes" if nms else "boxes"
    right = [run({"picture": np.asarray(Image.open(pictures / f"{size[0]}.png"))})[boxes].max() for size in SIZES]
    assert right == pytest.approx([max(size) for size in SIZES], rel=0.02)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
# Not one that shrinks in one direction and grows in the other, where the order of the two counts.
@pytest.mark.parametrize("size", [(640, 427), (333, 501), (90, 101)])
def test_the_crop_is_torchvisions_to_a_grey_level(size, interpolation, squash, tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    network = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> net (float[1, 3, 96, 96] image) => (float[1, 3, 96, 96] logits) '
        "{ logits = Identity(image) }"
    )
    preparation = Preparation("crop", 96, 96, 110, interpolation, squash)
    (tmp_path / "x.onnx").write_bytes(prepend_preparation(network, preparation).SerializeToString())
    found = FORMATS["onnx"].load_module().load(tmp_path / "x.onnx", 1)({"picture": np.asarray(picture)})["logits"]
    crop = v2.Compose([v2.Resize((110, 110) if squash else 110, InterpolationMode(interpolation)), v2.CenterCrop(96)])
    expected = np.asarray(crop(picture)).transpose(2, 0, 1)[None].astype(float)
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01


@pytest.mark.parametrize(
    ("config", "ending", "more", "message"),
    [
        ("ssdlite", ".ncnn.param", (), "--with-preprocessing is no option of .ncnn.param files"),
        ("ssdlite", ".onnx", ("--batch", "2"), "leave --batch out"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(config, ending, more, message, checkpoints, pictures, tmp_path):
    arguments = [CONFIGS / f"{config}.py", checkpoints / f"{config}.pth", "--out", tmp_path / f"x{ending}", "--demo"]
    arguments += ["--pictures", pictures, "--with-preprocessing", *more, "--cfg-options", *SMALL]
    run = call_tool("export.py", *arguments)
    assert run.returncode != 0 and message in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_stage_detectors_are_refused_before_one_is_built(tmp_path, pictures):
    with pytest.raises(UserError, match="--with-preprocessing is for SSDLite and classifiers"):
        export(
            options("faster_rcnn"), tmp_path / "absent.pth", tmp_path / "x.onnx", pictures=pictures,
            with_preprocessing=True,
        )  # fmt: skip
