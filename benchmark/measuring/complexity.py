"""Parameters and multiply-adds of a config's model, by part; counted on the meta device, so in seconds and no memory.

Conventions of the paper's tables: "FLOPs" are multiply-adds; SSDLite counts at 320x320 and Faster and Mask R-CNN at
1280x800 with 1000 proposals through the box head; the mask head stands apart. Re-parameterised networks are counted
with their branches merged, as their papers count them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backbones.catalogue import build_network, fuse_network, is_fused
from backbones.errors import UserError
from benchmark.config.complete import complete_model
from benchmark.config.load import config_name, load_config
from benchmark.config.names import list_leaves
from benchmark.models.build import build_skeleton
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from mmdet.models import BaseDetector


PROPOSALS = 1000
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Part:
    """Parameters and multiply-adds of a part of a model."""

    params: int
    macs: int


@dataclass(frozen=True)
class Complexity:
    """What a model costs at an input (N, C, H, W), by part; the totals leave the mask head's multiply-adds out.

    ``fused`` tells whether re-parameterised branches were merged before.
    """

    input: tuple[int, int, int, int]
    parts: dict[str, Part]
    fused: bool = False

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


def config_complexity(cfg: Config) -> Complexity:
    """Count the model of a config that ``complete_model`` has completed."""
    if TASKS[cfg.task].kind == "classifier":
        classes = cfg.model.num_classes or IMAGENET_CLASSES
        return classifier_complexity(cfg.model.backbone.name, count_input(cfg)[0], classes)
    return detector_complexity(cfg)


def count_input(cfg: Config) -> tuple[int, int]:
    """Return (height, width) in pixels that a config's model is counted and timed at: its task's, or its own.

    Raises:
        UserError: the task leaves it to the config, whose evaluation gives its images no size.
    """
    if size := TASKS[cfg.task].count_input:
        return size
    for step in cfg.val_dataloader.dataset.pipeline:
        if "size" in step:
            return step["size"], step["size"]
        if "scale" in step:
            width, height = step["scale"]
            return height, width
    raise UserError(f"{config_name(cfg)}: no step of val_dataloader.dataset.pipeline has a size or a scale.")


def detector_complexity(cfg: Config) -> Complexity:
    """Count a detector's config, completed by ``complete_model``."""
    model = build_skeleton(cfg).eval()
    with torch.device("meta"):
        model.backbone.fuse()
        shape = (1, 3, *count_input(cfg))
        parts = _count_parts(model, torch.zeros(shape))
    return Complexity(shape, parts, is_fused(model.backbone.name))


def config_rows(
    paths: Sequence[Path], *, backbone: str | None = None, dataset: str | None = None
) -> list[dict[str, str | float]]:
    """Return one printable row per config, the leaves of configs/ by default: params in M, multiply-adds in B by part.

    ``backbone`` and ``dataset`` as in ``load_config``.
    """
    rows = []
    for path in paths or list_leaves():
        cfg = load_config(path, backbone=backbone, dataset=dataset)
        complete_model(cfg)
        complexity = config_complexity(cfg)
        row: dict[str, str | float] = {"config": config_name(cfg), "input": "x".join(map(str, complexity.input[2:]))}
        row |= {"branches": "merged"} if complexity.fused else {}
        row |= {"params": round(complexity.params / 1e6, 3), "multiply-adds": round(complexity.macs / 1e9, 3)}
        for name, part in complexity.parts.items():
            row |= {f"{name} params": round(part.params / 1e6, 3), f"{name} macs": round(part.macs / 1e9, 3)}
        rows.append(row)
    return rows


def _count_parts(model: "BaseDetector", image: Tensor) -> dict[str, Part]:
    backbone_macs, maps = count_macs(lambda: model.backbone(image))
    neck_macs, maps = count_macs(lambda: model.neck(maps))
    parts = {"backbone": _part(model.backbone, backbone_macs), "neck": _part(model.neck, neck_macs)}
    for name, (head, run) in _heads(model, maps).items():
        macs, _ = count_macs(run)
        parts[name] = _part(head, macs)
    return parts


def _heads(model: "BaseDetector", maps: tuple[Tensor, ...]) -> dict[str, tuple[nn.Module, Callable[[], Any]]]:
    if not hasattr(model, "roi_head"):  # one stage
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


def classifier_complexity(name: str, resolution: int, num_classes: int = IMAGENET_CLASSES) -> Complexity:
    """Count a catalogue entry as a classifier, ImageNet's by default, at a square resolution in pixels."""
    shape = (1, 3, resolution, resolution)
    with torch.device("meta"):
        net = fuse_network(name, build_network(name, num_classes).eval())
        macs, _ = count_macs(lambda: net(torch.zeros(shape)))
    return Complexity(shape, {"classifier": _part(net, macs)}, is_fused(name))
