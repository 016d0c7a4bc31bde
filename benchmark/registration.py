"""Importing this registers the benchmark's parts with MMDetection; configs name it in ``custom_imports``."""

import contextlib

from benchmark import mmcv_ops

mmcv_ops.install()
with contextlib.redirect_stdout(None):  # MMDetection prints which of its optional parts are not installed
    from benchmark import data, determinism, hooks, loops, metrics, precision, progress, saving, ssdlite, two_stage
    from benchmark.finegrained import classifier, datasets, transforms
    from benchmark.finegrained import hooks as classifier_hooks
    from benchmark.finegrained import metrics as classifier_metrics

__all__ = [
    "classifier",
    "classifier_hooks",
    "classifier_metrics",
    "data",
    "datasets",
    "determinism",
    "hooks",
    "loops",
    "metrics",
    "mmcv_ops",
    "precision",
    "progress",
    "saving",
    "ssdlite",
    "transforms",
    "two_stage",
]
