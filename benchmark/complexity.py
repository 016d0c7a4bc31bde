"""Parameters and multiply-adds of a config's model, by part; counted on the meta device, so in seconds and no memory.

Conventions of the paper's tables: "FLOPs" are multiply-adds; SSDLite counts at 320x320 and Faster and Mask R-CNN at
1280x800 with 1000 proposals through the box head; the mask head stands apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

PROPOSALS = 1000
INPUTS = {"ssdlite": (320, 320), "faster_rcnn": (800, 1280), "mask_rcnn": (800, 1280)}  # (height, width) in pixels


@dataclass(frozen=True)
class Part:
    """Parameters and multiply-adds of a part of a model."""

    params: int
    macs: int


@dataclass(frozen=True)
class Complexity:
    """What a model costs at an input (N, C, H, W), by part; the totals leave the mask head's multiply-adds out."""

    input: tuple[int, int, int, int]
    parts: dict[str, Part]

    @property
    def params(self) -> int:
        """Parameters of all parts."""
        return sum(part.params for part in self.parts.values())

    @property
    def macs(self) -> int:
        """Multiply-adds of all parts but the mask head."""
        return sum(part.macs for name, part in self.parts.items() if name != "mask_head")


def count_macs(run: Callable[[], Any]) -> tuple[int, Any]:
    """Return the multiply-adds of what ``run`` computes (convolutions and matrix products), and its value."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        value = run()
    return counter.get_total_flops() // 2, value


def detector_complexity(cfg: Config) -> Complexity:
    """Count a detector's config, completed by ``complete_model``."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    with torch.device("meta"):
        model = MODELS.build(cfg.model.copy()).eval()
        height, width = INPUTS[cfg.task]
        shape = (1, 3, height, width)
        parts = _count_parts(model, torch.zeros(shape))
    return Complexity(shape, parts)


def _count_parts(model: nn.Module, image: Tensor) -> dict[str, Part]:
    backbone_macs, maps = count_macs(lambda: model.backbone(image))
    neck_macs, maps = count_macs(lambda: model.neck(maps))
    parts = {"backbone": _part(model.backbone, backbone_macs), "neck": _part(model.neck, neck_macs)}
    for name, (head, run) in _heads(model, maps).items():
        macs, _ = count_macs(run)
        parts[name] = _part(head, macs)
    return parts


def _heads(model: nn.Module, maps: tuple[Tensor, ...]) -> dict[str, tuple[nn.Module, Callable[[], Any]]]:
    if hasattr(model, "bbox_head"):
        return {"head": (model.bbox_head, lambda: model.bbox_head(maps))}
    channels = maps[0].shape[1]
    roi = model.roi_head
    heads = {
        "rpn_head": (model.rpn_head, lambda: model.rpn_head(maps)),
        "box_head": (roi.bbox_head, lambda: roi.bbox_head(torch.zeros(PROPOSALS, channels, 7, 7))),
    }
    if roi.with_mask:
        detections = model.test_cfg.rcnn.max_per_img
        heads["mask_head"] = (roi.mask_head, lambda: roi.mask_head(torch.zeros(detections, channels, 14, 14)))
    return heads


def _part(module: nn.Module, macs: int) -> Part:
    return Part(sum(parameter.numel() for parameter in module.parameters()), macs)
