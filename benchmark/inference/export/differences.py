"""How far what a runtime finds is from what PyTorch finds; detections are matched, for their order means nothing."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

_UNITS = {"boxes": " px", "scores": "", "masks": "", "logits": ""}


@dataclass(frozen=True)
class Differences:
    """Largest absolute differences, or those allowed.

    Attributes:
        boxes: of coordinates, in pixels of the input.
        scores: in 0..1.
        masks: of a mask's probabilities, in 0..1.
        logits: of a classifier.
    """

    boxes: float = 0.0
    scores: float = 0.0
    masks: float = 0.0
    logits: float = 0.0

    @classmethod
    def all(cls, value: float) -> "Differences":
        """Return the same value for each."""
        return cls(value, value, value, value)

    def __or__(self, other: "Differences") -> "Differences":
        """Return the larger of each; NaN is the largest."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Differences(*(float(np.maximum(*pair)) for pair in pairs))

    def __str__(self) -> str:
        parts = [f"{getattr(self, name):.2g}{unit} in {name}" for name, unit in _UNITS.items() if getattr(self, name)]
        return " and ".join(parts) or "nothing"

    def within(self, allowed: "Differences") -> bool:
        """Tell whether none is larger than what is allowed."""
        return all(a <= b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(allowed), strict=True))


MISSED = Differences(boxes=np.inf, scores=np.inf)  # a detection without a partner


@dataclass(frozen=True)
class Detections:
    """A picture's detections.

    Attributes:
        boxes: (N, 4) xyxy in pixels of the input.
        scores: (N,) in 0..1.
        labels: (N,).
        masks: (N, h, w) probabilities within the boxes, None for a detector without.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None


def largest(found: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference, 0 of nothing, infinity where the shapes differ."""
    if found.shape != expected.shape:
        return float(np.inf)
    return float((found - expected).abs().max()) if found.numel() else 0.0


def match_detections(
    found: Detections, expected: Detections, *, threshold: float, limit: int, allowed: Differences
) -> Differences:
    """Pair detections of one label by box and score, and return by how much the pairs differ.

    A detection that only one side has is an infinite difference, unless its score is so near to the threshold, or to
    the lowest of as many as there may be, that rounding decides about it.

    Args:
        found: by a runtime.
        expected: by PyTorch.
        threshold: lowest score of a detection.
        limit: most detections of a picture.
        allowed: how near is near, of ``scores``.
    """
    full = [float(side.scores.min()) for side in (found, expected) if len(side.scores) >= limit > 0]
    certain = max([threshold, *full]) + allowed.scores
    differences = Differences()
    for label in set(found.labels.tolist()) | set(expected.labels.tolist()):
        ours, theirs = ((side.labels == label).nonzero().flatten() for side in (found, expected))
        boxes = (found.boxes[ours][:, None] - expected.boxes[theirs][None]).abs().amax(-1)  # (ours, theirs)
        scores = (found.scores[ours][:, None] - expected.scores[theirs][None]).abs()  # (ours, theirs)
        cost = torch.nan_to_num(boxes + 100 * scores, nan=1e9, posinf=1e9)  # 0.01 weighs as much as a pixel
        rows, columns = (torch.from_numpy(places) for places in linear_sum_assignment(cost.numpy()))
        for side, own, paired in ((found, ours, rows), (expected, theirs, columns)):
            alone = torch.ones(len(own), dtype=torch.bool)
            alone[paired] = False
            if bool((side.scores[own[alone]] > certain).any()):
                return MISSED
        sure = torch.maximum(found.scores[ours[rows]], expected.scores[theirs[columns]]) > certain
        rows, columns = rows[sure], columns[sure]
        if len(rows):
            differences |= Differences(float(boxes[rows, columns].max()), float(scores[rows, columns].max()))
            if found.masks is not None and expected.masks is not None:
                differences |= Differences(masks=largest(found.masks[ours[rows]], expected.masks[theirs[columns]]))
    if bool(torch.isnan(found.scores).any() or torch.isnan(found.boxes).any()):
        return MISSED
    return differences
