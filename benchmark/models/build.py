"""The one way from a config to a model."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmengine.config import Config

from backbones.errors import UserError, as_user_errors

if TYPE_CHECKING:
    from mmengine.model import BaseModel


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Import MMDetection without what it prints and warns of optional parts that are not installed."""
    with contextlib.redirect_stdout(None), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="faster_coco_eval is not installed")
        yield


def register_models() -> None:
    """Register backbones, detectors and classifiers with MMDetection; another call changes nothing."""
    from benchmark.models import mmcv_ops

    mmcv_ops.install()
    with quiet_imports():
        import benchmark.models.classifier
        import benchmark.models.preprocessor
        import benchmark.models.rcnn
        import benchmark.models.ssdlite  # noqa: F401


def check_model_type(cfg: Config) -> None:
    """Check that a config's model is one that is registered.

    Raises:
        UserError: it is not.
    """
    from mmdet.registry import MODELS

    if not isinstance(cfg.model.type, str) or MODELS.get(cfg.model.type) is None:
        raise UserError(f"model.type={cfg.model.type!r}: no such model is registered; leave it as it is.")


def build_model(cfg: Config) -> "BaseModel":
    """Build a config's detector or classifier, with random weights, on the default device."""
    register_models()
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    with as_user_errors("Building the config's model"):
        return MODELS.build(cfg.model.copy())  # building takes entries out


def build_skeleton(cfg: Config) -> "BaseModel":
    """Build a config's model on the meta device: shapes without numbers, in no memory."""
    import torch

    register_models()  # what its imports make must not be on the meta device
    with torch.device("meta"):
        return build_model(cfg)
