"""SSDLite as what is exported: a picture to a box and scores for every anchor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torchvision.ops import nms

from benchmark.inference.export.differences import Detections, Differences, largest, match_detections
from benchmark.inference.export.exportable import Exportable
from benchmark.inference.export.preparation import Preparation

if TYPE_CHECKING:
    from mmdet.models import BaseDetector

_SETTINGS = ("score_thr", "nms", "max_per_img", "min_bbox_size")  # of ``test_cfg``, that a file's user needs
_MOST_GROWTH = float(-np.log(16 / 1000))  # of a box's sides against its anchor's, as a logarithm, in MMDetection


@dataclass(frozen=True)
class _Reference:
    """Boxes (1, A, 4) and scores (1, A, classes) of every anchor, and the detections of the detector's ``predict``."""

    boxes: Tensor
    scores: Tensor
    kept: Detections


class DecodedSSDLite(Exportable):
    """An SSDLite detector from an RGB picture to a box and scores for every anchor, as its own ``predict`` finds them.

    Args:
        detector: in eval mode, on the CPU.
        size: (height, width) of the pictures in pixels.
    """

    kind: ClassVar[str] = "SSDLite"
    outputs: ClassVar[tuple[str, ...]] = ("boxes", "scores")
    tolerance: ClassVar[Differences] = Differences(boxes=0.02, scores=1e-3)
    anchors: Tensor  # (A, 4)

    def __init__(self, detector: "BaseDetector", size: tuple[int, int]) -> None:
        super().__init__()
        self.detector, self.size = detector, size
        self.preparation = Preparation("stretch", *size)
        with torch.no_grad():
            maps, _ = detector(self.example["image"], mode="tensor")
        priors = detector.bbox_head.prior_generator.grid_priors([level.shape[-2:] for level in maps], device="cpu")
        self.register_buffer("anchors", torch.cat(priors))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (1, 3, H, W) RGB in 0..255 to xyxy boxes (1, A, 4) in pixels and scores (1, A, classes) in 0..1."""
        head, normalisation = self.detector.bbox_head, self.detector.data_preprocessor
        maps = self.detector.neck(self.detector.backbone((image - normalisation.mean) / normalisation.std))
        logits, deltas = head.flatten(*head(maps))
        scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[..., :-1]  # background is last
        return self._decode(deltas), scores

    def _decode(self, deltas: Tensor) -> Tensor:
        """Return the boxes (N, A, 4) of deltas (N, A, 4).

        MMDetection's own decoder takes slices with steps and writes into them, which not every format has.
        """
        coder = self.detector.bbox_head.bbox_coder
        deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
        shifts, growths = deltas.split(2, dim=-1)  # (N, A, 2) each
        sides = self.anchors[:, 2:] - self.anchors[:, :2]
        centres = (self.anchors[:, :2] + self.anchors[:, 2:]) / 2 + sides * shifts
        halves = sides * growths.clamp(-_MOST_GROWTH, _MOST_GROWTH).exp() / 2
        boxes = torch.cat([centres - halves, centres + halves], dim=-1)
        if not coder.clip_border:
            return boxes
        return torch.minimum(boxes.clamp(min=0), boxes.new_tensor(self.size).flip(0).repeat(2))

    def inputs(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """Return ``image`` of ``inputs`` (3, H, W) BGR."""
        return image_of(sample)

    def reference(self, sample: dict[str, Any]) -> _Reference:
        """Return every anchor's box and scores, and what MMDetection's ``predict`` keeps."""
        data = self.detector.data_preprocessor(pseudo_collate([sample]), False)
        with torch.no_grad():
            kept = self.detector.predict(data["inputs"], data["data_samples"], rescale=False)[0].pred_instances
        found = self.run(self.inputs(sample))
        return _Reference(found["boxes"], found["scores"], Detections(kept.bboxes, kept.scores, kept.labels))

    def compare(self, found: Mapping[str, Tensor], reference: _Reference) -> Differences:
        """Compare every box and score, and each detection of the detector's own with the anchor that comes nearest.

        Of a file that ends in NonMaxSuppression, compare what it keeps with what torchvision's kernel keeps.
        """
        if "boxes" not in found:
            config = self.detector.test_cfg
            return match_detections(
                Detections(*(found[f"detection_{name}"] for name in ("boxes", "scores", "labels"))),
                Detections(*select(reference.boxes[0], reference.scores[0], config)),
                threshold=config["score_thr"],
                limit=config["max_per_img"],
                allowed=self.tolerance,
            )
        boxes, scores = found["boxes"], found["scores"]
        differences = Differences(largest(boxes, reference.boxes), largest(scores, reference.scores))
        return differences | _from_detections(boxes[0], scores[0], reference.kept)

    def answer(self, found: Mapping[str, Tensor], sample: Any) -> Any:
        """Fill a sample with the detections, in pixels of the original picture."""
        return answer_with_anchors(found, sample, self.detector.test_cfg)

    def merge_branches(self) -> None:
        """Merge the backbone's re-parameterised branches in place."""
        self.detector.backbone.fuse()

    def facts(self) -> dict[str, Any]:
        """Return what the file's user must know."""
        normalisation, config = self.detector.data_preprocessor, self.detector.test_cfg
        sigmoid = self.detector.bbox_head.use_sigmoid_cls
        return {
            "input": "float32, RGB, 0..255; mean and std are applied by the model",
            "input_height": self.size[0],
            "input_width": self.size[1],
            "resize": "to the input's size without keeping the aspect ratio, bilinear",
            "mean": normalisation.mean.flatten().tolist(),
            "std": normalisation.std.flatten().tolist(),
            "boxes": "x1, y1, x2, y2 in pixels of the input",
            "scores": "sigmoid" if sigmoid else "softmax, background left out",
            "test_cfg": {key: config[key] for key in _SETTINGS if key in config},
            "preparation": self.preparation.facts(),
        }


def image_of(sample: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return ``image`` (1, 3, H, W), RGB in 0..255, of ``inputs`` (3, H, W) BGR."""
    return {"image": sample["inputs"].flip(0)[None].float()}


def answer_with_anchors(found: Mapping[str, Tensor], sample: Any, test_cfg: Mapping[str, Any]) -> Any:
    """Fill a sample with what an SSDLite's outputs say, in pixels of the original picture.

    Args:
        found: ``boxes`` and ``scores`` of every anchor or, of a file that ends in NMS, the detections.
        sample: MMDetection's, of the picture.
        test_cfg: as of ``select``.
    """
    from mmengine.structures import InstanceData

    boxes, scores, labels = (
        select(found["boxes"][0], found["scores"][0], test_cfg)
        if "boxes" in found
        else (found[f"detection_{name}"] for name in ("boxes", "scores", "labels"))
    )
    boxes = boxes / boxes.new_tensor(sample.get("scale_factor", (1.0, 1.0))).repeat(2)
    sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=labels)
    return sample


def select(boxes: Tensor, scores: Tensor, test_cfg: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress non-maxima class by class with torchvision's kernel.

    Args:
        boxes: (A, 4) xyxy.
        scores: (A, classes).
        test_cfg: the detector's ``score_thr``, ``nms``, ``max_per_img`` and ``min_bbox_size``.

    Returns:
        Boxes (N, 4), scores (N,) and labels (N,) of the detections kept, best first.
    """
    real = (boxes[:, 2:] - boxes[:, :2] > test_cfg.get("min_bbox_size", -1)).all(dim=1)
    iou = float(np.float32(test_cfg["nms"]["iou_threshold"]))
    kept_anchors: list[Tensor] = []
    their_labels: list[Tensor] = []
    for label, own in enumerate(scores.T):
        candidates = (real & (own > test_cfg["score_thr"])).nonzero().flatten()
        kept = candidates[nms(boxes[candidates], own[candidates], iou)]
        kept_anchors.append(kept)
        their_labels.append(torch.full_like(kept, label))
    anchors, labels = torch.cat(kept_anchors), torch.cat(their_labels)
    best = scores[anchors, labels].argsort(descending=True, stable=True)[: test_cfg["max_per_img"]]
    anchors, labels = anchors[best], labels[best]
    return boxes[anchors], scores[anchors, labels], labels


def _from_detections(boxes: Tensor, scores: Tensor, kept: Detections) -> Differences:
    """Compare each detection of the detector's own ``predict`` with the anchor that comes nearest."""
    if not len(kept.scores):
        return Differences()
    off_boxes = (boxes[None] - kept.boxes[:, None]).abs().amax(dim=-1)  # (detections, A)
    off_scores = (scores[:, kept.labels].T - kept.scores[:, None]).abs()  # (detections, A)
    nearest = torch.maximum(off_boxes, off_scores).argmin(dim=1, keepdim=True)
    return Differences(float(off_boxes.gather(1, nearest).max()), float(off_scores.gather(1, nearest).max()))
