"""The process that talks to a tracker of experiments for a training: ``python -m ... wandb|mlflow|trackio DIR RUN``.

It reads lines of JSON from standard input, ``{"config": {...}}`` first, then ``{"scalars": {...}, "step": n}``; it ends
at ``{"end": true}`` or where the input ends. The libraries' own variables say where and whether they send anything
(``WANDB_MODE``, ``MLFLOW_TRACKING_URI``, ``TRACKIO_DIR``, ...).
"""

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

PROJECT = "rexnet-benchmark"
STARTED = "The tracker has started."
_LONGEST_END = 300  # s, for what is still to be sent
_PARAMS = 100  # that MLflow takes at once


class Experiment(NamedTuple):
    """What a tracker takes: figures of an iteration, and the end."""

    log: Callable[[dict[str, float], int], Any]
    end: Callable[[], Any]


def _wandb(folder: str, run: str, config: dict[str, Any]) -> Experiment:
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    opened = wandb.init(project=project, name=run, config=config, dir=folder)
    return Experiment(lambda scalars, step: opened.log(scalars, step=step), opened.finish)


def _mlflow(folder: str, run: str, config: dict[str, Any]) -> Experiment:
    import mlflow

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    mlflow.start_run(run_name=run)
    params = iter(config.items())
    while part := dict(itertools.islice(params, _PARAMS)):
        mlflow.log_params(part)
    return Experiment(lambda scalars, step: mlflow.log_metrics(scalars, step=step), mlflow.end_run)


def _trackio(folder: str, run: str, config: dict[str, Any]) -> Experiment:
    import trackio

    trackio.init(project=PROJECT, name=run, config=config)
    return Experiment(lambda scalars, step: trackio.log(scalars, step=step), trackio.finish)


OPEN: dict[str, Callable[[str, str, dict[str, Any]], Experiment]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}


def main() -> None:
    """Read and hand on."""
    name, folder, run = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training says when it ends
    lines = map(json.loads, sys.stdin)
    experiment = OPEN[name](folder, run, next(lines)["config"])
    print(STARTED, flush=True)
    for line in lines:
        if "end" in line:
            break
        experiment.log(line["scalars"], line["step"])
    signal.alarm(_LONGEST_END)
    experiment.end()


if __name__ == "__main__":
    main()
