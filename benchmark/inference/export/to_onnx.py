"""PyTorch's models as ONNX graphs."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx
import torch

from backbones.errors import UserError
from benchmark.inference.export.exportable import Exportable

if TYPE_CHECKING:
    from onnx import ModelProto

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


def to_onnx(model: Exportable, opset: int) -> "ModelProto":
    """Return the ONNX model with the inputs and outputs that the model names.

    Raises:
        UserError: PyTorch cannot export it, or not at this opset.
    """
    example = model.example
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the backbone's hooks keep its maps, which the exporter takes note of
            program = torch.onnx.export(
                model,
                tuple(example.values()),
                dynamo=True,
                opset_version=opset,
                input_names=list(example),
                output_names=list(model.outputs),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"PyTorch cannot export this model at opset {opset}: {reason}") from error
    assert program is not None  # as always with dynamo
    proto = program.model_proto
    if (written := proto.opset_import[0].version) != opset:
        raise UserError(f"PyTorch wrote opset {written} instead of {opset}: give --opset {written}.")
    for node in proto.graph.node:
        del node.metadata_props[:]  # source lines and paths of this machine
    onnx.checker.check_model(proto)
    return proto


def append_nms(raw: "ModelProto", test_cfg: Mapping[str, Any]) -> "ModelProto":
    """Return an SSDLite's model followed by ONNX's NonMaxSuppression.

    Its outputs are ``detection_boxes`` (N, 4), ``detection_scores`` (N,) and ``detection_labels`` (N,), best first.

    Args:
        raw: a model of ``to_onnx``.
        test_cfg: the detector's ``score_thr``, ``nms``, ``max_per_img`` and ``min_bbox_size``.
    """
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
