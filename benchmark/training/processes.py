"""The processes of a run: which one writes, how many there are, and how they meet."""

import os
import signal
import threading
import time

from backbones.errors import UserError

RESTARTS = "TORCHELASTIC_RESTART_COUNT"
_OF_AGENT = "TORCHELASTIC_RUN_ID"  # what torchrun's agent puts into the environment, and no script of a user's own
_FROM_TORCHRUN = {"RANK", "WORLD_SIZE", "LOCAL_RANK"}
# Launcher -> what it puts into the environment of the processes that it starts, and how it is told to.
_LAUNCHERS = {
    "pytorch": (_FROM_TORCHRUN | {"MASTER_ADDR", "MASTER_PORT"}, "torchrun tools/..."),
    "slurm": ({"SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST"}, "srun python tools/... in a job of Slurm"),
}


def is_main() -> bool:
    """Tell whether this is the process that writes; before and after the process group stands."""
    return not os.environ.keys() >= _FROM_TORCHRUN or os.environ["RANK"] == "0"  # RANK alone is no launcher's


def world_size() -> int:
    """Return how many processes torchrun or Slurm has started for this run."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


def is_restart() -> bool:
    """Tell whether torchrun has started this process again after a failure (``--max-restarts``)."""
    return int(os.environ.get(RESTARTS, "0")) > 0


def find_launcher(launcher: str) -> str:
    """Return the launcher's name for MMEngine.

    Args:
        launcher: ``auto`` finds torchrun from the environment; ``none``, ``pytorch`` and ``slurm`` as MMDetection has.

    Raises:
        UserError: the launcher has not started this process.
    """
    if launcher == "auto":
        launcher = "pytorch" if os.environ.keys() >= _FROM_TORCHRUN else "none"
    if launcher in _LAUNCHERS:
        variables, command = _LAUNCHERS[launcher]
        if missing := sorted(variables - os.environ.keys()):
            raise UserError(
                f"--launcher {launcher}: this process was not started by it ({missing[0]} is not in the environment). "
                f"Start it as {command}, or leave --launcher out."
            )
    return launcher


def init_distributed(launcher: str) -> str:
    """Join the process group, with NCCL on GPUs and gloo on CPUs; arguments, return and errors of ``find_launcher``."""
    launcher = find_launcher(launcher)
    if launcher == "pytorch":
        import torch  # not before it is needed: those who only ask for is_main would wait for it

        if torch.distributed.is_initialized():
            return launcher
        if _OF_AGENT in os.environ:
            follow(os.getppid())
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        _init_process_group()
    return launcher


def follow(agent: int, *, pause: float = 1.0, grace: float = 60.0) -> None:
    """Have this process end when the agent that started it is gone, of which nobody else would tell it.

    It is told as a scheduler would tell it, so that a training saves first; what does not end by that is ended.

    Args:
        agent: torchrun's process.
        pause: seconds between two looks.
        grace: seconds that the end may take.
    """

    def watch() -> None:
        while os.getppid() == agent:
            time.sleep(pause)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _init_process_group() -> None:
    """Join torchrun's process group by a store in which restarts on one machine do not meet.

    torchrun keeps one store over all its restarts, and there a process may find the address that another had before
    (pytorch/pytorch#135712). Several machines may count restarts differently; docs/training.md says what helps there.
    """
    import torch

    store, rank, size = next(torch.distributed.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        store = torch.distributed.PrefixStore(f"restart_{os.environ.get(RESTARTS, '0')}", store)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
