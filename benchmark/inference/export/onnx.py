"""SSDLite as an ONNX file, which gets its name only after onnxruntime has given PyTorch's results on real pictures."""

import importlib.util
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.config import Config

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import config_name
from benchmark.inference.export.checked import (
    TOLERANCE,
    DecodedSSDLite,
    Exported,
    Run,
    fused,
    prepare,
    read_config,
    write_checked,
)

if TYPE_CHECKING:
    from onnx import ModelProto

_FIRST_OPSET = 18  # the lowest that PyTorch's exporter writes
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")

# ONNX's operator works on (1, classes, A); what it picks are rows of (image, class, anchor).
_NMS = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
nms (float[1, {anchors}, 4] all_boxes, float[1, {anchors}, {classes}] all_scores)
    => (float[N, 4] detection_boxes, float[N] detection_scores, int64[N] detection_labels)
<int64[1] limit = {{{limit}}}, float[1] iou = {{{iou}}}, float[1] threshold = {{{threshold}}},
 float min_side = {{{min_side}}}, int64 class_column = {{1}}, int64 anchor_column = {{2}},
 int64[1] first_axis = {{0}}, int64[1] last_axis = {{-1}}>
{{
    top_left, bottom_right = Split <axis = 2, num_outputs = 2> (all_boxes)
    sides = Sub(bottom_right, top_left)
    long_enough = Greater(sides, min_side)
    long_enough_01 = Cast <to = 1> (long_enough)
    real = ReduceMin(long_enough_01, last_axis)
    scores = Mul(all_scores, real)
    scores_by_class = Transpose <perm = [0, 2, 1]> (scores)
    picked = NonMaxSuppression(all_boxes, scores_by_class, limit, iou, threshold)
    picked_scores = GatherND(scores_by_class, picked)
    count = Shape(picked_scores)
    kept = Min(count, limit)
    detection_scores, order = TopK(picked_scores, kept)
    labels = Gather <axis = 1> (picked, class_column)
    detection_labels = Gather(labels, order)
    anchors = Gather <axis = 1> (picked, anchor_column)
    kept_anchors = Gather(anchors, order)
    boxes_of_image = Squeeze(all_boxes, first_axis)
    detection_boxes = Gather(boxes_of_image, kept_anchors)
}}
"""


def export(
    options: Options,
    checkpoint: Path,
    out: Path,
    *,
    pictures: Path | None = None,
    opset: int = _FIRST_OPSET,
    nms: bool = False,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a checkpoint's SSDLite to an ONNX file once onnxruntime gives PyTorch's boxes and scores on pictures.

    The input ``image`` is (1, 3, H, W) float32 RGB in 0..255; normalisation is part of the model. The outputs are
    ``boxes`` (1, A, 4), xyxy in pixels of the input, and ``scores`` (1, A, classes), for every anchor; or, with NMS,
    ``detection_boxes`` (N, 4), ``detection_scores`` (N,) and ``detection_labels`` (N,), best first. The model's
    metadata say how to prepare a picture, and name the classes.

    Args:
        options: which config.
        checkpoint: a .pth file of a run.
        out: the file to write; if the check fails, what was there stays.
        pictures: a picture or a folder to check on; default the first 8 of the config's validation pictures.
        opset: version of ONNX's operators.
        nms: end in ONNX's NonMaxSuppression with the settings of ``test_cfg``, but for ``nms_pre``: all anchors
            above the score threshold take part.
        tolerance: largest difference allowed, of boxes in pixels of the input and of scores.

    Raises:
        UserError: not an SSDLite config, a missing package, pictures that cannot be read, or results that differ by
            more than the tolerance.
    """
    cfg = read_config(options)
    _check_supported(cfg, opset, nms)
    source = prepare(cfg, checkpoint, out, pictures)
    raw = to_onnx(fused(source.decoded), opset)
    final = append_nms(raw, source.decoded.detector.test_cfg) if nms else None
    model, run, run_final = final or raw, session(raw), final and session(final)
    _describe(model, cfg, source.decoded)
    return write_checked(
        source,
        out,
        model.SerializeToString(),
        run,
        run_final=run_final,
        kind=f"ONNX, opset {opset}",
        runtime="onnxruntime",
        tolerance=tolerance,
    )


def to_onnx(decoded: DecodedSSDLite, opset: int) -> "ModelProto":
    """Return the ONNX model with input ``image`` and outputs ``boxes`` and ``scores``.

    Raises:
        UserError: PyTorch cannot export it, or not at this opset.
    """
    import onnx

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the backbone's hooks keep its maps, which the exporter takes note of
            program = torch.onnx.export(
                decoded,
                (decoded.example,),
                dynamo=True,
                opset_version=opset,
                input_names=["image"],
                output_names=["boxes", "scores"],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"PyTorch cannot export this model at opset {opset}: {reason}") from error
    assert program is not None  # as always with dynamo
    model = program.model_proto
    if (written := model.opset_import[0].version) != opset:
        raise UserError(f"PyTorch wrote opset {written} instead of {opset}: give --opset {written}.")
    for node in model.graph.node:
        del node.metadata_props[:]  # source lines and paths of this machine
    onnx.checker.check_model(model)
    return model


def append_nms(raw: "ModelProto", test_cfg: dict) -> "ModelProto":
    """Return the model followed by ONNX's NonMaxSuppression; its outputs are those that ``export`` names.

    Args:
        raw: a model of ``to_onnx``.
        test_cfg: the detector's ``score_thr``, ``nms``, ``max_per_img`` and ``min_bbox_size``.
    """
    import onnx

    _, anchors, classes = (size.dim_value for size in raw.graph.output[1].type.tensor_type.shape.dim)
    text = _NMS.format(
        ir_version=raw.ir_version,
        opset=raw.opset_import[0].version,
        anchors=anchors,
        classes=classes,
        limit=test_cfg["max_per_img"],
        iou=float(test_cfg["nms"]["iou_threshold"]),
        threshold=float(test_cfg["score_thr"]),
        min_side=float(test_cfg.get("min_bbox_size", -1)),
    )
    ending = onnx.compose.add_prefix(onnx.parser.parse_model(text), "nms_", rename_outputs=False)
    merged = onnx.compose.merge_models(raw, ending, io_map=[("boxes", "nms_all_boxes"), ("scores", "nms_all_scores")])
    onnx.checker.check_model(merged)
    return merged


def _check_supported(cfg: Config, opset: int, nms: bool) -> None:
    if opset < _FIRST_OPSET:
        raise UserError(f"--opset {opset} is not supported: PyTorch's exporter writes {_FIRST_OPSET} and above.")
    kind = cfg.model.test_cfg.nms.type
    if nms and kind != "nms":
        raise UserError(f"ONNX has no operator for the config's NMS of type {kind!r}: leave --nms out.")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if not missing and opset > (newest := importlib.import_module("onnx").defs.onnx_opset_version()):
        raise UserError(f"--opset {opset} is not known to the installed onnx: its newest is {newest}.")
    if missing:
        raise UserError(
            f"Exporting needs {', '.join(missing)}, which are not installed: pip install 'rexnet-benchmark[export]'."
        )


def session(model: "ModelProto") -> Run:
    """Return a function that runs the model in onnxruntime."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common class
        raise UserError(f"onnxruntime cannot run the exported model: {error}") from error
    return lambda image: [torch.from_numpy(found) for found in session.run(None, {"image": image.numpy()})]


def _describe(model: "ModelProto", cfg: Config, decoded: DecodedSSDLite) -> None:
    """Write into the model's metadata what its user must know."""
    import onnx

    normalisation, (height, width) = decoded.detector.data_preprocessor, decoded.size
    head = decoded.detector.bbox_head
    facts = {
        "config": config_name(cfg),
        "backbone": cfg.model.backbone.name,
        "classes": list(cfg.val_dataloader.dataset.metainfo.classes),
        "input": "float32, RGB, 0..255; mean and std are applied by the model",
        "input_height": height,
        "input_width": width,
        "resize": "to the input's size without keeping the aspect ratio, bilinear",
        "mean": normalisation.mean.flatten().tolist(),
        "std": normalisation.std.flatten().tolist(),
        "boxes": "x1, y1, x2, y2 in pixels of the input",
        "scores": "sigmoid" if head.use_sigmoid_cls else "softmax, background left out",
        "test_cfg": {key: decoded.detector.test_cfg[key] for key in ("score_thr", "nms", "max_per_img")},
    }
    onnx.helper.set_model_props(
        model, {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    )
