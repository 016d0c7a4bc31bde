"""What a run prints while it works, and what TensorBoard gets."""

import datetime
from typing import Any

from mmengine.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner

from benchmark.measuring.memory import peak_memory
from benchmark.training.tensorboard import EVALUATION


@LOG_PROCESSORS.register_module()
class ProgressLog(LogProcessor):
    """One line every so many iterations: position, losses, learning rate, images/s, memory, time left."""

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict[str, Any], str]:
        """Return the scalars for TensorBoard and the line for the log."""
        scalars, _ = super().get_log_after_iter(runner, batch_idx, mode)
        loader = runner.train_dataloader if mode == "train" else getattr(runner, f"{mode}_dataloader")
        done, total = (runner.iter + 1, runner.max_iters) if mode == "train" else (batch_idx + 1, len(loader))
        seconds = scalars.get("time")
        if not seconds:
            return scalars, f"{mode} {done}/{total}"
        scalars["images_per_second"] = loader.batch_size * runner.world_size / seconds
        scalars["memory_gb"] = peak_memory() / 1e9
        parts = [
            f"{mode} {done:>{len(str(total))}}/{total}",
            *(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in scalars.items() if "loss" in name),
            *(f"lr {value:.2e}" for name, value in scalars.items() if name == "lr"),
            f"{scalars['images_per_second']:.1f} images/s",
            f"{scalars['memory_gb']:.1f} GB",
            f"left {datetime.timedelta(seconds=round((total - done) * seconds))}",
        ]
        return scalars, "  ".join(parts)

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Return the figures of an evaluation and the line for the log."""
        figures, _ = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        named = {name: value for name, value in figures.items() if name not in ("time", "data_time")}
        line = "  ".join(f"{name} {value:.1f}" for name, value in named.items() if isinstance(value, (int, float)))
        return {f"{EVALUATION}{name}": value for name, value in named.items() if value is not None}, f"{mode}: {line}"
