"""Importing this registers the benchmark's parts with MMDetection; configs name it in ``custom_imports``."""

import contextlib

from benchmark.models import mmcv_ops

mmcv_ops.install()
with contextlib.redirect_stdout(None):  # MMDetection prints which of its optional parts are not installed
    from backbones import features
    from benchmark import seeding
    from benchmark.data import coco, finegrained, transforms
    from benchmark.evaluation import accuracy, coco_ap
    from benchmark.models import classifier, precision, rcnn, ssdlite
    from benchmark.training import classifier_hooks, hooks, loops, progress, saving

__all__ = [
    "accuracy",
    "classifier",
    "classifier_hooks",
    "coco",
    "coco_ap",
    "features",
    "finegrained",
    "hooks",
    "loops",
    "mmcv_ops",
    "precision",
    "progress",
    "rcnn",
    "saving",
    "seeding",
    "ssdlite",
    "transforms",
]
