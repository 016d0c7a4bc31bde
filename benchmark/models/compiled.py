"""Where a backbone may be compiled by torch.compile: for images of one size; each other one is compiled anew."""

from mmengine.config import Config

from backbones.errors import UserError
from benchmark.tasks import TASKS


def check_compilable(cfg: Config) -> None:
    """Check that a config's training images all have one size.

    Raises:
        UserError: they vary.
    """
    if not TASKS[cfg.task].fixed_shapes:
        raise UserError(
            f"--compile is for images of one size, and those of a {cfg.task} config vary ({cfg.filename}): each size "
            "would be compiled anew, for minutes. Leave it out."
        )
