"""Importing this registers the benchmark's parts with MMDetection; configs name it in ``custom_imports``."""

import contextlib

from benchmark import mmcv_ops

mmcv_ops.install()
with contextlib.redirect_stdout(None):  # MMDetection prints which of its optional parts are not installed
    from benchmark import data, hooks, metrics, precision, progress, ssdlite

__all__ = ["data", "hooks", "metrics", "mmcv_ops", "precision", "progress", "ssdlite"]
