"""Draw hostile command lines of all tools at random for a while, run them in this process, and report findings.

A finding is an error that nobody expected, a hang, a message where the status is 0, and a refused command that changed
something. The same seed draws the same command lines.
"""

import argparse
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from hostile_world import (
    CHECKPOINTS,
    DETECTIONS,
    EMPTY,
    TOOLS,
    arguments_of,
    call,
    command_line,
    complaint,
    fingerprint,
    make_world,
)

LIMIT = 120  # s a command
MEMORY = 10 * 2**30  # bytes a command may take; one that is given more takes the machine's
SHORT = {
    "steps": "1",
    "rounds": "1",
    "calibrate": "2",
    "grid": "1x1",
    "trials": "1",
    "runs": "1",
    "seeds": "1",
    "train_images": "2",
    "val_images": "2",
}
LEFT_OUT = {"run", "compile", "help", "local_rank"}  # they work for minutes
# What an error says after work was done: of a part that was left out, of a device that could not be written in the end,
# of a run that had begun.
PARTIAL = re.compile(r"^skipped:? |Could not write|run\.log\)", re.MULTILINE)
NUMBERS = ("-1", "0", "1", "1.5", "1e3", "nan", "inf", "-inf", "x", "", " ", "99999999999999999999", "0x10", "٣", "2,3")
TEXTS = (
    "",
    " ",
    "-",
    "--",
    "None",
    "[]",
    "{}",
    "é",
    "\n",
    "a" * 5000,
    "timm:",
    "timm:x",
    "rexnet_x1",
    "..",
    "%s",
)
PLACES = (
    "{w}/file", "{w}/file/x", "{w}/folder", "{w}/absent/x", "{w}", "{w}/pictures", "{w}/fifo.pth", "{w}/fifo_run",
    "{w}/run", "{w}/data", "{w}/folders", "/proc/x", "/dev/full", "/dev/null", "{w}/" + "a" * 300, "{w}/text_run",
)  # fmt: skip
KEYS = (
    "model", "model.type", "model.backbone", "model.backbone.name", "model.bbox_head", "model.bbox_head.num_classes",
    "train_dataloader", "train_dataloader.batch_size", "train_dataloader.num_workers", "val_dataloader.dataset",
    "val_dataloader.dataset.type", "val_dataloader.dataset.pipeline", "optim_wrapper", "optim_wrapper.optimizer.lr",
    "optim_wrapper.optimizer.type", "param_scheduler", "train_cfg.max_iters", "default_hooks", "randomness.seed",
    "custom_hooks", "visualizer", "env_cfg", "nonsense", "num_classes", "input_size", "learning_rate", "batch_size",
)  # fmt: skip


class Hang(BaseException):
    """A command that took longer than it may."""


def values(world: Path) -> list[str]:
    """Return what an argument may be given."""
    checkpoints = [f"{{w}}/{name}.pth" for name in CHECKPOINTS]
    return [*NUMBERS, *TEXTS, *PLACES, *checkpoints, *(f"{{w}}/run_{name}" for name in DETECTIONS)]


def draw(generator: random.Random, world: Path) -> tuple[str, list[str]]:
    """Return a tool and a command line with one to three arguments that are drawn."""
    tool = generator.choice(TOOLS)
    actions = arguments_of(tool)
    changes: dict = {name: value for name, value in SHORT.items() if name in actions}
    for name in generator.sample(sorted(actions.keys() - LEFT_OUT), k=min(len(actions) - 1, generator.randint(1, 3))):
        flag = actions[name].nargs == 0
        changes[name] = () if flag else generator.choice(generator.choice((NUMBERS, TEXTS, PLACES, values(world))))
    overrides: list[str] = []
    if "cfg_options" in actions and "cfg_options" not in changes and generator.random() < 0.4:
        value = generator.choice((*NUMBERS, *TEXTS, "[1]", "{'type': 'Nope'}", "{'type': 3}", "None", "True"))
        overrides = [f"{generator.choice(KEYS)}={value}".replace("{", "{{").replace("}", "}}")]
    changes = {name: escape(value) for name, value in changes.items()}
    return tool, command_line(tool, world, changes, overrides)


def escape(value: str | tuple) -> str | tuple:
    """Let ``command_line`` keep braces that stand for themselves."""
    return value.replace("{}", "{{}}") if isinstance(value, str) else value


def examine(tool: str, arguments: list[str], world: Path, before: dict[str, str]) -> str | None:
    """Run a command line and return what is wrong with how it ended; afterwards the world is as it was."""
    signal.alarm(LIMIT)
    try:
        outcome = call(tool, arguments)
        problem = complaint(outcome) if outcome.status else None
        if not outcome.status and "error" in outcome.err:
            problem = f"status 0 with {outcome.err!r}"
        if problem:
            problem += f": {outcome.err[-500:]}"
        refused = outcome.status != 0 and not PARTIAL.search(outcome.err)
    except Hang:
        problem, refused = f"it took longer than {LIMIT} s", False
    except BaseException:  # whatever leaves the tool
        problem, refused = traceback.format_exc(), False
    finally:
        signal.alarm(0)
    after = fingerprint(world)
    made = after.keys() - before.keys()
    damaged = [name for name in before if after.get(name) != before[name] and before[name] != EMPTY]
    if damaged := [*damaged, *(made if refused else ())]:
        problem = f"{problem or ''} changed {sorted(damaged)[:3]}"
    clear(world, made)
    clear(Path.cwd(), fingerprint(Path.cwd()).keys())
    return problem


def clear(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders in a folder."""
    for path in (folder / name for name in sorted(names, reverse=True)):  # what is in a folder before the folder
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def main() -> None:
    """Draw and run until the time is up; status 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    def hang(number: int, frame: object) -> NoReturn:
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.RLIM_INFINITY))
    generator, findings = random.Random(args.seed), []
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder) / "world")
        (Path(folder) / "here").mkdir()
        os.chdir(Path(folder) / "here")
        before = fingerprint(world)
        end = time.monotonic() + 60 * args.minutes
        while time.monotonic() < end:
            tool, arguments = draw(generator, world)
            counts[tool] += 1
            if problem := examine(tool, arguments, world, before):
                findings.append(problem)
                print(f"{tool} {arguments}\n    {problem}", flush=True)
                if fingerprint(world) != before:
                    shutil.rmtree(world)
                    before = fingerprint(make_world(world))
    print(f"{counts.total()} command lines ({dict(sorted(counts.items()))}), {len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
