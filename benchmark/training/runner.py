"""MMEngine's Runner with a flat run folder, safe checkpoints, channels_last, and CPUs under torchrun."""

import logging
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from backbones.errors import UserError, as_user_errors
from benchmark.files.checkpoints import fill, load_checkpoint
from benchmark.files.run_folder import CONFIG, LOG
from benchmark.training.plan import Plan
from benchmark.training.signals import StopSignals, leave_signals_to_the_main_process
from benchmark.training.trackers import without_trackers

_OF_TRAINING = ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "auto_scale_lr")
# How gloo and NCCL say that another process does not answer.
_CONNECTION = re.compile(r"gloo|nccl|connection (closed|reset)", re.IGNORECASE)
_LONGEST_WAIT = 600  # s, for a batch from data-loading processes


class BenchmarkRunner(Runner):
    """The Runner of every tool; configs and hooks mean what they mean in MMDetection."""

    plan: Plan

    @classmethod
    def from_plan(cls, plan: Plan) -> Self:
        """Build the runner of a plan, and log what is to be said before it starts."""
        # The log and TensorBoard get it, unformatted: yapf would take as long as the model's building.
        cfg = Config(plan.cfg.to_dict(), filename=plan.cfg.filename, format_python_code=False)
        if plan.evaluates:
            for key in _OF_TRAINING:
                cfg.pop(key, None)
        runner = cls.from_cfg(cfg)
        runner.plan = plan
        if is_main_process():
            cfg = plan.cfg.copy()
            cfg.resume, cfg.load_from = False, None  # what it came from is no part of it, nor who watches
            cfg.visualizer = without_trackers(cfg.visualizer)
            cfg.dump(str(plan.work_dir / CONFIG))
        for note in plan.notes:
            runner.logger.warning(note)
        return runner

    @cached_property
    def stop_signals(self) -> StopSignals:
        """The signals that have come in during the training."""
        return StopSignals()

    @property
    def is_training(self) -> bool:
        """Whether this is a training, which also evaluates, and not an evaluation alone."""
        return self._train_loop is not None

    def train(self) -> nn.Module:
        """Train; a signal ends it in good order.

        Raises:
            UserError: whatever fails; ``run.log`` has the traceback.
        """
        with self.stop_signals, as_user_errors(str(self.cfg.filename), Path(self.work_dir) / LOG):
            try:
                return super().train()
            except RuntimeError as error:
                if self.distributed and _CONNECTION.search(str(error)):
                    raise UserError(
                        "Another process of this training ended, its own message says why; --resume continues from the "
                        "last checkpoint."
                    ) from error
                raise

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> DataLoader:
        """Build a data loader as MMEngine does; its processes leave signals to this one, and have limited time."""
        if isinstance(dataloader, dict) and dataloader.get("num_workers"):
            worker = {"worker_init_fn": {"type": leave_signals_to_the_main_process}}
            dataloader = {"timeout": _LONGEST_WAIT, **dataloader, **worker}
        return Runner.build_dataloader(dataloader, *args, **kwargs)

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Build one of this run's own: MMEngine keeps one per name, and configs name it for MMDetection's clients."""
        if isinstance(visualizer, dict):
            visualizer = {**visualizer, "name": self._experiment_name}
        return super().build_visualizer(visualizer)

    def setup_env(self, env_cfg: dict) -> None:
        """Set up as MMEngine does, with logs directly in the run's folder instead of one named by the time."""
        super().setup_env(env_cfg)
        self._timestamp = ""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """Append everything to ``run.log``; the terminal gets the one-line messages."""
        path = log_file or str(Path(self.work_dir) / LOG)
        logger = super().build_logger(log_level, path, file_mode="a", **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_terminal)
                handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Compile the backbone if asked to, move the model to its device and memory format, and wrap it.

        Several processes share gradients by the wrapper and, on GPUs, BN's statistics: timm's layers hold their
        activation in the BN, which torch's own conversion to SyncBN would lose.
        """
        if self.cfg.get("compiled"):
            cast(nn.Module, model.backbone).compile()  # in place: its weights keep their names
        memory_format = getattr(torch, self.cfg.get("memory_format", "contiguous_format"))
        model = model.to(get_device()).to(memory_format=memory_format)
        if not self.distributed:
            return model
        on_gpu = torch.cuda.is_available()
        if on_gpu and self.cfg.get("sync_bn"):
            from timm.layers import convert_sync_batchnorm

            model = convert_sync_batchnorm(model)
        elif self.cfg.get("sync_bn"):
            self.logger.info("BN is not synchronised: it is on GPUs only.")
        return MMDistributedDataParallel(
            module=model,
            device_ids=[torch.cuda.current_device()] if on_gpu else None,
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get("find_unused_parameters", False),
        )

    def load_checkpoint(self, filename: str, map_location: Any = "cpu", strict: bool = True, **kwargs: Any) -> dict:
        """Load weights; every key must fit.

        Raises:
            UserError: not a checkpoint, or one of another model.
        """
        checkpoint = load_checkpoint(Path(filename), map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        fill(model, checkpoint["state_dict"], filename)
        self._has_loaded = True
        self.logger.info(f"Loaded {filename}.")
        return checkpoint

    def load_pretrained(self) -> None:
        """Load the pretrained weights that the config names."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        model.init_weights()

    def close(self) -> None:
        """Close ``run.log``: a sweep has many runs in one process."""
        for handler in [handler for handler in self.logger.handlers if isinstance(handler, logging.FileHandler)]:
            self.logger.removeHandler(handler)
            handler.close()

    def dump_config(self) -> None:
        """Leave that to ``from_plan``: MMEngine's own would leave out what an evaluation does not use."""


def _is_for_terminal(record: logging.LogRecord) -> bool:
    # MMEngine also logs the whole config and environment, deprecations of its own, and a name made up for the run.
    message = record.getMessage()
    return "\n" not in message and "deprecated" not in message and not message.startswith("Exp name")
