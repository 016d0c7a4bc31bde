"""What several tests share: small detectors, samples and command lines."""

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from backbones import families
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.models.build import build_model
from benchmark.records.result import Result
from benchmark.training.registration import register

REPOSITORY = CONFIGS.parent
SMALL = ("model.backbone.name=mobilenet_v3_small", "model.backbone.pretrained=None")


def small_config(config: str = "ssdlite", *options: str, **changes: Any) -> Config:
    """A detector's config with the catalogue's smallest backbone and random weights."""
    cfg = load_config(CONFIGS / f"{config}.py", options=(*SMALL, *options), **changes)
    complete_model(cfg)
    return cfg


def build_detector(cfg: Config) -> nn.Module:
    """The config's model with fixed random weights."""
    torch.manual_seed(0)
    return build_model(cfg)


def build_dataset(dataset: dict, **changes):
    """The data set of a config's data loader, with changes."""
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    register()
    init_default_scope("mmdet")
    return DATASETS.build(ConfigDict(dataset, **changes))


def sample(boxes: list[list[float]], labels: list[int], side: int = 320):
    """One square image's ground truth; boxes are xyxy in pixels."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    meta = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), (side, side))
    truth = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long))
    return DetDataSample(metainfo={**meta, "scale_factor": (1.0, 1.0), "img_id": 0}, gt_instances=truth)


def run_tool(tool: str, *arguments: str | Path, timeout: float = 300, **kwargs) -> subprocess.CompletedProcess:
    """Run one of tools/ as a user does."""
    command = [sys.executable, str(REPOSITORY / "tools" / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=REPOSITORY, **kwargs)


def pycocotools_ap(annotations: Path, detections: list[dict], iou_type: str) -> tuple[np.ndarray, np.ndarray]:
    """The referee's twelve figures and its precision by threshold, recall and class."""
    truth = COCO(str(annotations))
    # pycocotools takes a mask's area from its box if it is given one; COCO's official mask results have none.
    dropped = "bbox" if iou_type == "segm" else "segmentation"
    bare = [{key: value for key, value in detection.items() if key != dropped} for detection in detections]
    evaluation = COCOeval(truth, truth.loadRes(bare), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][:, :, :, 0, -1]


def result(**changes) -> Result:
    """A valid result with changes."""
    content = {
        "task": "ssdlite",
        "backbone": "rexnet_x1.0",
        "config": {"name": "ssdlite_rexnet_x1.0", "sha256": "0" * 64},
        "data": {"name": "coco2017", "split": "val2017", "images": 5000, "annotations_sha256": "1" * 64},
        "metrics": {"box_AP": 25.31, "box_AP50": 42.3, "box_AP75": None},
        "cost": {"params": 5_688_574, "macs": 1_007_918_560, "input": (1, 3, 320, 320)},
        "training": None,
        "provenance": {
            "git_commit": "abc", "git_dirty": False, "versions": {}, "python": "3.11", "device": "CPU",
            "precision": "fp32", "world_size": 1, "date": "2026-01-01T00:00:00+00:00",
        },
        **changes,
    }  # fmt: skip
    return Result.model_validate(content)


def sampled(names: Iterable[str]) -> list:
    """Parameters of a test over the catalogue: all rows of the paper's families and of each other family the first one.

    The others are marked ``zoo``: they take minutes, and ``make zoo`` runs them.
    """
    chosen, seen = [], set()
    for name in names:
        family = FAMILY_OF.get(name)
        in_every_run = family in ("mbconv", "rexnet", "timm_models") or family not in seen
        seen.add(family)
        chosen.append(pytest.param(name, marks=[] if in_every_run else pytest.mark.zoo))
    return chosen


# Backbone -> the file of its family.
FAMILY_OF = {
    name: module.name
    for module in pkgutil.iter_modules(families.__path__)
    for name in importlib.import_module(f"{families.__name__}.{module.name}").ROWS
}
