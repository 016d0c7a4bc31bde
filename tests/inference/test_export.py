"""The ONNX export: onnxruntime gives the detector's boxes and scores, and a file that would not is never written."""

import dataclasses
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import REPOSITORY, SMALL, build_detector, call_tool, small_config
from PIL import Image
from torch import nn
from torchvision.ops import box_iou

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.inference.export import checked
from benchmark.inference.export import onnx as module
from benchmark.inference.export.checked import compare, export
from benchmark.inference.export.differences import MISSED, Detections, Differences, match_detections
from benchmark.inference.export.formats import FORMATS, Format, find_format
from benchmark.inference.export.single_stage import DecodedSSDLite, select
from benchmark.inference.export.to_onnx import append_nms, to_onnx
from benchmark.inference.predict import Pictures
from benchmark.inference.sources import find_pictures
from benchmark.tasks import TASKS

pytestmark = pytest.mark.slow

CONFIG = CONFIGS / "ssdlite_mobilenet_v3_large.py"
TOLERANCE = 1e-3
FOCAL = "model.bbox_head.loss_cls={'type': 'SigmoidFocalClassificationLoss', '_delete_': True}"


def confident(detector, randomise):
    """Give random weights scores and boxes as different from one another as a trained detector's."""
    randomise(detector)
    torch.manual_seed(1)
    for convs, std in ((detector.bbox_head.cls_convs, 1.0), (detector.bbox_head.reg_convs, 0.1)):
        for conv in convs:
            torch.nn.init.normal_(conv[-1].weight, std=std)
    return detector.eval()


@pytest.fixture(scope="module")
def pictures(request, tmp_path_factory):
    """Folder of three pictures, real ones where there are some."""
    try:
        found = find_pictures(request.getfixturevalue("coco_mini") / "val2017")
    except pytest.skip.Exception:
        found = find_pictures(request.getfixturevalue("demo_data") / "val2017")
    folder = tmp_path_factory.mktemp("pictures")
    for path in found[:3]:
        (folder / path.name).symlink_to(path.resolve())
    return folder


@pytest.fixture(scope="module")
def detector(randomise):
    return confident(build_detector(small_config()), randomise)


@pytest.fixture(scope="module")
def checkpoint(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "x.pth"
    torch.save({"state_dict": detector.state_dict(), "meta": {}}, path)
    return path


@pytest.fixture(scope="module")
def samples(pictures):
    read = Pictures(find_pictures(pictures), small_config().val_dataloader.dataset.pipeline)
    return [read[index] for index in range(len(read))]


def checks(decoded, samples):
    return [(decoded.inputs(sample), decoded.reference(sample)) for sample in samples]


def session(model, folder):
    model_path = folder / "model.onnx"
    model_path.write_bytes(model.SerializeToString())
    return module.load(model_path)


@pytest.fixture(scope="module")
def raw(detector):
    return to_onnx(DecodedSSDLite(detector, (320, 320)).eval(), 18)


@pytest.fixture(scope="module")
def file(checkpoint, pictures, tmp_path_factory):
    """The tool's output with NMS."""
    out = tmp_path_factory.mktemp("export") / "new" / "model.onnx"
    run = call_tool(
        "export.py", CONFIG, checkpoint, "--out", out, "--nms", "--pictures", pictures, "--cfg-options", *SMALL
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert "opset 18" in run.stdout
    assert "3 pictures" in run.stdout
    return out


def test_the_tool_writes_the_detectors_own_detections(file, detector, samples):
    """The file alone, fed with RGB pictures, against the detector's ``predict`` with MMDetection's NMS."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [(given.name, given.shape) for given in session.get_inputs()] == [("image", [1, 3, 320, 320])]
    found_any = 0
    for sample in samples:
        rgb = sample["inputs"].numpy()[None, ::-1].astype(np.float32)
        boxes, scores, labels = session.run(["detection_boxes", "detection_scores", "detection_labels"], {"image": rgb})
        data = detector.data_preprocessor({"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]})
        head, limit = detector.bbox_head, dict(detector.test_cfg, nms_pre=10**6)  # ONNX's operator has no such limit
        with torch.no_grad():
            maps = detector.extract_feat(data["inputs"])
            kept = head.predict_by_feat(
                *head(maps), batch_img_metas=[sample["data_samples"].metainfo], cfg=type(detector.test_cfg)(limit)
            )[0]
        assert labels.tolist() == kept.labels.tolist()
        np.testing.assert_allclose(boxes, kept.bboxes, atol=TOLERANCE)
        np.testing.assert_allclose(scores, kept.scores, atol=TOLERANCE)
        found_any += len(labels)
    assert found_any > 30


def test_the_file_says_how_to_use_it(file):
    model = onnx.load(file)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["classes"])[79] == "toothbrush"
    assert json.loads(facts["mean"]) == pytest.approx([123.675, 116.28, 103.53])
    assert (facts["config"], facts["input_height"]) == ("ssdlite_mobilenet_v3_small", "320")
    assert "RGB" in facts["input"]
    assert str(REPOSITORY).encode() not in file.read_bytes()


def test_rexnet_with_sigmoid_scores_at_another_opset(randomise, samples, tmp_path):
    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", options=[FOCAL], pretrained="none")
    complete_model(cfg)
    decoded = DecodedSSDLite(confident(build_detector(cfg), randomise), (320, 320)).eval()
    found = compare(decoded, checks(decoded, samples[:1]), session(to_onnx(decoded, 20), tmp_path))
    assert found.within(decoded.tolerance)


def test_reparameterised_branches_are_merged_in_the_file(randomise, pictures, tmp_path):
    options = Options(CONFIGS / "ssdlite.py", backbone="lcnet_v2_small")
    cfg = load_config(options.config, backbone=options.backbone, pretrained="none")
    complete_model(cfg)
    detector = confident(build_detector(cfg), randomise)
    torch.save({"state_dict": detector.state_dict(), "meta": {}}, tmp_path / "x.pth")
    export(options, tmp_path / "x.pth", tmp_path / "x.onnx", pictures=pictures)
    layers = sum(node.op_type == "Conv" for node in onnx.load(tmp_path / "x.onnx").graph.node)
    assert layers < count_convolutions(detector)
    detector.backbone.fuse()
    assert layers == count_convolutions(detector)


def count_convolutions(model: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d) for module in model.modules())


def test_a_changed_weight_fails_the_comparison(raw, samples, randomise, tmp_path):
    detector = confident(build_detector(small_config()), randomise)
    decoded, run = DecodedSSDLite(detector, (320, 320)).eval(), session(raw, tmp_path)
    assert compare(decoded, checks(decoded, samples), run).within(decoded.tolerance)
    with torch.no_grad():
        detector.bbox_head.reg_convs[0][-1].bias[0] += 0.01  # a fraction of a pixel
    moved = compare(decoded, checks(decoded, samples), run)
    assert moved.boxes > decoded.tolerance.boxes and moved.scores < decoded.tolerance.scores


def test_boxes_that_are_not_the_detectors_own_fail_the_comparison(raw, samples, randomise, tmp_path):
    detector = confident(build_detector(small_config()), randomise)
    decoded = DecodedSSDLite(detector, (320, 320)).eval()
    anchors = detector.bbox_head.prior_generator
    anchors.base_anchors = [level + 0.1 for level in anchors.base_anchors]
    detector.bbox_head._anchors.clear()
    found = compare(decoded, checks(decoded, samples), session(raw, tmp_path))
    assert found.boxes == pytest.approx(0.1, abs=0.02)


def test_another_nms_fails_the_comparison(detector, raw, samples, tmp_path):
    decoded = DecodedSSDLite(detector, (320, 320)).eval()
    pairs = checks(decoded, samples)
    assert compare(decoded, pairs, session(append_nms(raw, detector.test_cfg), tmp_path)).within(decoded.tolerance)
    other = {**detector.test_cfg, "nms": {"type": "nms", "iou_threshold": 0.7}}
    found = compare(decoded, pairs, session(append_nms(raw, other), tmp_path))
    assert not found.within(decoded.tolerance)


def test_a_model_that_differs_is_not_written(checkpoint, pictures, tmp_path, monkeypatch):
    def spoil(decoded):
        with torch.no_grad():
            for conv in decoded.detector.bbox_head.cls_convs:
                conv[-1].weight *= 1.01

    monkeypatch.setattr(DecodedSSDLite, "merge_branches", spoil)
    with pytest.raises(UserError, match=r"differ on 3 pictures .* in scores.*\n.*own float32") as caught:
        export(Options(CONFIG, cfg_options=SMALL), checkpoint, tmp_path / "model.onnx", pictures=pictures)
    assert list(tmp_path.iterdir()) == []
    found, own = (float(text) for text in re.findall(r"(\S+) in scores(?:,|;)", str(caught.value)))
    assert found > TOLERANCE > 10 * own > 0


DETECTIONS = Detections(
    torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10]]),
    torch.tensor([0.9, 0.8, 0.06]),
    torch.tensor([1, 1, 0]),
)
LIMITS = {"threshold": 0.05, "limit": 100, "allowed": Differences(0.05, 1e-3)}


def take(rows, **changes):
    parts = {name: getattr(DETECTIONS, name)[rows] for name in ("boxes", "scores", "labels")}
    return Detections(**{**parts, **changes})


def test_detections_are_matched_whatever_their_order():
    assert match_detections(take([2, 1, 0]), DETECTIONS, **LIMITS) == Differences()
    moved = take([2, 1, 0], boxes=DETECTIONS.boxes[[2, 1, 0]] + torch.tensor([[0.0], [0.25], [0.0]]))
    assert match_detections(moved, DETECTIONS, **LIMITS) == Differences(boxes=0.25)


@pytest.mark.parametrize(
    "found",
    [take([0, 1]), take([0, 2]), take([0, 1, 1, 2]), take([0, 1, 2], labels=torch.tensor([1, 0, 0]))],
    ids=["one is missing", "another is missing", "one too many", "another label"],
)
def test_a_detection_of_one_side_alone_is_a_difference(found):
    assert match_detections(found, DETECTIONS, **LIMITS) == MISSED


def test_a_detection_at_the_threshold_may_be_missing():
    low = take([0, 1, 2], scores=torch.tensor([0.9, 0.8, 0.0505]))
    assert match_detections(take([0, 1]), low, **LIMITS) == Differences()


def test_scores_that_are_no_numbers_are_a_difference():
    broken = take([0, 1, 2], scores=torch.tensor([0.9, float("nan"), 0.06]))
    assert not match_detections(broken, DETECTIONS, **LIMITS).within(Differences(1, 1))


def test_nms_by_brute_force():
    generator = torch.Generator().manual_seed(0)
    corners = 20 * torch.rand(40, 2, 2, generator=generator)
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    boxes[0, 2] = boxes[0, 0]  # no width
    scores = torch.rand(40, 3, generator=generator)
    settings = {"score_thr": 0.3, "nms": {"type": "nms", "iou_threshold": 0.4}, "max_per_img": 12, "min_bbox_size": 0}
    kept = []
    for score, anchor, label in sorted(
        ((float(scores[a, c]), a, c) for a in range(1, 40) for c in range(3) if scores[a, c] > 0.3), reverse=True
    ):
        if all(box_iou(boxes[[anchor]], boxes[[a]]) <= 0.4 for _, a, c in kept if c == label):
            kept.append((score, anchor, label))
    found_boxes, found_scores, found_labels = select(boxes, scores, settings)
    assert len(kept) > 12
    assert found_scores.tolist() == pytest.approx([score for score, _, _ in kept[:12]])
    assert found_labels.tolist() == [label for _, _, label in kept[:12]]
    torch.testing.assert_close(found_boxes, boxes[[anchor for _, anchor, _ in kept[:12]]])


def test_a_task_that_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "finegrained", dataclasses.replace(TASKS["finegrained"], can=frozenset()))
    with pytest.raises(UserError, match="not supported"):
        export(Options(CONFIGS / "finetune_food101_rexnet_x1.0.py"), tmp_path / "absent.pth", tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opset": 17}, "writes 18 and above"),
        ({"nms": True, "cfg_options": ("model.test_cfg.nms.type=soft_nms",)}, "no operator"),
        ({"data_root": "nowhere"}, "Give --pictures"),
        ({"pictures": "nowhere"}, "No such picture"),
        ({"canvas": (320, 320)}, "for two-stage detectors"),
    ],
)
def test_mistakes_are_named_before_a_model_is_built(change, message, tmp_path):
    options = Options(CONFIG, cfg_options=change.pop("cfg_options", ()), data_root=change.pop("data_root", None))
    if "pictures" in change:
        change["pictures"] = tmp_path / change["pictures"]
    with pytest.raises(UserError, match=message):
        export(options, tmp_path / "absent.pth", tmp_path / "x.onnx", **change)


def test_the_ending_says_the_format():
    assert find_format(Path("x.onnx"), {"opset", "nms"}) is FORMATS["onnx"]
    with pytest.raises(UserError, match=r"x\.pb: the ending says the format, expected one of \.onnx.*, found '\.pb'"):
        find_format(Path("x.pb"), set())


def test_an_option_of_another_format_is_refused(monkeypatch):
    toy = Format(ending=".toy", module="onnx", title="Toy", runtime="toy", packages=(), extra="toy")
    monkeypatch.setitem(FORMATS, "toy", toy)
    assert find_format(Path("x.toy"), set()) is toy
    with pytest.raises(UserError, match=r"--nms is no option of \.toy files"):
        find_format(Path("x.toy"), {"nms"})


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "onnxscript", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(UserError, match=r"need onnxscript.*rexnet-benchmark\[export\]"):
        export(Options(CONFIG), tmp_path / "absent.pth", tmp_path / "x.onnx")


def test_a_damaged_picture_stops_the_check(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(checked, "convert", lambda row, conversion, out, **chosen: out)
    monkeypatch.setattr(module, "load", lambda path, threads: None)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    with pytest.raises(UserError, match=r"b\.png cannot be read"):
        export(Options(CONFIG, cfg_options=SMALL), checkpoint, tmp_path / "model.onnx", pictures=tmp_path)
    assert not (tmp_path / "model.onnx").exists()
