"""Trainings that are killed at random moments and resumed, compared with one that is left alone.

    python dev/kills.py ssdlite --kills 20
    python dev/kills.py series --kills 10

The kills are SIGKILL, every third while a checkpoint is written; weights, optimizer, schedule and logs are compared bit
for bit. ``series`` is tools/bench.py: every second kill takes its runs along, as a loss of power would; the others
leave them to save and to end by themselves.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from helpers import SMALL, preloaded, started_tool
from make_layouts import make_layout
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.data.demo.pictures import make_demo_data
from benchmark.files.checkpoints import load_checkpoint
from benchmark.files.run_folder import RESULT, checkpoint_iteration, list_checkpoints
from benchmark.records.result import read_result
from benchmark.training.train import train

EVERY = (
    *("train_images=16", "val_images=6", "default_hooks.logger.interval=1", "log_processor.window_size=1"),
    "train_cfg.val_interval=3",
)
# What is trained: template and its data set. BN, momentum, dropout and augmentation are all in there.
TRAININGS: Mapping[str, tuple[str, str]] = {
    "ssdlite": ("ssdlite", "coco"),
    "mask_rcnn": ("mask_rcnn", "coco"),
    "finegrained": ("finetune", "imagefolder"),
}


SERIES = "series"
SERIES_STEPS = 20
SERIES_SPAN = (0.0, 40.0)  # s after its start, in which a series is killed: planning, timing, start-up, training
SERIES_LIMIT = 900.0  # s
MOST_OF_SERIES = 10  # kills; each costs a start of everything


class KillHook(Hook):
    """Kill this process a moment after an iteration, or the evaluation that follows the last one, has begun."""

    def __init__(self, iteration: int, delay: float) -> None:
        self.iteration, self.delay = iteration, delay

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.iteration:
            self.prepare(runner)

    def before_val_epoch(self, runner: Any) -> None:
        if runner.iter == self.iteration:
            self.prepare(runner)

    def prepare(self, runner: Any) -> None:
        threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGKILL)).start()


class KillWhileWritingHook(KillHook):
    """Kill this process when half of the first checkpoint from there on is on the disk."""

    def prepare(self, runner: Any) -> None:
        runner.save_checkpoint = functools.partial(_save_half, runner.save_checkpoint)


def _save_half(save: Callable, folder: str, name: str, **kwargs: Any) -> None:
    save(folder, name, **kwargs)
    path = os.path.join(folder, name)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def settings(name: str, work_dir: Path, data_root: Path, workers: int) -> Options:
    template, dataset = TRAININGS[name]
    loaders = [f"{loader}_dataloader.num_workers={workers}" for loader in ("train", "val")]
    return Options(
        config=CONFIGS / f"{template}.py",
        dataset=dataset,
        work_dir=work_dir,
        data_root=data_root,
        demo=True,
        batch_size=4,
        cfg_options=[*SMALL, *EVERY, *loaders],
    )


def train_killed(name: str, work_dir: Path, data_root: Path, steps: int, kills: int, seed: int) -> None:
    """Train with so many kills, and once more to the end."""
    rng = random.Random(seed)
    for kill in range(kills):
        done = max(map(checkpoint_iteration, list_checkpoints(work_dir)), default=0)
        at = rng.randrange(done, max(done, steps - kills + kill) + 1)
        hook = (KillWhileWritingHook if kill % 3 == 1 else KillHook)(at, rng.uniform(0, 0.2))
        # Another number of data-loading processes each time: it must make no difference.
        status = run_process(settings(name, work_dir, data_root, workers=kill % 3), steps, [hook])
        if status != -signal.SIGKILL:
            raise RuntimeError(f"The training ended with status {status} instead of being killed at iteration {at}.")
    if status := run_process(settings(name, work_dir, data_root, workers=2), steps):
        raise RuntimeError(f"The last training ended with status {status}.")


def run_process(options: Options, steps: int, hooks: Sequence[Hook] = ()) -> int | None:
    """Train in a process of its own, forked from one that has imported everything; return its exit status."""
    process = preloaded().Process(target=_until_killed, args=(options, steps, hooks))
    process.start()
    process.join(timeout=120)
    if process.is_alive():
        process.kill()
        raise RuntimeError("The training hangs.")
    return process.exitcode


def _until_killed(options: Options, steps: int, hooks: Sequence[Hook]) -> None:
    """Begin, or resume from what is there."""
    torch.set_num_threads(1)
    assert options.work_dir
    resume = bool(list_checkpoints(options.work_dir))
    train(options, steps=steps, resume=resume, overwrite=not resume, save_interval="1", hooks=hooks)
    if hooks:
        time.sleep(2)  # the kill may come after the last iteration
    sys.stdout.flush()
    os._exit(0)  # the files of multiprocessing are its parent's to remove


def series_command(folder: Path, data: Path) -> list[object]:
    """Return the arguments of a series of two backbones and two seeds."""
    quick = ["train_dataloader.num_workers=0", "val_dataloader.num_workers=0"]
    every = [*EVERY[2:], "default_hooks.checkpoint.interval=1"]
    return [
        *("--dataset", data, "--backbones", "mobilenet_v3_small,mobilenet_v3_large", "--budget", SERIES_STEPS),
        *("--seeds", 2, "--batch-size", 2, "--pretrained", "none", "--work-dir", folder, "--cfg-options"),
        *(*quick, *every, "train_dataloader.sampler.type=SampleStream"),
    ]


def run_series(folder: Path, data: Path, out: Path, kills: int, seed: int) -> int:
    """Run a series with up to so many kills, and once more to the end; return how many hit it before its end."""
    rng, hit = random.Random(seed), 0
    for kill in range(kills):
        with started_tool("bench.py", *series_command(folder, data), out=out) as process:
            process.join(rng.uniform(*SERIES_SPAN))
            if process.exitcode is not None:
                break
            assert process.pid
            whole = psutil.Process(process.pid)
            for each in [whole, *(whole.children(recursive=True) if kill % 2 else ())]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.join()
            hit += 1
    with started_tool("bench.py", *series_command(folder, data), out=out) as process:
        process.join(SERIES_LIMIT)
        if process.exitcode != 0:
            raise RuntimeError(
                f"The series ended with status {process.exitcode}: {out.with_suffix('.err').read_text()}"
            )
    return hit


def compare_series(killed: Path, alone: Path) -> list[str]:
    """Say where the runs of a killed series differ from those of one left alone; empty if nowhere."""
    runs = sorted(path.parent.name for path in alone.glob(f"*/{RESULT}"))
    if runs != sorted(path.parent.name for path in killed.glob(f"*/{RESULT}")):
        return ["other runs"]
    found = [f"{run}: {problem}" for run in runs for problem in compare(killed / run, alone / run)]
    figures = [[read_result(folder / run / RESULT).metrics for run in runs] for folder in (killed, alone)]
    return found if figures[0] == figures[1] else [*found, "figures"]


def kill_series(root: Path, kills: int, seed: int) -> tuple[int, list[str]]:
    """Kill a series below a folder; return how many kills hit it, and where it then differs from one left alone."""
    data = make_layout("yolo", make_demo_data(root / "demo", train_images=16, val_images=6), root / "shapes")
    run_series(root / "alone", data, root / "alone.out", kills=0, seed=0)
    hit = run_series(root / "killed", data, root / "killed.out", kills, seed)
    return hit, compare_series(root / "killed", root / "alone")


def state(work_dir: Path) -> dict[str, Any]:
    """What two equal trainings share at the end: weights, optimizer, schedule."""
    checkpoint = load_checkpoint(list_checkpoints(work_dir)[-1])
    return {key: checkpoint[key] for key in ("state_dict", "optimizer", "param_schedulers")}


def logged(work_dir: Path) -> list[tuple[int, str, tuple[float, ...]]]:
    """Everything TensorBoard was told, as (step, tag, values), but for what is about time and memory."""
    apart = ("time", "data_time", "images_per_second", "memory", "memory_gb")
    found = []
    for path in (work_dir / "vis_data").glob("events*"):
        for event in EventFileLoader(str(path)).Load():
            found += [
                (event.step, value.tag, tuple(value.tensor.float_val))
                for value in event.summary.value
                if value.tag not in apart and not value.tag.startswith("config")
            ]
    return sorted(found)


def differences(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Where two nested containers of tensors differ in any bit."""
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return [f"{place}: keys"]
        return [found for key in ours for found in differences(ours[key], theirs[key], f"{place}.{key}")]
    if isinstance(ours, (list, tuple)):
        if len(ours) != len(theirs):
            return [f"{place}: length"]
        return [
            found
            for i, pair in enumerate(zip(ours, theirs, strict=True))
            for found in differences(*pair, f"{place}.{i}")
        ]
    equal = torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
    return [] if equal else [place]


def compare(killed: Path, alone: Path) -> list[str]:
    """Say where a killed training differs from one left alone; empty if nowhere."""
    found = differences(state(killed), state(alone))
    mine, theirs = logged(killed), logged(alone)
    if mine != theirs:
        odd = sorted(set(mine) ^ set(theirs)) or "a step that is there twice"
        found.append(f"logs: {str(odd)[:500]}")
    return found


def train_one(work_dir: Path, data_root: Path, kill_at: Sequence[int]) -> int:
    """Train under torchrun; in each round another process kills itself."""
    round_, rank = (int(os.environ[name]) for name in ("TORCHELASTIC_RESTART_COUNT", "RANK"))
    hooks = [KillHook(kill_at[round_], 0.1)] if round_ < len(kill_at) and rank == round_ % 2 else []
    options = settings("ssdlite", work_dir, data_root, workers=1)
    patience = [f"{loader}_dataloader.timeout=60" for loader in ("train", "val")]
    options = dataclasses.replace(options, cfg_options=[*options.cfg_options, *patience])
    train(options, steps=8, save_interval="1", hooks=hooks)
    if hooks:
        time.sleep(60)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*TRAININGS, SERIES]
    parser.add_argument("training", nargs="*", default=names, help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work-dir", type=Path, help="be one SSDLite training, under torchrun")
    parser.add_argument("--data-root", type=Path, help="its data")
    parser.add_argument("--kill-at", type=int, nargs="*", default=(), help="iteration to die at, in each round")
    args = parser.parse_args()
    if args.work_dir:
        return train_one(args.work_dir, args.data_root, args.kill_at)
    failed = False
    for name in args.training:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            if name == SERIES:
                os.environ["XDG_CACHE_HOME"] = str(root / "cache")
                hit, found = kill_series(root, min(args.kills, MOST_OF_SERIES), args.seed)
                failed |= report(name, hit, found, begun)
                continue
            steps = args.kills + 4
            if status := run_process(settings(name, root / "alone", root / "data", workers=0), steps):
                raise RuntimeError(f"The training ended with status {status}.")
            train_killed(name, root / "killed", root / "data", steps, args.kills, args.seed)
            found = compare(root / "killed", root / "alone")
        failed |= report(name, args.kills, found, begun)
    return int(failed)


def report(name: str, kills: int, found: Sequence[str], begun: float) -> bool:
    """Print what came of it, and return whether something differs."""
    verdict = "differs: " + "; ".join(found[:5]) if found else "equal bit for bit"
    print(f"{name}: {kills} kills, {verdict}, {time.monotonic() - begun:.0f} s", flush=True)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
