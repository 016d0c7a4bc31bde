"""PyTorch's models as ONNX graphs."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx
import torch

from backbones.errors import UserError
from benchmark.inference.export.exportable import Exportable
from benchmark.inference.export.preparation import Preparation

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

# A picture as it is decoded becomes the network's input; ``factors`` are those of its width, height, width, height.
_PREPARATION = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
preparation (uint8[H, W, 3] picture) => ({outputs})
<int64[1] first_axis = {{0}}, int64[2] height_first = {{0, 1}}, int64[2] one_and_colours = {{1, 3}},
 int64[2] rows_and_columns = {{2, 3}}, int64[2] lengths = {{{height}, {width}}},
 double half = {{0.5}}, int64[4] twice = {{1, 0, 1, 0}}{constants}>
{{
    planes = Transpose <perm = [2, 0, 1]> (picture)
    one = Unsqueeze(planes, first_axis)
    whole_shape = Shape(picture)
    sides = Gather(whole_shape, height_first)
    sides_double = Cast <to = 11> (sides)
    lengths_double = Cast <to = 11> (lengths)
{steps}
}}
"""
_RESIZE = """
    four = Concat <axis = 0> (one_and_colours, {sizes})
{resize}
    sizes_double = Cast <to = 11> ({sizes})
    factors_double = Div(sizes_double, sides_double)
    factors_two = Cast <to = 1> (factors_double)
    factors = Gather(factors_two, twice)
"""
_HALVES = 'coordinate_transformation_mode = "half_pixel"'
# Whole grey levels, as OpenCV gives; it does not smooth.
_LIKE_OPENCV = f"""
    one_float = Cast <to = 1> (one)
    resized_float = Resize <mode = "linear", {_HALVES}> (one_float, , , four)
    resized = Round(resized_float)
"""
# On whole numbers onnxruntime rounds after each of the two directions, as Pillow does.
_LIKE_PILLOW = f"""
    resized_uint8 = Resize <{{mode}}, {_HALVES}, antialias = 1, exclude_outside = 1> (one, , , four)
    resized = Cast <to = 1> (resized_uint8)
"""
_MODES = {"bilinear": 'mode = "linear"', "bicubic": 'mode = "cubic", cubic_coeff_a = -0.5'}
_STEPS = {
    "stretch": f"{_RESIZE.format(sizes='lengths', resize=_LIKE_OPENCV)}    image = Identity(resized)",
    # As torchvision's Resize and CenterCrop do with Pillow's pictures.
    "crop": """
    least = ReduceMin(sides_double)
    ratio = Div(sides_double, least)
    exact = Mul(ratio, side_double)
    lower = Floor(exact)
    scaled_kept = Cast <to = 7> (lower)
    scaled = {scaled}
"""
    + _RESIZE.format(sizes="scaled", resize=_LIKE_PILLOW)
    + """
    beyond = Sub(scaled, lengths)
    beyond_double = Cast <to = 11> (beyond)
    margin_exact = Mul(beyond_double, half)
    margin_round = Round(margin_exact)
    begin = Cast <to = 7> (margin_round)
    end = Add(begin, lengths)
    image = Slice(resized, begin, end, rows_and_columns)
""",
}


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


def prepend_preparation(raw: "ModelProto", preparation: Preparation) -> "ModelProto":
    """Return a model that takes ``picture`` (H, W, 3), uint8 RGB of any size, and gives boxes in pixels of it.

    Args:
        raw: a model of ``to_onnx``, or one that ends in NMS.
        preparation: how its pictures get the size of its input.
    """
    beginning = onnx.parser.parse_model(_preparation_text(raw, preparation))
    beginning = onnx.compose.add_prefix(beginning, "prepare_", rename_inputs=False)
    ending = onnx.compose.add_prefix(_in_pixels(raw), "give_", rename_outputs=False)
    inner = onnx.compose.add_prefix(raw, "net_")
    pairs = [(f"prepare_{one.name}", f"net_{one.name}") for one in raw.graph.input]
    names = [one.name for one in raw.graph.output]
    kept = ["prepare_factors", *(f"net_{name}" for name in names)]
    merged = onnx.compose.merge_models(beginning, inner, io_map=pairs, outputs=kept)
    pairs = [("prepare_factors", "give_factors"), *((f"net_{name}", f"give_{name}_of_net") for name in names)]
    whole = onnx.compose.merge_models(merged, ending, io_map=pairs)
    onnx.checker.check_model(whole)
    return whole


def _preparation_text(raw: "ModelProto", preparation: Preparation) -> str:
    sizes = {one.name: [side.dim_value for side in one.type.tensor_type.shape.dim] for one in raw.graph.input}
    outputs = "".join(f"float{list(shape)} {name}, " for name, shape in sizes.items())
    constants = ""
    steps = _STEPS[preparation.how]
    if preparation.how == "crop":
        constants += f", double side_double = {{{preparation.resize}}}"
        constants += f", int64[2] both_sides = {{{preparation.resize}, {preparation.resize}}}"
        scaled = "both_sides" if preparation.squash else "scaled_kept"
        steps = steps.format(scaled=f"Identity({scaled})", mode=_MODES[preparation.interpolation])
    return _PREPARATION.format(
        ir_version=raw.ir_version,
        opset=raw.opset_import[0].version,
        outputs=f"{outputs}float[4] factors",
        height=preparation.height,
        width=preparation.width,
        constants=constants,
        steps=steps,
    )


def _in_pixels(raw: "ModelProto") -> "ModelProto":
    """Return a model that divides a model's boxes by ``factors`` (4,), and hands on its other outputs."""
    from onnx import helper

    nodes, inputs = [], [helper.make_tensor_value_info("factors", onnx.TensorProto.FLOAT, [4])]
    for output in raw.graph.output:
        own = onnx.ValueInfoProto()
        own.CopyFrom(output)
        own.name = f"{output.name}_of_net"
        inputs.append(own)
        is_boxes = output.name in ("boxes", "detection_boxes")
        given = [own.name, "factors"] if is_boxes else [own.name]
        nodes.append(helper.make_node("Div" if is_boxes else "Identity", given, [output.name]))
    graph = helper.make_graph(nodes, "ending", inputs, list(raw.graph.output))
    return helper.make_model(graph, opset_imports=list(raw.opset_import), ir_version=raw.ir_version)
