"""Trackers of experiments beside TensorBoard: each in a process of its own, which no training waits for.

MMEngine's back ends for W&B and MLflow run inside the training, and stop or delay it where the tracker does; they also
forget the iterations, and copy the sources of the current folder. A tracker that fails here costs a training one
warning: whatever it does, lines are written into a pipe that is never waited for.
"""

import fcntl
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

import benchmark
from backbones.errors import UserError
from benchmark.config.identity import flatten
from benchmark.files.run_folder import TRACKER_LOG
from benchmark.training.tracker_process import STARTED

_LONGEST_WAIT = 10.0  # s, at the end of a training
_MOST_UNSENT = 4_000_000  # bytes
_PIPE = 1 << 20  # bytes


class Tracker(BaseVisBackend):
    """A tracker as one of MMEngine's back ends of visualization; of pictures it takes none.

    Args:
        save_dir: for its log, and what it writes itself unless its variables say another place.
    """

    name: ClassVar[str]

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._log = Path(save_dir) / TRACKER_LOG.format(self.name)
        self._process: subprocess.Popen | None = None
        self._unsent = bytearray()
        self._failed = False

    @property
    def experiment(self) -> Any:
        """The tracker's process, None before it is started."""
        return self._process

    def _init_env(self) -> None:
        """Do nothing: the config starts the process."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Start the tracker with a run's config."""
        self._failed = False
        try:
            self._start(Path(config.work_dir).name)
        except OSError as error:
            self._give_up(f"cannot be started ({error.strerror})")
        self._send({"config": flatten(config.to_dict())})

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Track one figure."""
        self.add_scalars({name: value}, step)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Track the figures of an iteration."""
        scalars = {name: float(value) for name, value in scalar_dict.items() if name != "step" and _is_number(value)}
        if scalars:
            self._send({"scalars": scalars, "step": step})

    def add_image(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Let the tracker end; one that has not even started by then is ended."""
        if self._process is None or self._failed:
            return
        self._send({"end": True})
        deadline = time.monotonic() + _LONGEST_WAIT
        while self._unsent and not self._failed and time.monotonic() < deadline:
            time.sleep(0.05)
            self._write()
        if self._failed:
            return
        try:
            status = self._process.wait(max(0.05, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            if self._unsent or STARTED not in self._log.read_text(errors="replace"):
                self._process.kill()
                self._give_up("did not start, or does not read")
            return  # it goes on sending, for some minutes at most
        if status:
            self._give_up("ended with an error")

    def _start(self, run: str) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        root = str(Path(benchmark.__file__).parents[1])
        paths = filter(None, (root, os.environ.get("PYTHONPATH")))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmark.training.tracker_process", self.name, self._save_dir, run],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the training
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        assert self._process.stdin
        os.set_blocking(self._process.stdin.fileno(), False)
        with suppress(OSError):  # where the user's limit is lower
            fcntl.fcntl(self._process.stdin, fcntl.F_SETPIPE_SZ, _PIPE)

    def _send(self, line: dict[str, Any]) -> None:
        if self._failed or self._process is None:
            return
        self._unsent += json.dumps(line, default=repr).encode() + b"\n"
        self._write()
        if len(self._unsent) > _MOST_UNSENT:
            self._process.kill()
            self._give_up("does not keep up")

    def _write(self) -> None:
        """Write what the pipe takes without waiting."""
        assert self._process and self._process.stdin
        try:
            while self._unsent:
                del self._unsent[: os.write(self._process.stdin.fileno(), self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._give_up("ended with an error")

    def _give_up(self, why: str) -> None:
        self._failed = True
        self._unsent.clear()
        said = ""
        with suppress(OSError):
            lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
            said = f": {lines[-1].strip()[:200]}" if lines else ""
        MMLogger.get_current_instance().warning(
            f"--tracker {self.name} {why}{said}. The training goes on without it; {self._log} has what it said."
        )


@VISBACKENDS.register_module()
class WandbTracker(Tracker):
    """Weights & Biases."""

    name = "wandb"


@VISBACKENDS.register_module()
class MlflowTracker(Tracker):
    """MLflow."""

    name = "mlflow"


@VISBACKENDS.register_module()
class TrackioTracker(Tracker):
    """Trackio."""

    name = "trackio"


_TYPES = {tracker.name: tracker.__name__ for tracker in (WandbTracker, MlflowTracker, TrackioTracker)}


def add_trackers(cfg: Config, names: Sequence[str]) -> None:
    """Add trackers to what a training logs to.

    Raises:
        UserError: one that is named twice, or is not installed.
    """
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--tracker {name} is given twice: leave one out.")
        if find_spec(name) is None:
            raise UserError(f"--tracker {name}: the package {name} is not installed: pip install {name}.")
    backends = [dict(type=_TYPES[name]) for name in names]
    cfg.visualizer.vis_backends = [*cfg.visualizer.get("vis_backends", ()), *backends]


def without_trackers(visualizer: Mapping[str, Any]) -> ConfigDict:
    """Return a config's visualizer as it was before ``add_trackers``."""
    backends = [backend for backend in visualizer.get("vis_backends", ()) if backend["type"] not in _TYPES.values()]
    return ConfigDict({**visualizer, "vis_backends": backends})


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
