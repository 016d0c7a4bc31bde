"""A classifier around any backbone of the catalogue or of timm: global pooling, dropout, linear."""

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from timm.data.random_erasing import RandomErasing
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.catalogue import build_network
from backbones.features import freeze_stages
from backbones.weights import find_weights, load_pretrained
from benchmark.models.resolve import resolve_model
from benchmark.models.transfer import send

TOP = 5


@MODELS.register_module()
class FineGrainedClassifier(BaseModel):
    """The network with a new classifier; all layers are trained, or all but the first.

    Args:
        backbone: ``name`` of the catalogue or ``timm:<model>``, and ``pretrained``: ``imagenet``, a file or None;
            loaded without the old classifier by ``init_weights`` before a training begins. ``frozen_stages`` as
            ``backbones.features.Backbone`` has it; 4 trains the new classifier alone.
        num_classes: of the new classifier.
        drop_rate: of the dropout before the linear layer.
        label_smoothing: share of the target that all classes have alike.
        erasing: probability that a part of a training image is replaced by noise, after normalisation, on the device
            (Zhong et al., Random Erasing, AAAI 2020, in timm's form).
        data_preprocessor: stacks and normalises on the device, with mean and std of the backbone's weights by default.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        num_classes: int,
        drop_rate: float = 0.2,
        label_smoothing: float = 0.0,
        erasing: float = 0.0,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(
            resolve_model({"backbone": backbone, "data_preprocessor": data_preprocessor})["data_preprocessor"]
        )
        self.name, self.pretrained, self.num_classes = backbone["name"], backbone.get("pretrained"), num_classes
        self.label_smoothing, self.erasing = label_smoothing, erasing
        self.backbone = build_network(self.name, num_classes, drop_rate)
        # timm initialises some networks' classifiers by their number of outputs: with few classes the loss would begin
        # far above that of a uniform guess.
        linear = [module for module in self.backbone.modules() if isinstance(module, nn.Linear)][-1]
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        self._frozen = freeze_stages(self.backbone, self.name, backbone.get("frozen_stages", -1))
        linear.requires_grad_(True)

    def init_weights(self) -> None:
        """Load the pretrained weights, if any were asked for."""
        if self.pretrained:
            load_pretrained(self.backbone, self.name, self.pretrained)

    def check_weights(self) -> None:
        """Read the pretrained weights, if any were asked for, and raise a UserError if they do not fit."""
        if self.pretrained:
            find_weights(self.backbone, self.name, self.pretrained)

    def train(self, mode: bool = True) -> "FineGrainedClassifier":
        """Switch the mode; frozen layers stay in eval mode."""
        super().train(mode)
        if mode:
            for path in self._frozen:
                self.backbone.get_submodule(path).eval()
        return self

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None, mode: str = "tensor"
    ) -> Tensor | dict[str, Tensor] | list[BaseDataElement]:
        """Map images (N, 3, H, W) to logits (N, num_classes), or for ``loss`` and ``predict`` to what follows.

        ``loss`` gives the cross-entropy as ``loss_cls``; ``predict`` adds ``pred_classes`` to the samples: up to
        ``TOP`` labels, best first.
        """
        if mode == "loss" and self.erasing:
            inputs = RandomErasing(self.erasing, mode="pixel", device=inputs.device)(inputs)
        logits = self.backbone(inputs)
        if mode == "tensor":
            return logits
        assert data_samples is not None  # the other modes are given them
        if mode == "loss":
            labels = send(torch.tensor([sample.gt_label for sample in data_samples]), logits.device)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
            return {"loss_cls": loss}
        best = logits.topk(min(TOP, self.num_classes)).indices.tolist()
        for sample, labels in zip(data_samples, best, strict=True):
            sample.pred_classes = labels
        return data_samples
