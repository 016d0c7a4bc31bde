"""Which object every anchor learns: MMDetection's MaxIoUAssigner for a whole batch, without loops or waits for the GPU.

Objects of a batch lie in one padded tensor. Nothing here needs a number back from the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

_LEAST_UNION = 1e-6  # px^2, as in MMDetection's bbox_overlaps
_PADDING = -2.0  # overlap with an object that is none; -1 is that with an ignored region


@dataclass(frozen=True)
class Objects:
    """The objects of N images, padded to the G of the image with most, at least 1.

    Attributes:
        boxes: (N, G, 4), xyxy in pixels.
        labels: (N, G), 0 where the instances have none.
        valid: (N, G), which are objects and not padding.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor

    @classmethod
    def pad(cls, instances: Sequence[InstanceData]) -> Self:
        """Collect the instances of N images; no device is asked for their number."""
        counts = np.array([len(each.bboxes) for each in instances])
        places = np.arange(max(1, counts.max()))
        valid = places < counts[:, None]  # (N, G)
        # Padding points at one more row after all objects.
        rows = np.where(valid, places + (counts.cumsum() - counts)[:, None], counts.sum())
        first = instances[0].bboxes
        boxes = torch.cat([*(each.bboxes for each in instances), first.new_zeros(1, 4)])
        given = [each.get("labels", None) for each in instances]
        labels = [
            first.new_zeros(n, dtype=torch.long) if own is None else own for n, own in zip(counts, given, strict=True)
        ]
        all_labels = torch.cat([*labels, first.new_zeros(1, dtype=torch.long)])
        rows, valid = (torch.from_numpy(each).to(first.device, non_blocking=True) for each in (rows, valid))
        return cls(boxes[rows], all_labels[rows], valid)


@TASK_UTILS.register_module()
class BatchMaxIoUAssigner:
    """Assign every anchor an object, the background, or neither, as MMDetection's MaxIoUAssigner does.

    Args:
        pos_iou_thr: from this overlap (IoU) on an anchor learns the object that it overlaps most.
        neg_iou_thr: below it the background; or (lowest, below which).
        min_pos_iou: an object whose best anchor overlaps it by this much gets it in any case.
        gt_max_assign_all: it gets all anchors that are equally good, instead of the first.
        ignore_iof_thr: anchors of which a larger share lies in an ignored region learn nothing; negative for never.
        ignore_wrt_candidates: the share is of the anchor, not of the region.
        match_low_quality: False drops ``min_pos_iou``.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
    ) -> None:
        self.pos_iou_thr, self.min_pos_iou = pos_iou_thr, min_pos_iou
        self.negative = (0.0, neg_iou_thr) if isinstance(neg_iou_thr, (int, float)) else tuple(neg_iou_thr)
        self.gt_max_assign_all, self.match_low_quality = gt_max_assign_all, match_low_quality
        self.ignore_iof_thr, self.ignore_wrt_candidates = ignore_iof_thr, ignore_wrt_candidates

    def assign(self, anchors: Tensor, objects: Objects, ignored: Objects | None = None) -> Tensor:
        """Assign A anchors to the objects of N images.

        Args:
            anchors: (A, 4), xyxy in pixels.
            objects: of the N images.
            ignored: their ignored regions.

        Returns:
            (N, A) integers: 1 + place of the object, 0 for the background, -1 for neither.
        """
        overlaps = _overlaps(objects.boxes, anchors, "union")  # (N, G, A)
        if ignored is not None and self.ignore_iof_thr > 0:
            share = _overlaps(ignored.boxes, anchors, "anchor" if self.ignore_wrt_candidates else "box")
            share = share.masked_fill(~ignored.valid[..., None], 0.0).amax(dim=1, keepdim=True)  # (N, 1, A)
            overlaps = overlaps.masked_fill(share > self.ignore_iof_thr, -1.0)
        overlaps = overlaps.masked_fill(~objects.valid[..., None], _PADDING)
        best, which = overlaps.max(dim=1)  # (N, A)
        low, high = self.negative
        is_background = (best >= low) & (best < high)
        assigned = torch.where(best >= self.pos_iou_thr, which + 1, is_background.long() - 1)
        if self.match_low_quality:
            forced = self._best_anchors(overlaps, objects.valid)
            assigned = torch.where(forced > 0, forced, assigned)
        return assigned * objects.valid.any(dim=1, keepdim=True)

    def _best_anchors(self, overlaps: Tensor, valid: Tensor) -> Tensor:
        """Return 1 + place of the last object whose best anchor each is, else 0: (N, A)."""
        best, which = overlaps.max(dim=2, keepdim=True)  # (N, G, 1)
        anchors = torch.arange(overlaps.shape[2], device=overlaps.device)
        chosen = overlaps == best if self.gt_max_assign_all else anchors == which  # (N, G, A)
        chosen = chosen & ((best >= self.min_pos_iou) & valid[..., None])
        places = torch.arange(1, overlaps.shape[1] + 1, device=overlaps.device)
        return (chosen * places[:, None]).amax(dim=1)


def _overlaps(boxes: Tensor, anchors: Tensor, of: str) -> Tensor:
    """Return the shared area of boxes (N, G, 4) with anchors (A, 4), as a share of ``of``: (N, G, A)."""
    boxes = boxes[:, :, None]  # (N, G, 1, 4)
    sides = torch.minimum(boxes[..., 2:], anchors[:, 2:]) - torch.maximum(boxes[..., :2], anchors[:, :2])
    shared = sides.clamp(min=0).prod(dim=-1)
    of_box, of_anchor = ((each[..., 2:] - each[..., :2]).prod(dim=-1) for each in (boxes, anchors))
    whole = {"union": of_box + of_anchor - shared, "anchor": of_anchor, "box": of_box}[of]
    return shared / whole.clamp(min=_LEAST_UNION)
