"""Importing this registers the benchmark's parts with MMDetection; configs name it in ``custom_imports``."""

from benchmark import mmcv_ops

mmcv_ops.install()

from benchmark import data, hooks, metrics, precision, progress, ssdlite  # noqa: E402

__all__ = ["data", "hooks", "metrics", "mmcv_ops", "precision", "progress", "ssdlite"]
