"""SSDLite as an ONNX file, which gets its name only after onnxruntime has given PyTorch's results on real pictures."""

import copy
import importlib.util
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torchvision.ops import nms

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import config_name, load_options
from benchmark.console import track_progress
from benchmark.files.atomic import write_atomically
from benchmark.inference.predict import Pictures, Unreadable, find_pictures, load_detector
from benchmark.tasks import TASKS, Ability

if TYPE_CHECKING:
    from onnx import ModelProto

TOLERANCE = 1e-3  # of boxes in pixels of the input, and of scores
_FIRST_OPSET = 18  # the lowest that PyTorch's exporter writes
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_CHECKED = 8  # validation pictures

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


@dataclass(frozen=True)
class Differences:
    """Largest absolute differences: of boxes in pixels of the input, and of scores."""

    boxes: float = 0.0
    scores: float = 0.0

    def __or__(self, other: "Differences") -> "Differences":
        """Return the larger of each; NaN is the largest."""
        return Differences(float(np.maximum(self.boxes, other.boxes)), float(np.maximum(self.scores, other.scores)))

    def __str__(self) -> str:
        return f"{self.boxes:.2g} px in boxes and {self.scores:.2g} in scores"

    def within(self, tolerance: float) -> bool:
        """Tell whether none is larger."""
        return self.boxes <= tolerance and self.scores <= tolerance


@dataclass(frozen=True)
class Exported:
    """An exported model: version of its operators, size in bytes, and on how many pictures it differs by how much."""

    opset: int
    size: int
    pictures: int
    differences: Differences


class DecodedSSDLite(nn.Module):
    """An SSDLite detector from an RGB picture to a box and scores for every anchor, as its own ``predict`` finds them.

    Args:
        detector: in eval mode, on the CPU.
        size: (height, width) of the pictures in pixels.
    """

    def __init__(self, detector: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.detector, self.size = detector, size
        with torch.no_grad():
            maps, _ = detector(torch.zeros(1, 3, *size), mode="tensor")
        priors = detector.bbox_head.prior_generator.grid_priors([level.shape[-2:] for level in maps], device="cpu")
        self.register_buffer("anchors", torch.cat(priors))  # (A, 4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (1, 3, H, W) RGB in 0..255 to xyxy boxes (1, A, 4) in pixels and scores (1, A, classes) in 0..1."""
        head, normalisation = self.detector.bbox_head, self.detector.data_preprocessor
        maps = self.detector.neck(self.detector.backbone((image - normalisation.mean) / normalisation.std))
        logits, deltas = head.flatten(*head(maps))
        scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[..., :-1]  # background is last
        boxes = head.bbox_coder.decode(self.anchors, deltas[0], max_shape=self.size)
        return boxes[None], scores


def export(
    options: Options,
    checkpoint: Path,
    out: Path,
    *,
    pictures: Path | None = None,
    opset: int = _FIRST_OPSET,
    with_nms: bool = False,
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
        with_nms: end in ONNX's NonMaxSuppression with the settings of ``test_cfg``, but for ``nms_pre``: all anchors
            above the score threshold take part.
        tolerance: largest difference allowed, of boxes in pixels of the input and of scores.

    Raises:
        UserError: not an SSDLite config, a missing package, pictures that cannot be read, or results that differ by
            more than the tolerance.
    """
    cfg = load_options(options)
    _check_supported(cfg, options.config, opset, with_nms)
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: give a file, such as {out / 'model.onnx'}.")
    paths = find_pictures(pictures) if pictures else _validation_pictures(cfg)
    pipeline = cfg.val_dataloader.dataset.pipeline
    detector = load_detector(cfg, checkpoint)
    width, height = next(step.scale for step in pipeline if step.type == "Resize")
    decoded = DecodedSSDLite(detector, (height, width)).eval()
    raw = to_onnx(fused(decoded), opset)
    final = append_nms(raw, detector.test_cfg) if with_nms else None
    read = Pictures(paths, pipeline)
    differences = compare(decoded, track_progress(_samples(read), "checking", total=len(paths)), raw, final)
    if not differences.within(tolerance):
        own = rounding(decoded, _samples(read))
        raise UserError(
            f"onnxruntime and PyTorch differ on {len(paths)} pictures by up to {differences}, {tolerance:g} is "
            f"allowed: {out} was not written.\nThe rounding of PyTorch's own float32 is {own}; if that explains it, "
            "give a larger --tolerance."
        )
    model = final or raw
    _describe(model, cfg, decoded)
    content = model.SerializeToString()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda temporary: temporary.write_bytes(content))
    return Exported(opset, len(content), len(paths), differences)


def to_onnx(decoded: DecodedSSDLite, opset: int) -> "ModelProto":
    """Return the ONNX model with input ``image`` and outputs ``boxes`` and ``scores``.

    Raises:
        UserError: PyTorch cannot export it, or not at this opset.
    """
    import onnx

    example = torch.zeros(1, 3, *decoded.size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the backbone's hooks keep its maps, which the exporter takes note of
            program = torch.onnx.export(
                decoded,
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=["image"],
                output_names=["boxes", "scores"],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"PyTorch cannot export this model at opset {opset}: {reason}") from error
    model = program.model_proto
    if (written := model.opset_import[0].version) != opset:
        raise UserError(f"PyTorch wrote opset {written} instead of {opset}: give --opset {written}.")
    for node in model.graph.node:
        del node.metadata_props[:]  # source lines and paths of this machine
    onnx.checker.check_model(model)
    return model


def fused(decoded: DecodedSSDLite) -> DecodedSSDLite:
    """Return a copy whose backbone has its re-parameterised branches merged."""
    merged = copy.deepcopy(decoded)
    merged.detector.backbone.fuse()
    return merged


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


def compare(
    decoded: DecodedSSDLite, samples: Iterable[dict], raw: "ModelProto", final: "ModelProto | None" = None
) -> Differences:
    """Run exported models beside PyTorch and return how far they are apart.

    Every box and score is compared with PyTorch's; each detection of the detector's own ``predict`` with the anchor
    that comes nearest; and what NonMaxSuppression keeps with what torchvision's keeps of the same boxes.

    Args:
        decoded: the detector that was exported.
        samples: pictures as the evaluation's transforms give them, ``inputs`` (3, H, W) BGR and ``data_samples``.
        raw: a model of ``to_onnx``.
        final: the same with NMS, if there is one.
    """
    differences, run, run_final = Differences(), _session(raw), final and _session(final)
    for sample in samples:
        image = sample["inputs"].flip(0)[None].float()  # BGR -> RGB
        boxes, scores = run(image)
        with torch.no_grad():
            expected = decoded(image)
        differences |= Differences(_largest(boxes, expected[0]), _largest(scores, expected[1]))
        differences |= _from_detections(boxes[0], scores[0], decoded.detector, sample)
        if run_final:
            differences |= _from_nms(run_final(image), select(boxes[0], scores[0], decoded.detector.test_cfg))
    return differences


def rounding(decoded: DecodedSSDLite, samples: Iterable[dict]) -> Differences:
    """Return how far PyTorch's own boxes and scores in float32 are from those of a network in float64."""
    differences, precise = Differences(), copy.deepcopy(decoded).double()
    for sample in samples:
        image = sample["inputs"].flip(0)[None].float()  # BGR -> RGB
        with torch.no_grad():
            (boxes, scores), expected = decoded(image), precise(image.double())
        differences |= Differences(_largest(boxes, expected[0]), _largest(scores, expected[1]))
    return differences


def select(boxes: Tensor, scores: Tensor, test_cfg: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress non-maxima class by class with torchvision's kernel.

    Args:
        boxes: (A, 4) xyxy.
        scores: (A, classes).
        test_cfg: as in ``append_nms``.

    Returns:
        Boxes (N, 4), scores (N,) and labels (N,) of the detections kept, best first.
    """
    real = (boxes[:, 2:] - boxes[:, :2] > test_cfg.get("min_bbox_size", -1)).all(dim=1)
    iou = float(np.float32(test_cfg["nms"]["iou_threshold"]))
    anchors, labels = [], []
    for label, own in enumerate(scores.T):
        candidates = (real & (own > test_cfg["score_thr"])).nonzero().flatten()
        kept = candidates[nms(boxes[candidates], own[candidates], iou)]
        anchors.append(kept)
        labels.append(torch.full_like(kept, label))
    anchors, labels = torch.cat(anchors), torch.cat(labels)
    best = scores[anchors, labels].argsort(descending=True, stable=True)[: test_cfg["max_per_img"]]
    anchors, labels = anchors[best], labels[best]
    return boxes[anchors], scores[anchors, labels], labels


def _check_supported(cfg: Config, path: Path, opset: int, with_nms: bool) -> None:
    if Ability.EXPORT not in TASKS[cfg.task].can:
        known = ", ".join(f"{task.title}'s" for task in TASKS.values() if Ability.EXPORT in task.can)
        raise UserError(f"Exporting a {cfg.task} model is not supported, only {known}; {path} is a {cfg.task} config.")
    if opset < _FIRST_OPSET:
        raise UserError(f"--opset {opset} is not supported: PyTorch's exporter writes {_FIRST_OPSET} and above.")
    kind = cfg.model.test_cfg.nms.type
    if with_nms and kind != "nms":
        raise UserError(f"ONNX has no operator for the config's NMS of type {kind!r}: leave --nms out.")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"Exporting needs {', '.join(missing)}, which are not installed: pip install 'rexnet-benchmark[export]'."
        )


def _validation_pictures(cfg: Config) -> list[Path]:
    dataset = cfg.val_dataloader.dataset
    folder = Path(dataset.data_root) / dataset.data_prefix.img
    if not folder.is_dir():
        raise UserError(
            f"No pictures to check the export on: {folder.absolute()} is absent. Give --pictures with a picture or "
            "folder of your own, or --data-root."
        )
    return find_pictures(folder)[:_CHECKED]


def _samples(pictures: Pictures) -> Iterator[dict]:
    for index in range(len(pictures)):
        sample = pictures[index]
        if isinstance(sample, Unreadable):
            raise UserError(f"{sample.path} cannot be read to check the export on: {sample.reason}.")
        yield sample


def _session(model: "ModelProto") -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs the model in onnxruntime."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common class
        raise UserError(f"onnxruntime cannot run the exported model: {error}") from error
    return lambda image: [torch.from_numpy(found) for found in session.run(None, {"image": image.numpy()})]


def _largest(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max()) if found.numel() else 0.0


def _from_detections(boxes: Tensor, scores: Tensor, detector: nn.Module, sample: dict) -> Differences:
    """Compare each detection of the detector's own ``predict`` with the anchor that comes nearest."""
    data = detector.data_preprocessor(pseudo_collate([sample]), False)
    with torch.no_grad():
        kept = detector.predict(data["inputs"], data["data_samples"], rescale=False)[0].pred_instances
    if not len(kept):
        return Differences()
    off_boxes = (boxes[None] - kept.bboxes[:, None]).abs().amax(dim=-1)  # (detections, A)
    off_scores = (scores[:, kept.labels].T - kept.scores[:, None]).abs()  # (detections, A)
    nearest = torch.maximum(off_boxes, off_scores).argmin(dim=1, keepdim=True)
    return Differences(float(off_boxes.gather(1, nearest).max()), float(off_scores.gather(1, nearest).max()))


def _from_nms(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Differences:
    (boxes, scores, labels), (expected_boxes, expected_scores, expected_labels) = found, expected
    if not torch.equal(labels, expected_labels):
        return Differences(np.inf, np.inf)
    return Differences(_largest(boxes, expected_boxes), _largest(scores, expected_scores))


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
