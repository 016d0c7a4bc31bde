"""What a training needs besides its data: a learning rate for its batch, sound weights, room for its checkpoints."""

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config

from backbones.errors import UserError
from backbones.tensors import check_file, file_sha256, read_state_dict
from benchmark.config.load import config_name
from benchmark.config.recipe import EMA, SEARCH
from benchmark.preflight.rows import Row

RUN = "run"  # in place of a split's name
_BYTES = 4  # of a number in a checkpoint
_STATES = {"SGD": 1, "Adam": 2, "AdamW": 2, "RMSprop": 2}  # numbers that an optimizer keeps for a parameter, at most


def check_learning_rate(cfg: Config, environment: Mapping[str, str] = os.environ) -> Row:
    """Say which learning rate a training of so many processes and images uses.

    Args:
        cfg: the training's config.
        environment: where torchrun and Slurm say how many processes there are.
    """
    processes = int(environment.get("WORLD_SIZE") or environment.get("SLURM_NTASKS") or 1)
    images = cfg.train_dataloader.batch_size
    batch, rate = images * processes, cfg.optim_wrapper.optimizer.lr
    check = "learning rate for the global batch"
    if not (isinstance(rate, (int, float)) and math.isfinite(rate)):
        message = f"optim_wrapper.optimizer.lr: expected a number, found {rate!r}."
        return Row(RUN, check, "error", None, (), message)
    if search := next((hook for hook in cfg.get("custom_hooks", ()) if hook.get("type") == SEARCH), None):
        return Row(RUN, check, "ok", None, (f"searched from {search.low:.3g} to {search.high:.3g}",))
    scaling = cfg.get("auto_scale_lr") or {}
    base = scaling.get("base_batch_size", batch)
    place = f"batch {batch} ({images} images x world size {processes})"
    if scaling.get("enable"):
        rate = rate * batch / base
        return Row(RUN, check, "ok", None, (f"{rate:.4g} for {place}, scaled from batch {base}",))
    if base == batch:
        return Row(RUN, check, "ok", None, (f"{rate:.4g} for {place}",))
    message = (
        f"The learning rate {rate:.4g} belongs to batch {base} and is not scaled to {place}: "
        "set auto_scale_lr.enable=true, or another rate."
    )
    return Row(RUN, check, "warning", None, (f"{rate:.4g} for {place}, meant for batch {base}",), message)


def check_weights(cfg: Config, *, read: bool) -> Iterator[Row]:
    """Check the weights file that the backbone begins with, if it begins with a file: its hash, and that it is safe.

    Args:
        cfg: the training's config.
        read: read its tensors, which takes PyTorch.
    """
    source = cfg.model.backbone.get("pretrained")
    if not source or source == "imagenet":
        return
    path, title = Path(source), "weights file"
    check = read_state_dict if read else check_file
    try:
        check(path)
    except UserError as error:
        yield Row(RUN, title, "error", None, (str(path),), str(error))
    else:
        yield Row(RUN, title, "ok", None, (f"{path.name}, sha256 {file_sha256(path)}",))


def check_disk(cfg: Config, params: int) -> Row:
    """Compare the room on the disk with what the checkpoints of a training take, at most.

    A checkpoint holds the weights, their averages if there are any, and the optimizer's state, 4 bytes a number. There
    are those that are kept, one that is being written, and that of the best weights.

    Args:
        cfg: the training's config; ``work_dir`` is where it writes, if it says so.
        params: of its model.
    """
    work_dir = Path(cfg.get("work_dir") or Path("work_dirs") / config_name(cfg)).absolute()
    states = _STATES.get(cfg.optim_wrapper.optimizer.type, max(_STATES.values()))
    checkpoints = cfg.default_hooks.checkpoint.get("keep", 1) + 1
    averages = sum(hook.get("type") == EMA for hook in cfg.custom_hooks)
    needed = _BYTES * params * (checkpoints * (1 + states + averages) + 1 + averages)
    folder = next(place for place in (work_dir, *work_dir.parents) if place.exists())
    # Checkpoints that are there give way to new ones.
    free = shutil.disk_usage(folder).free + sum(path.stat().st_size for path in work_dir.glob("*.pth"))
    text = f"{_gigabytes(needed)} needed, {_gigabytes(free)} free at {folder}"
    check = "disk space for checkpoints"
    if needed <= free:
        return Row(RUN, check, "ok", None, (text,))
    message = f"Too little room for checkpoints: {text}. Make room, or give --work-dir on another disk."
    return Row(RUN, check, "error", None, (text,), message)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
