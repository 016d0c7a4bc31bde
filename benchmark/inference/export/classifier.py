"""A classifier as what is exported: pictures to logits."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from backbones.catalogue import fuse_network
from benchmark.inference.export.differences import Differences, largest
from benchmark.inference.export.exportable import Exportable
from benchmark.inference.export.preparation import Preparation
from benchmark.models.classifier import TOP, FineGrainedClassifier


class NormalisedClassifier(Exportable):
    """A classifier from RGB pictures to logits.

    Args:
        model: in eval mode, on the CPU.
        preparation: how a picture gets the size of the input.
    """

    kind: ClassVar[str] = "classifier"
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    tolerance: ClassVar[Differences] = Differences(logits=1e-3)

    def __init__(self, model: FineGrainedClassifier, preparation: Preparation) -> None:
        super().__init__()
        self.model, self.preparation = model, preparation
        self.size = (preparation.height, preparation.width)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) RGB in 0..255 to logits (N, classes)."""
        normalisation = self.model.data_preprocessor
        return self.model.backbone((image - normalisation.mean) / normalisation.std)

    def inputs(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """Return ``image`` of ``inputs`` (3, H, W) RGB."""
        return {"image": sample["inputs"][None].float()}

    def reference(self, sample: dict[str, Any]) -> Tensor:
        """Return the model's own logits (1, classes)."""
        data = self.model.data_preprocessor({"inputs": sample["inputs"][None], "data_samples": None}, False)
        with torch.no_grad():
            return self.model(data["inputs"], mode="tensor")

    def compare(self, found: Mapping[str, Tensor], reference: Tensor) -> Differences:
        """Compare the logits."""
        return Differences(logits=largest(found["logits"], reference))

    def answer(self, found: Mapping[str, Tensor], sample: Any) -> Any:
        """Fill a sample with the best labels."""
        logits = found["logits"][0]
        sample.pred_classes = logits.topk(min(TOP, len(logits))).indices.tolist()
        return sample

    def merge_branches(self) -> None:
        """Merge re-parameterised branches in place."""
        self.model.backbone = fuse_network(self.model.name, self.model.backbone)

    def facts(self) -> dict[str, Any]:
        """Return what the file's user must know."""
        normalisation, how = self.model.data_preprocessor, self.preparation
        sides = "both sides" if how.squash else "shorter side"
        return {
            "input": "float32, RGB, 0..255; mean and std are applied by the model",
            "input_height": self.size[0],
            "input_width": self.size[1],
            "resize": f"{sides} to {how.resize}, {how.interpolation}; then the centre of {how.height}x{how.width}",
            "preparation": how.facts(),
            "mean": normalisation.mean.flatten().tolist(),
            "std": normalisation.std.flatten().tolist(),
            "logits": "before softmax",
        }
