"""Registering the benchmark's parts with MMDetection."""

from benchmark.models.build import quiet_imports, register_models


def register() -> None:
    """Register models, data sets, transforms, metrics, hooks and loops; another call changes nothing."""
    register_models()
    with quiet_imports():
        import mmdet.evaluation  # noqa: F401  # which the registry would import later, warnings and all

        import benchmark.data.coco
        import benchmark.data.finegrained
        import benchmark.data.packing
        import benchmark.data.ssd_sample
        import benchmark.data.stream
        import benchmark.data.transforms
        import benchmark.evaluation.accuracy
        import benchmark.evaluation.coco_ap
        import benchmark.models.precision
        import benchmark.training.fine_tuning
        import benchmark.training.hooks
        import benchmark.training.loops
        import benchmark.training.progress
        import benchmark.training.rate_search
        import benchmark.training.saving
        import benchmark.training.trackers  # noqa: F401
