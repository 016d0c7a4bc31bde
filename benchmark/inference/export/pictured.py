"""An exported model that takes pictures of any size, as they are decoded: resizing is part of its graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backbones.errors import UserError
from benchmark.data.decode import read_image
from benchmark.inference.export.differences import Differences
from benchmark.inference.export.exportable import Exportable

_BOXES = ("boxes", "detection_boxes")
# OpenCV's and Pillow's resized pictures are met but for a grey level here and there; large JPEGs of classifiers are
# decoded smaller in an evaluation. So what is found may differ by more than a runtime's rounding.
_TOLERANCE = Differences(boxes=0.1, scores=0.005, logits=0.05)
_FILTERS = ("bilinear", "bicubic")  # that ONNX has


@dataclass(frozen=True)
class _Reference:
    """What the original finds, and the factors (width, height) by which it resizes the picture."""

    original: Any
    factors: tuple[float, float]


class Pictured(Exportable):
    """A model with its preparation in front.

    Its input ``picture`` is (H, W, 3) uint8 RGB of any size; boxes are in pixels of the picture.

    Args:
        original: the model, of one stage.

    Raises:
        UserError: its pictures are resized as ONNX cannot, or it takes several at once.
    """

    def __init__(self, original: Exportable) -> None:
        super().__init__()
        if original.batch > 1:
            raise UserError("--with-preprocessing takes one picture, for pictures differ in size: leave --batch out.")
        if original.preparation.interpolation not in _FILTERS:
            raise UserError(
                f"--with-preprocessing: ONNX resizes {' or '.join(_FILTERS)}, and this model's pictures are resized "
                f"{original.preparation.interpolation}: leave it out."
            )
        self.original = original
        self.kind, self.outputs, self.size = original.kind, original.outputs, original.size  # type: ignore[misc]
        self.tolerance = _TOLERANCE  # type: ignore[misc]
        self.preparation = original.preparation

    @property
    def example(self) -> dict[str, Tensor]:
        """``picture`` (H, W, 3) of the input's size."""
        return {"picture": torch.zeros(*self.size, 3, dtype=torch.uint8)}

    def inputs(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """Return ``picture``, the whole file."""
        picture = read_image(sample["data_samples"].img_path, "RGB")
        return {"picture": torch.from_numpy(picture.copy())}

    def reference(self, sample: dict[str, Any]) -> _Reference:
        """Return what the original finds in the picture as the evaluation prepares it."""
        return _Reference(
            self.original.reference(sample), tuple(sample["data_samples"].get("scale_factor", (1.0, 1.0)))
        )

    def compare(self, found: Mapping[str, Tensor], reference: _Reference) -> Differences:
        """Compare with the original, boxes in pixels of its input."""
        resized = {
            name: value * value.new_tensor(reference.factors).repeat(2) if name in _BOXES else value
            for name, value in found.items()
        }
        return self.original.compare(resized, reference.original)

    def answer(self, found: Mapping[str, Tensor], sample: Any) -> Any:
        """Fill a sample with what was found, in pixels of the picture."""
        whole = sample.clone()
        whole.set_metainfo({"scale_factor": (1.0, 1.0)})
        return self.original.answer(found, whole)

    def rounding(self, sample: dict[str, Any]) -> None:
        """Return None: the differences are those of the resize."""

    def merge_branches(self) -> None:
        """Merge re-parameterised branches in place."""
        self.original.merge_branches()

    def facts(self) -> dict[str, Any]:
        """Return what the file's user must know."""
        facts = self.original.facts()
        return {
            **facts,
            "input": "picture: uint8, RGB, (height, width, 3), of any size; all preparation is done by the model",
            **({"boxes": "x1, y1, x2, y2 in pixels of the picture"} if "boxes" in facts else {}),
            "preparation": {**facts["preparation"], "how": "inside"},
        }


def picture_of(sample: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return ``picture`` (H, W, 3), RGB, of ``inputs`` (3, H, W) BGR."""
    return {"picture": sample["inputs"].flip(0).permute(1, 2, 0)}
