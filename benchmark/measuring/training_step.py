"""A config's training step on random pictures, to be timed: forward, losses, backward and the optimizer's update."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import BaseDataElement

from benchmark.config.complete import complete_model
from benchmark.models.build import build_model
from benchmark.models.compiled import check_compilable
from benchmark.models.precision import AutocastOptimWrapper
from benchmark.tasks import TASKS

OBJECTS = 7  # a picture, as in COCO


def make_step(
    cfg: Config,
    batch_size: int,
    size: tuple[int, int],
    *,
    precision: str,
    device: str,
    memory_format: torch.memory_format,
    compiled: bool = False,
) -> Callable[[], Any]:
    """Return a function that trains a config's model, with random weights, on one batch, the same one at each call.

    The learning rate is 0: weights that learn a batch of noise by heart would soon compute with tiny numbers, which is
    another time.

    Args:
        cfg: of any task.
        batch_size: images.
        size: of the pictures, (height, width) in pixels.
        precision: a key of ``PRECISIONS``.
        device: ``cpu`` or ``cuda``.
        memory_format: of the weights.
        compiled: compile the backbone, as trainings do.

    Raises:
        UserError: to be compiled, but for images of varying sizes.
    """
    complete_model(cfg)
    model = build_model(cfg)
    if compiled:
        check_compilable(cfg)
        model.backbone.compile()
    model = model.train().to(device).to(memory_format=memory_format)
    with contextlib.redirect_stdout(None):  # MMDetection prints which of its optional parts are not installed
        optimizer = build_optim_wrapper(
            model, {**cfg.optim_wrapper, "type": AutocastOptimWrapper, "precision": precision}
        )
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    task = TASKS[cfg.task]
    pictures = torch.randint(256, (batch_size, 3, *size), dtype=torch.uint8)
    batch = {
        "inputs": pictures if task.fixed_shapes else list(pictures),
        "data_samples": [
            BaseDataElement(metainfo={"gt_label": 0}) if task.kind == "classifier" else _sample(*size)
            for _ in range(batch_size)
        ],
    }
    return lambda: model.train_step(dict(batch), optimizer)


def _sample(height: int, width: int) -> Any:
    """Return a picture's objects, boxes with masks that fill them, spread over it."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import PolygonMasks
    from mmengine.structures import InstanceData

    share = np.linspace(0.0, 0.6, OBJECTS)[:, None]
    boxes = np.hstack([share * width, share * height, (share + 0.3) * width, (share + 0.3) * height])  # (OBJECTS, 4)
    polygons = [[box[[0, 1, 2, 1, 2, 3, 0, 3]]] for box in boxes]
    shape = (height, width)
    sample = DetDataSample(metainfo=dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), shape))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        labels=torch.zeros(OBJECTS, dtype=torch.long),
        masks=PolygonMasks(polygons, height, width),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.empty(0, 4), labels=torch.empty(0, dtype=torch.long))
    return sample
