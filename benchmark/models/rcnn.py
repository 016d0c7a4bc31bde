"""Faster and Mask R-CNN + FPN on any backbone of the catalogue, with boxes in float32 under autocast.

MMDetection makes anchors in the type of the scores and RoIs in the type of the features; bfloat16 has 8 bits of
mantissa and cannot tell neighbouring pixels apart beyond 256.
"""

from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import FasterRCNN, MaskRCNN
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch import Tensor

from benchmark.models.resolve import ResolvedModel


@MODELS.register_module()
class Float32FPN(FPN):
    """MMDetection's FPN (Lin et al., CVPR 2017) with float32 maps."""

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Map C2..C5 to P2..P6, each (N, out_channels, H, W)."""
        return tuple(feature.float() for feature in super().forward(inputs))


@MODELS.register_module()
class Float32RPNHead(RPNHead):
    """MMDetection's region proposal head with float32 scores and deltas."""

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map one level (N, C, H, W) to objectness (N, A, H, W) and deltas (N, A * 4, H, W)."""
        scores, deltas = super().forward_single(x)
        return scores.float(), deltas.float()


@MODELS.register_module()
class FasterRCNNFPN(ResolvedModel, FasterRCNN):
    """MMDetection's Faster R-CNN; see ``benchmark.models.resolve`` for what its config may leave out."""


@MODELS.register_module()
class MaskRCNNFPN(ResolvedModel, MaskRCNN):
    """MMDetection's Mask R-CNN; see ``benchmark.models.resolve`` for what its config may leave out."""
