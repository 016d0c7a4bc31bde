"""Hooks of a classifier's runs."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from backbones.errors import UserError


@HOOKS.register_module()
class SameClassesHook(Hook):
    """Refuse a checkpoint that was trained to tell other classes apart than the config's."""

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the number of classes."""
        trained = checkpoint.get("meta", {}).get("dataset_meta", {})
        found, expected = len(trained.get("classes", ())), runner.cfg.model.num_classes
        if found and found != expected:
            raise UserError(
                f"The checkpoint was trained on {trained.get('name', 'another data set')} ({found} classes), the "
                f"config is for {runner.cfg.dataset_name} ({expected} classes): give the checkpoint's own config."
            )
