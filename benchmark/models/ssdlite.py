"""SSDLite: anchors, extra layers, head and its two losses.

Source: Sandler et al., "MobileNetV2", CVPR 2018, section 6.2 (SSDLite: SSD with depthwise-separable heads), as used by
the ReXNet paper, section 5.2 and Table 6. MMDetection's own SSDHead cannot predict (it builds no ``loss_cls``).
"""

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import AnchorHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import Conv2dNormActivation, sigmoid_focal_loss

from benchmark.models.assigner import Objects
from benchmark.models.resolve import ResolvedModel


def separable_conv(in_channels: int, channels: int) -> nn.Sequential:
    """Depthwise 3x3 with BN and ReLU6, then a linear 1x1: SSDLite's prediction layer.

    The depthwise bias is redundant before a BN, but Table 6 counts it: without, EfficientNet-B0 would come to 6.147M
    where 6.2M is printed.
    """
    return nn.Sequential(
        Conv2dNormActivation(in_channels, in_channels, 3, groups=in_channels, bias=True, activation_layer=nn.ReLU6),
        nn.Conv2d(in_channels, channels, 1),
    )


def _extra_layer(in_channels: int, channels: int) -> nn.Sequential:
    hidden = channels // 2
    return nn.Sequential(
        Conv2dNormActivation(in_channels, hidden, 1, activation_layer=nn.ReLU6),
        Conv2dNormActivation(hidden, hidden, 3, stride=2, groups=hidden, activation_layer=nn.ReLU6),
        Conv2dNormActivation(hidden, channels, 1, activation_layer=nn.ReLU6),
    )


@MODELS.register_module()
class SSDLiteNeck(BaseModule):
    """The backbone's two maps and four more, each half the side of the one before.

    Args:
        in_channels: channels of the backbone's maps at strides 16 and 32.
        extra_channels: channels of the extra layers.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        extra_channels: Sequence[int] = (512, 256, 256, 128),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        pairs = itertools.pairwise([in_channels[-1], *extra_channels])
        self.extra_layers = nn.ModuleList(_extra_layer(before, after) for before, after in pairs)
        self.out_channels = (*in_channels, *extra_channels)
        _init_convs(self)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Map [(N, C4, H, W), (N, C5, H/2, W/2)] to six maps; at 320x320 of side 20, 10, 5, 3, 2 and 1."""
        maps = list(maps)
        for layer in self.extra_layers:
            maps.append(layer(maps[-1]))
        return tuple(maps)


@TASK_UTILS.register_module()
class SSDLiteAnchorGenerator(AnchorGenerator):
    """SSD's anchors, 3 a cell on the first map and 6 on the others (the only way Table 6's figures come out).

    The first map has a square of the minimum size and its 2:1 and 1:2; the others add 3:1 and 1:3 and a square of
    the geometric mean of minimum and maximum size (Liu et al., SSD, ECCV 2016, section 2.2).

    Args:
        strides: distance of the anchors' centres in pixels, a map each.
        min_sizes: side of the small square in pixels, a map each.
        max_sizes: side of the next map's square in pixels, a map each.
    """

    def __init__(self, strides: Sequence[int], min_sizes: Sequence[float], max_sizes: Sequence[float]) -> None:
        self.sizes = list(zip(min_sizes, max_sizes, strict=True))
        super().__init__(strides=strides, ratios=[1.0], scales=[1.0], base_sizes=list(min_sizes), center_offset=0.5)

    def gen_base_anchors(self) -> list[Tensor]:
        """Return an (A, 4) tensor of xyxy boxes a map, centred on its first cell."""
        return [
            self._centred_boxes(level, stride[0], *sizes)
            for level, (stride, sizes) in enumerate(zip(self.strides, self.sizes, strict=True))
        ]

    def _centred_boxes(self, level: int, stride: int, small: float, large: float) -> Tensor:
        sides = [(small, small)]
        if level > 0:
            sides.append((math.sqrt(small * large),) * 2)
        for ratio in (2.0,) if level == 0 else (2.0, 3.0):
            long, short = small * math.sqrt(ratio), small / math.sqrt(ratio)
            sides += [(long, short), (short, long)]
        wh = torch.tensor(sides)  # (A, 2)
        centre = self.center_offset * stride
        return torch.cat([centre - wh / 2, centre + wh / 2], dim=1)


@MODELS.register_module()
class MultiBoxClassificationLoss(nn.Module):
    """Softmax cross-entropy over the positives and the hardest negatives of each image.

    Source: Liu et al., SSD, ECCV 2016, section 2.2, "Hard negative mining".

    Args:
        neg_pos_ratio: negatives kept for each positive.
    """

    use_sigmoid = False

    def __init__(self, neg_pos_ratio: int = 3) -> None:
        super().__init__()
        self.neg_pos_ratio = neg_pos_ratio

    def forward(self, logits: Tensor, labels: Tensor, weights: Tensor, positives: Tensor) -> Tensor:
        """Return the sum over anchors, for logits (N, A, classes + 1) with the background last, labels (N, A)."""
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(weights) * weights
        mined = loss.detach().masked_fill(positives | (weights == 0), -1.0)
        rank = mined.argsort(dim=1, descending=True).argsort(dim=1)
        hard = (rank < self.neg_pos_ratio * positives.sum(dim=1, keepdim=True)) & (mined >= 0)
        return torch.where(positives | hard, loss, 0.0).sum()


@MODELS.register_module()
class SigmoidFocalClassificationLoss(nn.Module):
    """Sigmoid focal loss over all anchors (Lin et al., Focal Loss, ICCV 2017), by torchvision's implementation.

    Args:
        alpha: weight of the positives in 0..1.
        gamma: exponent that plays down easy examples.
    """

    use_sigmoid = True

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, logits: Tensor, labels: Tensor, weights: Tensor, positives: Tensor) -> Tensor:
        """Return the sum over anchors, for logits (N, A, classes), labels (N, A) where ``classes`` is background."""
        targets = F.one_hot(labels, logits.shape[-1] + 1)[..., :-1].to(logits)  # (N, A, classes)
        return (sigmoid_focal_loss(logits, targets, self.alpha, self.gamma) * weights[..., None]).sum()


@MODELS.register_module()
class SSDLiteHead(AnchorHead):
    """Depthwise-separable class and box predictions on six maps.

    Args:
        num_classes: object classes, without the background.
        in_channels: channels of the six maps.
        anchor_generator: config of ``SSDLiteAnchorGenerator``.
        bbox_coder: config of MMDetection's box coder; variances 0.1 and 0.2 are its ``target_stds``.
        loss_cls: ``MultiBoxClassificationLoss`` or ``SigmoidFocalClassificationLoss``.
        smoothl1_beta: where the box loss turns from quadratic to linear.
        train_cfg: ``assigner``, config of ``BatchMaxIoUAssigner``.
        test_cfg: ``nms_pre``, ``score_thr``, ``nms``, ``max_per_img``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        anchor_generator: dict,
        bbox_coder: dict,
        loss_cls: dict,
        smoothl1_beta: float = 1.0,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        # AnchorHead's own constructor supposes one anchor count for all maps.
        BaseDenseHead.__init__(self, init_cfg=init_cfg)
        self.num_classes = num_classes
        self.loss_cls = MODELS.build(loss_cls)
        self.use_sigmoid_cls = self.loss_cls.use_sigmoid
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.smoothl1_beta = smoothl1_beta
        self.reg_decoded_bbox = False
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        self._anchors: dict[tuple, Tensor] = {}
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])
        anchors = self.prior_generator.num_base_priors
        self.cls_convs = nn.ModuleList(
            separable_conv(c, a * self.cls_out_channels) for c, a in zip(in_channels, anchors, strict=True)
        )
        self.reg_convs = nn.ModuleList(separable_conv(c, a * 4) for c, a in zip(in_channels, anchors, strict=True))
        _init_convs(self)
        if self.use_sigmoid_cls:
            for conv in self.cls_convs:
                bias = cast(nn.Sequential, conv)[-1].bias
                nn.init.constant_(cast(Tensor, bias), -math.log((1 - 0.01) / 0.01))  # focal loss paper, section 4.1

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Map six maps to class logits (N, A * classes, H, W) and box deltas (N, A * 4, H, W) a map.

        Both are float32 also in autocast: MMDetection makes the anchors in their type, and bfloat16 cannot tell
        neighbouring pixels apart.
        """
        scores = [conv(x).float() for conv, x in zip(self.cls_convs, maps, strict=True)]
        deltas = [conv(x).float() for conv, x in zip(self.reg_convs, maps, strict=True)]
        return scores, deltas

    def flatten(self, logits: Sequence[Tensor], deltas: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the maps of ``forward`` as logits (N, A, classes) and deltas (N, A, 4), one map after the other."""
        return _flatten_levels(logits, self.cls_out_channels), _flatten_levels(deltas, 4)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list | None = None,
    ) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_bbox``, each summed and divided by the batch's number of positives."""
        anchors = self.anchors([(score.shape[2], score.shape[3]) for score in cls_scores], cls_scores[0].device)
        objects = Objects.pad(batch_gt_instances)
        ignored = None
        if batch_gt_instances_ignore and None not in batch_gt_instances_ignore:
            ignored = Objects.pad(batch_gt_instances_ignore)
        assigned = self.assigner.assign(anchors, objects, ignored)  # (N, A)
        positives = assigned > 0
        matched = (assigned - 1).clamp(min=0)
        labels = torch.where(positives, objects.labels.gather(1, matched), self.num_classes)
        boxes = objects.boxes.gather(1, matched[..., None].expand(-1, -1, 4))  # (N, A, 4)
        box_targets = self.encode(anchors, torch.where(positives[..., None], boxes, anchors))
        logits, deltas = self.flatten(cls_scores, bbox_preds)  # (N, A, classes), (N, A, 4)
        normaliser = positives.sum().clamp(min=1)
        loss_cls = self.loss_cls(logits, labels, (assigned >= 0).to(logits), positives)
        loss_bbox = F.smooth_l1_loss(deltas, box_targets, reduction="none", beta=self.smoothl1_beta)
        loss_bbox = (loss_bbox * positives[..., None]).sum()
        return {"loss_cls": loss_cls / normaliser, "loss_bbox": loss_bbox / normaliser}

    def anchors(self, sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
        """Return the anchors of maps of these sizes, (A, 4) xyxy in pixels, one map after the other; made once."""
        key = (tuple(map(tuple, sizes)), device)
        if key not in self._anchors:
            self._anchors[key] = torch.cat(self.prior_generator.grid_priors(sizes, device=device))
        return self._anchors[key]

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Return the deltas that make boxes (N, A, 4) of anchors (A, 4), as the box coder does.

        MMDetection's own ``encode`` copies its constants to the device at each call and waits for that.
        """
        wanted, own = (
            ((each[..., :2] + each[..., 2:]) / 2, each[..., 2:] - each[..., :2]) for each in (boxes, anchors)
        )
        deltas = torch.cat([(wanted[0] - own[0]) / own[1], (wanted[1] / own[1]).log()], dim=-1)
        columns = zip(deltas.unbind(-1), self.bbox_coder.means, self.bbox_coder.stds, strict=True)
        return torch.stack([(column - mean) / std for column, mean, std in columns], dim=-1)


@MODELS.register_module()
class SSDLite(ResolvedModel, SingleStageDetector):
    """SSDLite on any backbone of the catalogue; see ``benchmark.models.resolve`` for what its config may leave out."""


def _flatten_levels(levels: Sequence[Tensor], channels: int) -> Tensor:
    # (N, A * channels, H, W) -> (N, H * W * A, channels), the maps one after the other
    return torch.cat([level.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, channels)) for level in levels], dim=1)


def _init_convs(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, _BatchNorm):
            nn.init.ones_(layer.weight)
