"""Faster and Mask R-CNN as what is exported: one graph from a picture on a canvas to its detections.

MMDetection's ``predict`` asks Python how many boxes there are, so it cannot be exported. The forward pass here has
tensors of fixed sizes wherever their number does not depend on the picture; what NMS keeps becomes a mask over all.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from torch import Tensor
from torch.nn import functional as F

from benchmark.inference.export.differences import Detections, Differences, match_detections
from benchmark.inference.export.exportable import Exportable
from benchmark.inference.export.preparation import Preparation
from benchmark.models.build import quiet_imports

with quiet_imports():
    from mmdet.datasets.transforms import Resize

if TYPE_CHECKING:
    from mmdet.models import BaseDetector


@TRANSFORMS.register_module()
class ResizeInto(Resize):
    """Resize a picture, keeping its aspect ratio, until it fills a canvas in height or in width.

    Args:
        size: (width, height) in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(scale=size)
        self.canvas = size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img`` and what says its size."""
        height, width = results["img"].shape[:2]
        factor = min(self.canvas[0] / width, self.canvas[1] / height)
        # MMCV's own keeping of the ratio takes a pair for (longest, shortest) side, whatever the orientation.
        return Resize(scale=(int(width * factor + 0.5), int(height * factor + 0.5))).transform(results)


class DecodedTwoStage(Exportable):
    """A Faster or Mask R-CNN from an RGB picture on a canvas to its detections.

    Args:
        detector: in eval mode, on the CPU.
        size: (height, width) of the canvas in pixels, multiples of 32.
        filled: (height, width) of the part of it that pictures are fitted into; by default all.
    """

    kind: ClassVar[str] = "Faster R-CNN"
    outputs: ClassVar[tuple[str, ...]] = ("detection_boxes", "detection_scores", "detection_labels")
    tolerance: ClassVar[Differences] = Differences(boxes=0.05, scores=1e-3, masks=1e-2)

    def __init__(self, detector: "BaseDetector", size: tuple[int, int], filled: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.detector, self.size = detector, size
        self.preparation = Preparation("fit", *(filled or size))
        with torch.no_grad():
            maps = detector.extract_feat(torch.zeros(1, 3, *size))
        priors = detector.rpn_head.prior_generator.grid_priors([level.shape[-2:] for level in maps], device="cpu")
        self.levels = len(priors)
        for level, anchors in enumerate(priors):
            self.register_buffer(f"anchors_{level}", anchors)  # (A, 4)

    @property
    def example(self) -> dict[str, Tensor]:
        """``image`` (1, 3, H, W), and ``size`` (2,): height and width of the picture on it."""
        return {**super().example, "size": torch.tensor(self.size, dtype=torch.float32)}

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Map (1, 3, H, W) RGB in 0..255, and the picture's (height, width) on it, to its detections.

        Returns:
            Boxes (N, 4) xyxy in pixels of the canvas, scores (N,), labels (N,) and, of Mask R-CNN, masks (N, h, w) of
            probabilities within the boxes; best first. N is fixed: what is left over has score 0.
        """
        boxes, scores, labels, _ = self._detect(image, size)
        return boxes, scores, labels

    def inputs(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """Return ``image``, the picture in the canvas's upper left corner, and ``size``."""
        return on_canvas(sample, self.size)

    def reference(self, sample: dict[str, Any]) -> Detections:
        """Return what MMDetection's own heads find on the same canvas."""
        detector, inputs = self.detector, self.inputs(sample)
        data_sample = sample["data_samples"].clone()
        data_sample.set_metainfo({"batch_input_shape": self.size, "pad_shape": self.size})
        with torch.no_grad():
            maps = detector.extract_feat(self._normalise(*inputs.values()))
            proposals = detector.rpn_head.predict(maps, [data_sample], rescale=False)
            metas, config = [data_sample.metainfo], detector.roi_head.test_cfg
            kept = detector.roi_head.predict_bbox(maps, metas, proposals, config, rescale=False)[0]
            return Detections(kept.bboxes, kept.scores, kept.labels, self._own_masks(maps, kept))

    def compare(self, found: Mapping[str, Tensor], reference: Detections) -> Differences:
        """Match the detections with MMDetection's."""
        config = self.detector.roi_head.test_cfg
        return match_detections(
            detections(found),
            reference,
            threshold=config["score_thr"],
            limit=config["max_per_img"],
            allowed=self.tolerance,
        )

    def answer(self, found: Mapping[str, Tensor], sample: Any) -> Any:
        """Fill a sample with the detections, in pixels of the original picture."""
        return answer_with_detections(found, sample, self.detector.roi_head.test_cfg.get("mask_thr_binary"))

    def rounding(self, sample: dict[str, Any]) -> None:
        """Return None: MMDetection's heads, as they are used here, are float32 whatever they are given."""

    def merge_branches(self) -> None:
        """Merge the backbone's re-parameterised branches in place."""
        self.detector.backbone.fuse()

    def facts(self) -> dict[str, Any]:
        """Return what the file's user must know."""
        normalisation, config = self.detector.data_preprocessor, self.detector.roi_head.test_cfg
        return {
            "input": "image: float32, RGB, 0..255, in the upper left corner of the canvas; mean and std are applied by "
            "the model, and what lies beyond the picture is not seen. size: float32, the picture's height and width",
            "input_height": self.size[0],
            "input_width": self.size[1],
            "resize": "into the canvas, keeping the aspect ratio, bilinear",
            "mean": normalisation.mean.flatten().tolist(),
            "std": normalisation.std.flatten().tolist(),
            "boxes": "x1, y1, x2, y2 in pixels of the canvas",
            "scores": "softmax, background left out; 0 fills up",
            "test_cfg": {key: config[key] for key in ("score_thr", "nms", "max_per_img")},
            "preparation": self.preparation.facts(),
        }

    def _normalise(self, image: Tensor, size: Tensor) -> Tensor:
        """Return the picture normalised, and zeros beyond it, as MMDetection pads."""
        preprocessor, (height, width) = self.detector.data_preprocessor, self.size
        rows = torch.arange(height, dtype=image.dtype)[:, None] < size[0]
        columns = torch.arange(width, dtype=image.dtype) < size[1]
        return torch.where(rows & columns, (image - preprocessor.mean) / preprocessor.std, 0.0)

    def _detect(self, image: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """Return boxes (N, 4), scores (N,), labels (N,) and the pyramid's maps."""
        detector, corner = self.detector, size.flip(0).repeat(2)  # (4,): w, h, w, h
        maps = detector.neck(detector.backbone(self._normalise(image, size)))
        proposals, real = self._propose(maps, corner)  # (P, 4), (P,)
        head, config = detector.roi_head.bbox_head, detector.roi_head.test_cfg
        logits, deltas = head(_pool(detector.roi_head.bbox_roi_extractor, maps, proposals))
        classes = head.num_classes
        scores = torch.where(real[:, None], logits.softmax(-1)[:, :classes], 0.0)  # background is last
        each = 1 if head.reg_class_agnostic else classes
        rois = proposals[:, None].expand(-1, each, -1).reshape(-1, 4)
        boxes = _clip(head.bbox_coder.decode(rois, deltas.reshape(-1, 4)), corner)
        boxes = boxes.reshape(-1, each, 4).expand(-1, classes, -1).reshape(-1, 4)  # (P * classes, 4)
        flat = scores.flatten()  # (P * classes,)
        candidates = (flat > config["score_thr"]).nonzero().squeeze(1)
        labels = candidates % classes
        kept = self._suppress(boxes[candidates], flat[candidates], labels, config["nms"])
        chosen = torch.zeros_like(flat).scatter(0, candidates[kept], 1.0)
        best, places = (flat * chosen).topk(min(config["max_per_img"], flat.shape[0]))
        return boxes[places], best, places % classes, maps

    def _propose(self, maps: tuple[Tensor, ...], corner: Tensor) -> tuple[Tensor, Tensor]:
        """Return the proposals (P, 4), best first, and whether each is one (P,) or only fills up."""
        head, config = self.detector.rpn_head, self.detector.test_cfg["rpn"]
        boxes, scores, levels = [], [], []
        for level, (logits, deltas) in enumerate(zip(*head(maps), strict=True)):
            own = logits[0].permute(1, 2, 0).flatten().sigmoid()  # (A, H, W) -> (H * W * A,)
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)  # (A * 4, H, W) -> (H * W * A, 4)
            anchors = getattr(self, f"anchors_{level}")
            if 0 < config["nms_pre"] < own.shape[0]:
                own, best = own.topk(config["nms_pre"])
                anchors, deltas = anchors[best], deltas[best]
            boxes.append(_clip(head.bbox_coder.decode(anchors, deltas), corner))
            scores.append(own)
            levels.append(torch.full_like(own, level))
        every, objectness = torch.cat(boxes), torch.cat(scores)
        large = (every[:, 2:] - every[:, :2] > config.get("min_bbox_size", -1)).all(dim=1)
        objectness = torch.where(large, objectness, -1.0)  # last in NMS, and no proposals
        kept = self._suppress(every, objectness, torch.cat(levels), config["nms"])
        chosen = torch.zeros_like(objectness).scatter(0, kept, 1.0)
        best, places = torch.where(chosen > 0, objectness, -1.0).topk(min(config["max_per_img"], every.shape[0]))
        return every[places], best >= 0

    def _suppress(self, boxes: Tensor, scores: Tensor, groups: Tensor, config: Mapping[str, Any]) -> Tensor:
        """Return the places that NMS keeps, each group by itself: as MMCV does, moved to where no others are."""
        moved = boxes + (groups.to(boxes) * (max(self.size) + 1))[:, None]
        return torch.ops.torchvision.nms(moved, scores, float(np.float32(config["iou_threshold"])))

    def _own_masks(self, maps: tuple[Tensor, ...], kept: Any) -> Tensor | None:
        return None


class DecodedMaskRCNN(DecodedTwoStage):
    """A Mask R-CNN, whose detections have masks; see ``DecodedTwoStage``."""

    kind: ClassVar[str] = "Mask R-CNN"
    outputs: ClassVar[tuple[str, ...]] = (*DecodedTwoStage.outputs, "detection_masks")

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Map a picture to its detections; see ``DecodedTwoStage.forward``."""
        boxes, scores, labels, maps = self._detect(image, size)
        roi_head = self.detector.roi_head
        logits = roi_head.mask_head(_pool(roi_head.mask_roi_extractor, maps, boxes))  # (N, classes, h, w)
        return boxes, scores, labels, logits[torch.arange(len(boxes)), labels].sigmoid()

    def facts(self) -> dict[str, Any]:
        """Return what the file's user must know."""
        threshold = self.detector.roi_head.test_cfg["mask_thr_binary"]
        return {
            **super().facts(),
            "masks": f"probabilities within each box, a mask from {threshold} on",
            "mask_threshold": threshold,
        }

    def _own_masks(self, maps: tuple[Tensor, ...], kept: Any) -> Tensor | None:
        rois = torch.cat([kept.bboxes.new_zeros(len(kept), 1), kept.bboxes], dim=1)  # (N, 5)
        if not len(kept):
            return kept.bboxes.new_zeros(0, 1, 1)
        logits = self.detector.roi_head._mask_forward(maps, rois)["mask_preds"]  # (N, classes, h, w)
        return logits[torch.arange(len(kept)), kept.labels].sigmoid()


def on_canvas(sample: Mapping[str, Any], canvas: tuple[int, int]) -> dict[str, Tensor]:
    """Return the inputs of a canvas (height, width): ``image``, the picture in its upper left corner, and ``size``."""
    picture = sample["inputs"].flip(0).float()  # (3, h, w), BGR -> RGB
    height, width = picture.shape[1:]
    padded = F.pad(picture, (0, canvas[1] - width, 0, canvas[0] - height))
    return {"image": padded[None], "size": torch.tensor([height, width], dtype=torch.float32)}


def answer_with_detections(found: Mapping[str, Tensor], sample: Any, mask_threshold: float | None) -> Any:
    """Fill a sample with what a two-stage detector's outputs say, in pixels of the original picture.

    Args:
        found: the detections.
        sample: MMDetection's, of the picture.
        mask_threshold: from which probability on a pixel belongs to the mask; None of a detector without masks.
    """
    from mmengine.structures import InstanceData

    kept = detections(found)
    boxes = kept.boxes / kept.boxes.new_tensor(sample.get("scale_factor", (1.0, 1.0))).repeat(2)
    sample.pred_instances = InstanceData(bboxes=boxes, scores=kept.scores, labels=kept.labels)
    if kept.masks is not None and mask_threshold is not None:
        sample.pred_instances.masks = paste(kept.masks, boxes, sample.ori_shape) >= mask_threshold
    return sample


def detections(found: Mapping[str, Tensor]) -> Detections:
    """Return outputs by name as detections, without what fills up."""
    real = found["detection_scores"] > 0
    masks = found.get("detection_masks")
    boxes, scores, labels = (found[f"detection_{name}"][real] for name in ("boxes", "scores", "labels"))
    return Detections(boxes, scores, labels, None if masks is None else masks[real])


def paste(masks: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return masks (N, h, w) of boxes (N, 4) xyxy as MMDetection pastes them into a picture: (N, height, width)."""
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    height, width = shape
    whole = masks.new_zeros(len(masks), height, width)
    for place in range(len(masks)):  # one by one, each in its own region
        pasted, region = _do_paste_mask(masks[place][None, None], boxes[place][None], height, width, skip_empty=True)
        whole[(place, *region)] = pasted[0]
    return whole


def _clip(boxes: Tensor, corner: Tensor) -> Tensor:
    """Return boxes (N, 4) within a picture whose lower right corner, twice, is (4,)."""
    return torch.minimum(boxes.clamp(min=0), corner)


def _pool(extractor: Any, maps: tuple[Tensor, ...], boxes: Tensor) -> Tensor:
    """Return the boxes' features (N, C, h, w), each from the map that its size asks for."""
    sides = boxes[:, 2:] - boxes[:, :2]
    scale = (sides[:, 0] * sides[:, 1]).sqrt()
    finest = extractor.finest_scale
    levels = torch.floor(torch.log2(scale / finest + 1e-6)).clamp(0, extractor.num_inputs - 1)
    rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)  # (N, 5), of the first picture
    layer = extractor.roi_layers[0]
    height, width = layer.output_size
    pooled = boxes.new_zeros(len(boxes), extractor.out_channels, height, width)
    for level, layer in enumerate(extractor.roi_layers):
        own = (levels == level).nonzero().squeeze(1)
        features = torch.ops.torchvision.roi_align(
            maps[level], rois[own], layer.spatial_scale, height, width, layer.sampling_ratio, layer.aligned
        )
        pooled = pooled.index_copy(0, own, features)
    return pooled
