"""What several tests share: small detectors, samples and command lines."""

import subprocess
import sys
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from benchmark.config import CONFIGS, complete_model, load_config

REPOSITORY = CONFIGS.parent
SMALL = ("model.backbone.name=mobilenet_v3_small", "model.backbone.pretrained=None")


def small_config(config: str = "ssdlite_mobilenet_v3_large", *options: str) -> Config:
    """A detector's config with the catalogue's smallest backbone and random weights."""
    cfg = load_config(CONFIGS / f"{config}.py", options=(*SMALL, *options))
    complete_model(cfg)
    return cfg


def build_detector(cfg: Config) -> nn.Module:
    """The config's model with fixed random weights."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    import benchmark.registration  # noqa: F401

    init_default_scope("mmdet")
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def build_dataset(dataset: dict, **changes):
    """The data set of a config's data loader, with changes."""
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    import benchmark.registration  # noqa: F401

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
